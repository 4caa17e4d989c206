"""Every figure of the project, each one call on a tidy table; and the one style they share.

Figures hold no results of their own: what they show comes in as a table or a tensor. Colors are
those of Okabe & Ito, told apart by color-blind readers, and every line has its own marker, so that
a figure survives a gray printer too.
"""

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from PIL import Image

from prunelab.intervals import mean_interval

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
THEMES = {
    "light": {"ink": "#222222", "faint": "#d9d9d9", "paper": "#ffffff"},
    "dark": {"ink": "#e6e6e6", "faint": "#4a4a4a", "paper": "#111418"},
}
theme = "light"
"""The theme of all figures from here on; set `figures.theme = "dark"` for a dark notebook."""


class Picture:
    """A finished figure with a caption that says in words what there is to see.

    Notebooks show it as a PNG with the caption as its alternative text.
    """

    def __init__(self, figure: Figure, caption: str):
        self.caption = caption
        drawn, packed = io.BytesIO(), io.BytesIO()
        figure.savefig(drawn, format="png")
        with Image.open(drawn) as image:  # 64 colors are plenty, and a quarter of the bytes
            image.convert("RGB").quantize(64, kmeans=1).save(packed, format="png", optimize=True)
        self.png = packed.getvalue()
        self._figure = figure

    def save(self, path: Path) -> Path:
        """Write the figure in the format of the file's ending."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._figure.savefig(path)
        return path

    def to_html(self) -> str:
        """An `<img>` element that carries the picture and its alternative text."""
        data = base64.b64encode(self.png).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{html.escape(self.caption)}">'

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"image/png": self.png, "text/plain": self.caption}
        return data, {"image/png": {"alt": self.caption}}


@contextmanager
def _canvas(columns: int = 1, rows: int = 1, width: float = 6.4, height: float = 3.6, **options):
    """A styled figure and its axes. Figures live outside pyplot: none is ever left open."""
    colors = THEMES[theme]
    style = {
        "figure.facecolor": colors["paper"],
        "axes.facecolor": colors["paper"],
        "savefig.facecolor": colors["paper"],
        "text.color": colors["ink"],
        "axes.edgecolor": colors["ink"],
        "axes.labelcolor": colors["ink"],
        "xtick.color": colors["ink"],
        "ytick.color": colors["ink"],
        "grid.color": colors["faint"],
        "grid.linewidth": 0.6,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "font.size": 9,
        "figure.dpi": 110,
        "savefig.dpi": 110,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def images(split, classes: tuple[str, ...]) -> Picture:
    """One image of every class."""
    with _canvas(columns=5, rows=2, width=6.0, height=2.9) as (figure, axes):
        for label, ax in enumerate(axes.flat):
            image = np.asarray(split.x[split.y == label][0, 0])
            ax.imshow(image, cmap="gray_r")
            ax.set_title(classes[label], loc="center")
            ax.set_axis_off()
        return Picture(figure, "One Fashion-MNIST image of each class: " + ", ".join(classes) + ".")


def training_curves(history: pd.DataFrame) -> Picture:
    """Loss and accuracy against training steps, from the table that `fit` returns."""
    with _canvas(columns=2, height=2.8) as (figure, (panels,)):
        for color, marker, (split, rows) in zip(
            COLORS, MARKERS, history.groupby("split", sort=False), strict=False
        ):
            for ax, column in zip(panels, ("loss", "accuracy"), strict=True):
                ax.plot(rows["step"], rows[column], color=color, marker=marker)
                _label(ax, rows["step"].iloc[-1], rows[column].iloc[-1], split, color)
        panels[0].set(xlabel="training steps", ylabel="cross-entropy (nats)", title="Loss")
        panels[1].set(xlabel="training steps", title="Accuracy")
        panels[1].yaxis.set_major_formatter(_percent)
        last = history.iloc[-1]
        return Picture(
            figure,
            f"Loss falls and accuracy rises over {last['step']} training steps; the last "
            f"{last['split']} accuracy is {last['accuracy']:.1%}.",
        )


def kept_by_layer(table: pd.DataFrame, by: str = "rule") -> Picture:
    """Share of the weights each layer keeps, one bar a layer and value of `by`.

    Args:
        table: rows of `check_sparsity` without its totals, and a column `by`.
    """
    layers, rules = table["layer"].unique(), table[by].unique()
    height = 0.8 / len(rules)
    with _canvas(height=0.6 + 0.28 * len(layers) * len(rules)) as (figure, ((ax,),)):
        for i, rule in enumerate(rules):
            rows = table[table[by] == rule].set_index("layer").loc[layers]
            place = np.arange(len(layers)) + (i - (len(rules) - 1) / 2) * height
            density = 1 - rows["sparsity"]
            ax.barh(place, density, height * 0.92, color=COLORS[i])
            for y, share, kept in zip(place, density, rows["kept"], strict=True):
                ax.text(share, y, f" {rule}: {share:.1%}, {kept:,} weights", va="center", size=8)
        ax.set_yticks(np.arange(len(layers)), layers)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set(xlim=(0, 1.45), xlabel="density: share of the layer's weights that is kept")
        ax.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
        ax.xaxis.set_major_formatter(_percent)
        emptiest = table.nlargest(1, "sparsity").iloc[0]
        return Picture(
            figure,
            f"Bars of the density of {len(layers)} layers under {', '.join(map(str, rules))}; the "
            f"emptiest is {emptiest['layer']} under {emptiest[by]}, "
            f"{1 - emptiest['sparsity']:.1%} kept.",
        )


def mask_and_histogram(weights, mask, name: str) -> Picture:
    """A layer's mask as an image beside the histogram of its weights, kept and pruned.

    Args:
        weights: the layer's weights before pruning, any shape.
        mask: True where a weight is kept, same shape.
        name: the layer's name.
    """
    weights, mask = np.asarray(weights), np.asarray(mask)
    density = mask.mean()
    with _canvas(columns=2, height=3.0, width_ratios=[1, 1.3]) as (figure, (panels,)):
        colors = mpl.colors.ListedColormap([THEMES[theme]["faint"], COLORS[0]])
        picture = mask.reshape(len(mask), -1)
        panels[0].imshow(picture, cmap=colors, vmin=0, vmax=1, aspect="auto", interpolation="none")
        panels[0].grid(visible=False)
        panels[0].set(title=f"Mask of {name}", xlabel="input weight", ylabel="output unit")
        limit = np.abs(weights).max()
        bins = np.linspace(-limit, limit, 81)
        for label, chosen, color in (("pruned", ~mask, 0), ("kept", mask, 1)):
            counts, _ = np.histogram(weights[chosen], bins)
            panels[1].stairs(counts, bins, fill=True, color=colors(color), label=label)
        panels[1].set(title=f"{density:.1%} of the weights are kept", xlabel="weight")
        panels[1].set_yscale("symlog", linthresh=10)
        panels[1].yaxis.set_major_locator(FixedLocator([0, 10, 100, 1000, 10000, 100000]))
        panels[1].yaxis.set_minor_locator(NullLocator())
        panels[1].set_ylabel("number of weights")
        panels[1].legend(frameon=False)
        return Picture(
            figure,
            f"Left, the mask of {name}: {density:.1%} of its weights are kept. Right, the "
            "histogram of its weights: the pruned ones fill the middle.",
        )


def accuracy_against_density(table: pd.DataFrame, title: str = "") -> Picture:
    """Accuracy against density (log axis), mean and 95 % interval over seeds, a line a rule.

    Args:
        table: a study with the columns `rule`, `sparsity`, `seed`, `accuracy`.
    """
    summary = mean_interval(table, ["rule", "sparsity"], "accuracy")
    with _canvas(height=3.8) as (figure, ((ax,),)):
        for i, (rule, rows) in enumerate(summary.groupby("rule", sort=False)):
            _interval_line(ax, 1 - rows["sparsity"], rows, i, rule)
        _density_axis(ax, table["sparsity"])
        _legend(ax)
        ax.yaxis.set_major_formatter(_percent)
        ax.set(ylabel="test accuracy", title=title)
        half = summary[summary["sparsity"] == 0.5]
        seen = "; ".join(f"{row.rule} {row.mean:.0%}" for row in half.itertuples())
        return Picture(
            figure,
            f"{title} Test accuracy falls with the share of weights kept. At 50 % kept: {seen}. "
            f"Bands are 95 % intervals over {table['seed'].nunique()} seeds.",
        )


def bytes_against_density(table: pd.DataFrame) -> Picture:
    """File size against density on two log axes, a line a format; the bound is dashed.

    Args:
        table: `bytes_on_disk` at several sparsities, with a column `sparsity`.
    """
    with _canvas(height=4.0) as (figure, ((ax,),)):
        for i, (name, rows) in enumerate(table.groupby("format", sort=False)):
            is_bound = name == "entropy bound"
            ax.plot(
                1 - rows["sparsity"],
                rows["bytes"] / 1000,
                color=THEMES[theme]["ink"] if is_bound else COLORS[i % len(COLORS)],
                linestyle="--" if is_bound else "-",
                marker=None if is_bound else MARKERS[i % len(MARKERS)],
                linewidth=5 if name == "dense" else None,  # "permanent" lies on top of it
                alpha=0.4 if name == "dense" else None,
                label=name,
            )
        _density_axis(ax, table["sparsity"])
        _legend(ax)
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.set(ylabel="kilobytes", title="Bytes on disk by format")
        smallest = table.loc[table["sparsity"] == table["sparsity"].max()].nsmallest(2, "bytes")
        return Picture(
            figure,
            "File size against the share of weights kept. A masked file is twice the dense one; "
            f"at the highest sparsity the smallest is {smallest['format'].iloc[-1]}, next to the "
            "entropy bound.",
        )


def bytes_by_format(table: pd.DataFrame, sparsity: float) -> Picture:
    """One bar a format, from `bytes_on_disk` of a model of that sparsity."""
    with _canvas(height=2.8) as (figure, ((ax,),)):
        is_bound = table["format"] == "entropy bound"
        colors = np.where(is_bound, THEMES[theme]["faint"], COLORS[0])
        ax.barh(table["format"], table["bytes"] / 1000, color=colors)
        for y, row in enumerate(table.itertuples()):
            ax.text(row.bytes / 1000, y, f" {row.bytes / 1000:,.0f} kB", va="center", size=8)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.set(
            xlabel="kilobytes",
            title=f"Bytes on disk at {sparsity:.0%} sparsity",
            xlim=(0, 1.15 * table["bytes"].max() / 1000),
        )
        return Picture(
            figure,
            f"At {sparsity:.0%} sparsity: "
            + ", ".join(f"{row.format} {row.bytes / 1000:,.0f} kB" for row in table.itertuples()),
        )


def zeros_while_training(table: pd.DataFrame) -> Picture:
    """Sparsity against fine-tuning steps, mean and 95 % interval over seeds, a line an order.

    Args:
        table: the study `permanence`, one network.
    """
    summary = mean_interval(table, ["order", "steps"], "sparsity")
    with _canvas(height=3.0) as (figure, ((ax,),)):
        for i, (order, rows) in enumerate(summary.groupby("order", sort=False)):
            _interval_line(ax, rows["steps"], rows, i, order)
        ax.set_xscale("symlog", linthresh=1)
        steps = sorted(table["steps"].unique())
        ax.xaxis.set_major_locator(FixedLocator(steps))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(_percent)
        _legend(ax)
        ax.set(
            xlabel="fine-tuning steps",
            ylabel="sparsity",
            ylim=(-0.05, 1.0),
            title="Permanent too early, the zeros die",
        )
        return Picture(
            figure,
            "Sparsity against fine-tuning steps: with masks it stays where it was; without, nearly "
            "all of it is gone after the first step.",
        )


def speed_against_density(table: pd.DataFrame) -> Picture:
    """Speed relative to dense against density, a panel a batch size, mean and 95 % interval.

    Args:
        table: the study `latency`, one layer, with a column `speedup`.
    """
    batches = table["batch"].unique()
    summary = mean_interval(table, ["batch", "format", "sparsity"], "speedup")
    with _canvas(columns=len(batches), height=3.4, sharey=True) as (figure, (panels,)):
        for ax, batch in zip(panels, batches, strict=True):
            rows_of_batch = summary[summary["batch"] == batch]
            for i, (name, rows) in enumerate(rows_of_batch.groupby("format", sort=False)):
                _interval_line(ax, 1 - rows["sparsity"], rows, i, name)
            ax.axhline(1, color=THEMES[theme]["ink"], linewidth=0.8, linestyle="--")
            _density_axis(ax, table["sparsity"])
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(FixedLocator([0.25, 0.5, 1, 2, 4, 8, 16]))
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
            ax.yaxis.set_minor_locator(NullLocator())
            ax.set_title(f"batch {batch}")
        panels[0].set_ylabel("speed relative to dense")
        _legend(panels[0])
        best = summary.nlargest(1, "mean").iloc[0]
        return Picture(
            figure,
            "Speed relative to the dense layer against the share of weights kept, at batch "
            f"{' and '.join(map(str, batches))}, for {', '.join(summary['format'].unique())}; the "
            f"fastest is {best['format']} at batch {best['batch']} with "
            f"{1 - best['sparsity']:.0%} kept, {best['mean']:.1f} times dense.",
        )


def intervals_against(
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    *,
    panel: str | None = None,
    scale: str = "linear",
    reference: float | None = None,
    percent: bool = True,
    title: str = "",
    xlabel: str | None = None,
    ylabel: str | None = None,
) -> Picture:
    """Any quantity against any other: mean and 95 % interval over seeds, a line a method.

    Args:
        table: one row a measurement; intervals are drawn where there are several a point.
        x, y: the columns to draw.
        by: the column that makes the lines.
        panel: a column that makes panels side by side, sharing the vertical axis.
        scale: of the horizontal axis: "linear", "log", "symlog" (for steps from 0) or "density".
        reference: a dashed horizontal line, such as the dense network's accuracy.
        percent: whether `y` is a fraction to be shown in percent.
        title, xlabel, ylabel: words; the columns' names where they are not given.
    """
    xlabel, ylabel = xlabel or x.replace("_", " "), ylabel or y.replace("_", " ")
    groups = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    lines = list(table[by].unique())
    ends = []
    with _canvas(columns=len(groups), height=3.6, sharey=True) as (figure, (panels,)):
        for ax, (name, rows_of_panel) in zip(panels, groups, strict=True):
            for line, rows in mean_interval(rows_of_panel, [by, x], y).groupby(by, sort=False):
                rows = rows.sort_values(x, ascending=scale != "density")
                _interval_line(ax, rows[x], rows, lines.index(line) % len(COLORS), str(line))
                end = rows["mean"].iloc[-1]
                ends.append(f"{name} {line} {end:.1%}" if percent else f"{name} {line} {end:.3g}")
            if reference is not None:
                ax.axhline(reference, color=THEMES[theme]["ink"], linewidth=0.8, linestyle="--")
            _scale(ax, scale, rows_of_panel[x])
            ax.set(xlabel=xlabel, title=name or title)
            if percent:
                ax.yaxis.set_major_formatter(_percent)
        panels[0].set_ylabel(ylabel)
        if panel and title:
            figure.suptitle(title, x=0.01, ha="left", size=10)
        for i, line in enumerate(lines):  # the legend also names what only other panels draw
            if str(line) not in panels[0].get_legend_handles_labels()[1]:
                style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(COLORS)]}
                panels[0].plot([], [], label=str(line), **style)
        if panel is None:
            _legend(panels[0])
        else:
            named = panels[0].get_legend_handles_labels()
            figure.legend(*named, loc="outside lower center", ncols=3, **LEGEND)
        several = table.groupby([by, x, *([panel] if panel else [])])[y].count().max()
        bands = f" Bands are 95 % intervals over {several} runs." if several > 1 else ""
        return Picture(
            figure,
            f"{title} {ylabel} against {xlabel}. At the right end: "
            f"{', '.join(end.strip() for end in ends)}.{bands}".strip(),
        )


def differences(table: pd.DataFrame, title: str, xlabel: str) -> Picture:
    """Effects with their 95 % intervals, one below the other, and the line of no effect.

    Args:
        table: the columns `setting`, `mean`, `low`, `high`, such as `paired_difference` gives; and
            `source`, if they come from several (ours and a paper's).
    """
    sources = list(table["source"].unique()) if "source" in table else [""]
    with _canvas(height=0.9 + 0.27 * len(table)) as (figure, ((ax,),)):
        ax.axvline(0, color=THEMES[theme]["ink"], linewidth=0.8)
        for y, row in enumerate(table.itertuples()):
            i = sources.index(getattr(row, "source", ""))
            ax.plot([row.low, row.high], [y, y], color=COLORS[i])
            ax.plot(row.mean, y, color=COLORS[i], marker=MARKERS[i], markersize=5)
            _label(ax, row.high, y + 0.25, f"{row.mean:+.2f}", COLORS[i])
        ax.set_yticks(range(len(table)), table["setting"])
        ax.set_ylim(len(table) - 0.5, -0.5)
        ax.margins(x=0.1)
        ax.grid(visible=False, axis="y")
        ax.set(xlabel=xlabel, title=title)
        for i, source in enumerate(sources):
            if source:
                ax.plot([], [], color=COLORS[i], marker=MARKERS[i], label=source)
        if len(sources) > 1:
            _legend(ax)
        seen = "; ".join(
            f"{row.setting} {row.mean:+.2f} [{row.low:+.2f}, {row.high:+.2f}]"
            for row in table.itertuples()
        )
        return Picture(figure, f"{title} {xlabel}, mean and 95 % interval: {seen}.")


def zoo(table: pd.DataFrame) -> Picture:
    """What channel surgery leaves of every network, and how long it takes beside Torch-Pruning.

    Left, the share of the operations and of the time of a forward pass that is left; right, the
    seconds to plan and cut, or what stops a tool. Geometric means and 95 % intervals over seeds;
    the network that gains most is on top.

    Args:
        table: the study `zoo`.
    """
    logs = table.assign(
        macs=np.log(table["macs_after"] / table["macs_before"]),
        latency=np.log(table["latency_after"] / table["latency_before"]),
        seconds=np.log(table["seconds"]),
    )
    ours = logs[logs["tool"] == "prunelab"]
    models = mean_interval(ours, ["model"], "latency").sort_values("mean")["model"].tolist()
    problems = table[~table["works"]].groupby(["tool", "model"], sort=False)["problem"].first()
    with _canvas(columns=2, width=7.6, height=1.0 + 0.21 * len(models), sharey=True) as (
        figure,
        ((left, right),),
    ):
        macs = _log_dots(left, models, ours, "macs", 0, "operations")
        latency = _log_dots(left, models, ours, "latency", 1, "time")
        band = {"color": THEMES[theme]["faint"], "linewidth": 3, "zorder": 1}
        left.hlines(range(len(models)), macs, latency, **band)
        for y, factor in enumerate(1 / latency):
            _note(left, y, f"{factor:.1f}×", 1)
        for i, (tool, rows) in enumerate(logs.groupby("tool", sort=False), 2):
            _log_dots(right, models, rows[rows["works"]], "seconds", i, tool)
            for model, problem in problems.get(tool, pd.Series()).items():
                _note(right, models.index(model), f"✗ {': '.join(problem.split(': ')[:2])}", i)
        _log_axis(left, (0.1, 0.2, 0.3, 0.5, 1), _percent)
        _log_axis(right, (0.05, 0.2, 1, 5, 20), FuncFormatter(lambda value, _: f"{value:g} s"))
        left.set_yticks(range(len(models)), models)
        left.set_ylim(len(models) - 0.5, -2)  # room for the legends
        left.set_title("What is left of the network")
        left.set_xlabel("share of the whole network's forward pass")
        right.set_title("Time to plan and cut")
        failing = "".join(
            f" {tool} fails on {', '.join(problems[tool].index)}."
            for tool in problems.index.unique("tool")
        )
        return Picture(
            figure,
            f"Dots on log axes for {len(models)} networks with half of their channels removed. "
            f"Left over are {macs.min():.0%} to {macs.max():.0%} of the operations, and "
            f"{latency.min():.0%} ({models[0]}) to {latency.max():.0%} ({models[-1]}) of the time "
            f"of a forward pass.{failing} Bars are 95 % intervals over "
            f"{table['seed'].nunique()} seeds.",
        )


def _log_dots(
    ax: Axes, models: list[str], table: pd.DataFrame, column: str, i: int, label: str
) -> pd.Series:
    """Geometric means and intervals, from logarithms, a row for each model."""
    summary = mean_interval(table, ["model"], column).set_index("model").reindex(models)
    mean, low, high = (np.exp(summary[name]) for name in ("mean", "low", "high"))
    ax.hlines(range(len(models)), low, high, color=COLORS[i])
    ax.plot(mean, range(len(models)), MARKERS[i], color=COLORS[i], label=label)
    return mean


def _log_axis(ax: Axes, ticks: tuple[float, ...], form: FuncFormatter) -> None:
    ax.set_xscale("log")
    ax.set_xlim(0.9 * ticks[0], 1.1 * ticks[-1])
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(form)
    ax.grid(visible=False, axis="y")
    ax.legend(frameon=False, fontsize=8, labelcolor="linecolor", loc="upper left", ncols=2)


def _note(ax: Axes, y: float, text: str, i: int) -> None:
    """A few words to the right of the axes."""
    place = ax.get_yaxis_transform()
    ax.text(1.02, y, text, color=COLORS[i], size=7, va="center", transform=place)


def class_probabilities(table: pd.DataFrame, title: str) -> Picture:
    """Probabilities of one image's classes, a bar a class.

    Args:
        table: the columns `class` and `probability`.
    """
    with _canvas(height=2.8) as (figure, ((ax,),)):
        ax.bar(table["class"], table["probability"], color=COLORS[0])
        for x, value in enumerate(table["probability"]):
            ax.text(x, value, f"{value:.1%}", ha="center", va="bottom", size=7)
        ax.tick_params(axis="x", labelrotation=35)
        ax.grid(visible=False, axis="x")
        ax.yaxis.set_major_formatter(_percent)
        ax.set(ylim=(0, 1.1), ylabel="probability", title=title)
        top = table.nlargest(2, "probability")
        seen = " and ".join(f"{row['class']} {row['probability']:.1%}" for _, row in top.iterrows())
        return Picture(figure, f"{title}: bars of ten class probabilities, led by {seen}.")


def scatter(
    table: pd.DataFrame, x: str, y: str, by: str, *, title: str, panel: str | None = None
) -> Picture:
    """Points of two columns, colored by a third, with the diagonal where both are equal."""
    groups = [("", table)] if panel is None else list(table.groupby(panel, sort=False))
    kinds = list(table[by].unique())
    with _canvas(columns=len(groups), height=3.4) as (figure, (panels,)):
        for ax, (name, rows_of_panel) in zip(panels, groups, strict=True):
            low, high = rows_of_panel[[x, y]].min().min(), rows_of_panel[[x, y]].max().max()
            ax.axline((low, low), (high, high), color=THEMES[theme]["faint"], zorder=0)
            for i, kind in enumerate(kinds):
                rows = rows_of_panel[rows_of_panel[by] == kind]
                ax.scatter(rows[x], rows[y], 14, color=COLORS[i], marker=MARKERS[i], label=kind)
            ax.set(xlabel=x, title=name or title)
        panels[0].set_ylabel(y)
        if panel:
            figure.suptitle(title, x=0.01, ha="left", size=10)
        _legend(panels[0])
        counts = ", ".join(f"{(table[by] == kind).sum()} {kind}" for kind in kinds)
        return Picture(figure, f"{title} {y} against {x}, with the diagonal: {counts}.")


def weight_histograms(weights: dict, limit: float) -> Picture:
    """Histograms of several networks' weights on one log axis, one outline each.

    Args:
        weights: an array of weights by name.
        limit: the histogram goes from −limit to limit.
    """
    bins = np.linspace(-limit, limit, 121)
    with _canvas(height=3.2) as (figure, ((ax,),)):
        for i, (name, values) in enumerate(weights.items()):
            ax.stairs(np.histogram(values, bins)[0], bins, color=COLORS[i], label=name, lw=1.6)
        ax.set_yscale("symlog", linthresh=10)
        ax.yaxis.set_major_locator(FixedLocator([0, 10, 100, 1000, 10000, 100000]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.set(xlabel="weight", ylabel="number of weights", title="How training spreads weights")
        _legend(ax)
        small = {name: (np.abs(values) < limit / 60).mean() for name, values in weights.items()}
        seen = ", ".join(f"{name} {share:.0%}" for name, share in small.items())
        return Picture(
            figure,
            f"Histograms of weights. Share of them nearer to 0 than {limit / 60:.3g}: {seen}.",
        )


def channel_map(table: pd.DataFrame, unit: int | None = None, title: str = "") -> Picture:
    """Every channel of every layer as a cell with its unit's name; a color is a group.

    Args:
        table: what `channel_table` returns, of a network with few channels.
        unit: a unit to light up; the others fade. None shows all.
        title: over the figure.
    """
    order = {layer: i for i, layer in enumerate(table["layer"].unique())}
    lines = sorted(
        set(zip(table["layer"], table["role"], strict=True)),
        key=lambda line: (order[line[0]], line[1] == "writes"),
    )
    names = _unit_names(table)
    with _canvas(width=7.2, height=0.7 + 0.27 * len(lines)) as (figure, ((ax,),)):
        for y, (layer, role) in enumerate(lines):
            rows = table[(table["layer"] == layer) & (table["role"] == role)]
            for row in rows.itertuples():
                is_lit = unit is None or row.unit == unit
                color = COLORS[(row.group - 1) % len(COLORS)] if row.group else "#9a9a9a"
                alpha = (0.85 if is_lit else 0.12) if row.group else (0.35 if is_lit else 0.1)
                ax.add_patch(
                    mpl.patches.Rectangle(
                        (row.channel + 0.05, y + 0.1), 0.9, 0.8, fc=color, alpha=alpha
                    )
                )
                ink = "#ffffff" if row.group and is_lit else THEMES[theme]["ink"]
                ax.text(
                    row.channel + 0.5,
                    y + 0.52,
                    names[row.unit],
                    ha="center",
                    va="center",
                    size=7,
                    color=ink,
                    alpha=1 if is_lit else 0.25,
                )
        widest = int(table["channel"].max()) + 1
        ax.set(xlim=(0, widest), ylim=(len(lines), 0), title=title)
        ax.set_yticks(np.arange(len(lines)) + 0.5, [f"{layer} {role}" for layer, role in lines])
        ax.set_xticks([])
        ax.grid(visible=False)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        groups = table[table["group"] > 0].groupby("group")["unit"].nunique()
        seen = f"{len(groups)} groups of " + ", ".join(map(str, groups)) + " units"
        if unit is not None:
            touched = table[table["unit"] == unit]
            places = ", ".join(dict.fromkeys(f"{r.layer} {r.role}" for r in touched.itertuples()))
            seen = f"unit {names[unit]} is lit: {places}"
        return Picture(figure, f"{title} The channels of {len(lines)} layer axes; {seen}.".strip())


def _unit_names(table: pd.DataFrame) -> dict[int, str]:
    """a1, a2, … in the first group, b1, … in the second; a dot for units that stay."""
    names: dict[int, str] = {}
    counts: dict[int, int] = {}
    for row in table.itertuples():
        if row.unit not in names:
            counts[row.group] = counts.get(row.group, 0) + 1
            names[row.unit] = f"{chr(96 + row.group)}{counts[row.group]}" if row.group else "·"
    return names


TICKET_MEASURES = {
    "iteration": ("early stop", "iteration", "Iterations until early stop"),
    "test_accuracy": ("early stop", "test_accuracy", "Test accuracy at early stop"),
    "last_accuracy": ("end", "test_accuracy", "Test accuracy at the end"),
    "train_accuracy": ("end", "train_accuracy", "Training accuracy at the end"),
}
"""What figures 1 and 4 show of the study `lottery_tickets`: moment, column and title."""


def tickets_against_density(
    table: pd.DataFrame,
    kinds: tuple[str, ...],
    measures: tuple[str, ...] = ("iteration", "test_accuracy"),
    title: str = "",
) -> Picture:
    """Tickets and controls against density: mean over the trials, bands from lowest to highest.

    Figures 1 and 4 of Frankle & Carbin (2019). Round 0, the dense network, is part of every line.

    Args:
        table: the study `lottery_tickets`.
        kinds: the lines.
        measures: the panels, of `TICKET_MEASURES`.
        title: words above the panels.
    """
    rows = -(-len(measures) // 2)
    with _canvas(min(len(measures), 2), rows, 8.4, 0.4 + 2.9 * rows) as (figure, panels):
        for ax, measure in zip(panels.flat, measures, strict=True):
            moment, column, name = TICKET_MEASURES[measure]
            here = table[table["moment"] == moment]
            for i, kind in enumerate(kinds):
                line = here[(here["kind"] == kind) | (here["round"] == 0)]
                _range_line(ax, "density", line, column, i, kind)
            _density_axis(ax, 1 - table["density"])
            ax.set_title(name)
            if column != "iteration":
                ax.yaxis.set_major_formatter(_percent)
        _legend(panels.flat[0])
        figure.suptitle(title, x=0.01, ha="left", size=10)
        moment, column, name = TICKET_MEASURES[measures[-1]]
        sparsest = table[(table["moment"] == moment) & (table["round"] == table["round"].max())]
        ends = sparsest.groupby("kind")[column].mean()
        seen = ", ".join(f"{kind} {ends[kind]:.4g}" for kind in kinds if kind in ends)
        return Picture(
            figure,
            f"{title} Against the share of weights kept: "
            f"{'; '.join(TICKET_MEASURES[measure][2] for measure in measures)}. {name} with "
            f"{sparsest['density'].mean():.1%} kept: {seen}. Bands reach from the lowest to the "
            f"highest of {table['seed'].nunique()} trials.",
        )


def ticket_curves(table: pd.DataFrame, title: str = "") -> Picture:
    """Test accuracy while training, a panel a kind, a line a density, bands as above.

    Figure 3 of Frankle & Carbin (2019).

    Args:
        table: the study `lottery_tickets`.
        title: words above the panels.
    """
    curves = table[table["moment"] == "curve"]
    kinds, rounds = curves["kind"].unique(), sorted(curves["round"].unique())
    with _canvas(len(kinds), width=8.4, height=3.8, sharey=True) as (figure, (panels,)):
        for ax, kind in zip(panels, kinds, strict=True):
            here = curves[(curves["kind"] == kind) | (curves["round"] == 0)]
            for round_, rows in here.groupby("round"):
                name = f"{rows['density'].mean():.1%}"
                i = rounds.index(round_)
                _range_line(ax, "iteration", rows, "test_accuracy", i, name, marker="")
            ax.yaxis.set_major_formatter(_percent)
            ax.set(xlabel="training iterations", title=kind)
        late = curves[curves["iteration"] >= 0.1 * curves["iteration"].max()]["test_accuracy"]
        panels[0].set(ylim=(late.min() - 0.002, late.max() + 0.002), ylabel="test accuracy")
        _legend(panels[-1])
        figure.suptitle(title, x=0.01, ha="left", size=10)
        last = curves[curves["iteration"] == curves["iteration"].max()]
        ends = last.groupby(["kind", "density"], sort=False)["test_accuracy"].mean()
        seen = ", ".join(
            f"{kind} {share:.1%} kept {end:.1%}" for (kind, share), end in ends.items()
        )
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations. At the end: {seen}. Bands reach "
            f"from the lowest to the highest of {table['seed'].nunique()} trials.",
        )


def ticket_race(table: pd.DataFrame, density: float) -> Picture:
    """Test accuracy while training at one density: ticket, random reinit, and the dense network.

    The axes are the same at every density. A mark stands at the mean early stop.

    Args:
        table: the study `lottery_tickets`.
        density: one that has curves; the nearest is taken.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, figure 3.
    """
    curves = table[table["moment"] == "curve"]
    stops = table[table["moment"] == "early stop"]
    round_, kept = curves.loc[(curves["density"] - density).abs().idxmin(), ["round", "density"]]
    runners = ("ticket", "random reinit", "dense")
    here = curves[(curves["round"] == round_) & (round_ > 0) & curves["kind"].isin(runners)]
    lines = dict(list(here.groupby("kind", sort=False))) | {"dense": curves[curves["round"] == 0]}
    late = curves.loc[curves["iteration"] >= 0.03 * curves["iteration"].max(), "test_accuracy"]
    seen = []
    with _canvas(width=6.4, height=3.8) as (figure, ((ax,),)):
        for name, rows in lines.items():
            i = runners.index(name)
            _range_line(ax, "iteration", rows, "test_accuracy", i, name, marker="")
            runs = stops.merge(rows[["kind", "round"]].drop_duplicates())
            stop, accuracy = runs["iteration"].mean(), runs["test_accuracy"].mean()
            ax.plot(stop, accuracy, color=COLORS[i], marker=MARKERS[i], markersize=8)
            seen.append(f"{name} after {stop:,.0f} iterations with {accuracy:.1%}")
        ax.set_ylim(late.min(), late.max() + 0.002)
        ax.yaxis.set_major_formatter(_percent)
        title = f"{kept:.1%} of the weights kept."
        ax.set(xlabel="training iterations", ylabel="test accuracy", title=title)
        _legend(ax)
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations, mean and range of "
            f"{table['seed'].nunique()} trials. Early stop: {'; '.join(seen)}.",
        )


def draw_all(folder: Path, results: Path | None = None) -> Iterator[Path]:
    """Draw the figures of the recorded studies: PNG in both themes, PDF in the light one.

    Args:
        folder: where to write them.
        results: the folder of the studies, of which some may be missing. None means the
            project's own.

    Raises:
        FileNotFoundError: none of the studies that have figures is there.
    """
    from prunelab.lab.results import RESULTS

    global theme
    before, results = theme, results or RESULTS
    recorded = [name for name in DRAWN if (results / f"{name}.csv").exists()]
    if not recorded:
        raise FileNotFoundError(f"{results} has none of the studies {', '.join(DRAWN)}")
    try:
        for theme in THEMES:
            suffix = "" if theme == "light" else f"-{theme}"
            for study in recorded:
                for name, picture in DRAWN[study](pd.read_csv(results / f"{study}.csv")):
                    yield picture.save(folder / f"{name}{suffix}.png")
                    if theme == "light":
                        yield picture.save(folder / f"{name}.pdf")
    finally:
        theme = before


def _draw_one_shot(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    from prunelab.studies.one_shot import with_rules

    for network in table["network"].unique():
        rows = with_rules(table[table["network"] == network])
        title = f"{network}, one-shot, no retraining."
        yield f"one_shot_{network}", accuracy_against_density(rows, title)


def _draw_permanence(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for network in table["network"].unique():
        rows = table[table["network"] == network]
        yield f"permanence_{network}", zeros_while_training(rows)


def _draw_latency(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    from prunelab.studies.latency import relative_speed

    for layer in table["layer"].unique():
        rows = relative_speed(table[table["layer"] == layer])
        yield f"latency_{layer.split()[0]}", speed_against_density(rows)


def _draw_zoo(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    yield "zoo", zoo(table)


def _draw_lottery_tickets(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    kinds = ("ticket", "random mask")
    title = "LeNet-300-100: winning tickets and random masks."
    yield "lottery_figure_1", tickets_against_density(table, kinds, title=title)
    title = "LeNet-300-100: learning at several densities."
    yield "lottery_figure_3", ticket_curves(table, title)
    for name, kinds in {
        "iterative": ("ticket", "random reinit"),
        "one-shot": ("one-shot ticket", "one-shot reinit"),
    }.items():
        title = f"LeNet-300-100: {name} pruning, winning tickets and random reinitialization."
        picture = tickets_against_density(table, kinds, tuple(TICKET_MEASURES), title)
        yield f"lottery_figure_4_{name}", picture


def _draw_supermasks(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for experiment, by, panel, title in (
        ("masks", "criterion", "values", "LeNet-300-100 under a mask, never trained."),
        ("signs", "values", None, "LeNet-300-100 trained from other values under one mask."),
        ("zeros", "pruned", None, "LeNet-300-100 with pruned weights set to other values."),
    ):
        rows = table[table["experiment"] == experiment]
        options = {"panel": panel, "scale": "density", "title": title}
        picture = intervals_against(rows, "density", "test_accuracy", by, **options)
        yield f"supermasks_{experiment}", picture


def _draw_instability(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    rows = table[table["network"] == "half_convnet"]
    rows = rows.assign(percent=(100 * rows["share"]).round(1))
    for value, title in (
        ("barrier", "Error barrier of two copies."),
        ("test_accuracy", "Accuracy of the copies."),
    ):
        options = {"panel": "network", "scale": "symlog", "title": title}
        xlabel = "iteration k, % of the training"
        picture = intervals_against(rows, "percent", value, "kind", xlabel=xlabel, **options)
        yield f"instability_{value}", picture


def _draw_lottery_networks(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    kinds = ("ticket", "random reinit", "random mask")
    for network, rows in table.groupby("network", sort=False):
        at_end = network == "resnet20"  # as in the paper, which does not stop it early
        measures = ("last_accuracy",) if at_end else ("iteration", "test_accuracy")
        title = f"{network}: winning tickets and their controls."
        yield f"lottery_{network}", tickets_against_density(rows, kinds, measures, title)


DRAWN = {
    "one_shot": _draw_one_shot,
    "permanence": _draw_permanence,
    "latency": _draw_latency,
    "zoo": _draw_zoo,
    "lottery_tickets": _draw_lottery_tickets,
    "supermasks": _draw_supermasks,
    "instability": _draw_instability,
    "lottery_networks": _draw_lottery_networks,
}
"""The studies that have figures of their own, with the functions that draw them."""


_percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")


def _interval_line(ax: Axes, x: pd.Series, rows: pd.DataFrame, i: int, label: str) -> None:
    ax.plot(x, rows["mean"], color=COLORS[i], marker=MARKERS[i], label=label)
    ax.fill_between(x, rows["low"], rows["high"], color=COLORS[i], alpha=0.2, linewidth=0)
    if len(rows) == 1:  # a band has no width there
        ax.vlines(x, rows["low"], rows["high"], color=COLORS[i])


def _range_line(
    ax: Axes, x: str, table: pd.DataFrame, y: str, i: int, label: str, marker: str | None = None
) -> None:
    """A line of means over the runs, and the band from the lowest to the highest of them."""
    rows = table.groupby(x)[y].agg(["mean", "min", "max"])
    marker = MARKERS[i] if marker is None else marker
    ax.plot(rows.index, rows["mean"], color=COLORS[i], marker=marker, label=label)
    ax.fill_between(rows.index, rows["min"], rows["max"], color=COLORS[i], alpha=0.2, linewidth=0)


def _scale(ax: Axes, scale: str, values: pd.Series) -> None:
    if scale == "density":
        _density_axis(ax, 1 - values)
        return
    ticks = sorted(values.unique())
    if scale == "symlog":
        smallest = min(tick for tick in ticks if tick > 0)
        ax.set_xscale("symlog", linthresh=smallest)
        ax.set_xlim(-0.2 * smallest, 1.15 * ticks[-1])
    elif scale == "log":
        ax.set_xscale("log")
    if scale != "linear" or len(ticks) <= 5:
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _density_axis(ax: Axes, sparsity: pd.Series) -> None:
    """Log axis from dense on the left to sparse on the right, as in the papers."""
    low = 1 - sparsity.max()
    ticks = [d for d in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01) if d >= low * 0.999]
    ax.set_xscale("log")
    ax.set_xlim(1.08 * (1 - sparsity.min()), low / 1.08)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(_percent)
    ax.set_xlabel("density: weights kept")


def _label(ax: Axes, x: float, y: float, text: str, color: str) -> None:
    ax.annotate(text, (x, y), (4, 4), textcoords="offset points", color=color, size=8)


LEGEND = {"frameon": False, "fontsize": 8, "labelcolor": "linecolor"}


def _legend(ax: Axes) -> None:
    ax.legend(**LEGEND)
