"""Figures 1, 3 and 4 of Frankle & Carbin (2019), arXiv:1803.03635, and a race of two tickets."""

import pandas as pd
from matplotlib.axes import Axes

from prunelab.figures.style import (
    COLORS,
    MARKERS,
    PERCENT,
    Picture,
    canvas,
    density_axis,
    headline,
    interval_line,
    legend,
    theme,
)

LATE = 0.95
"""A share of the training: where the loss is lowest after it, the lowest may still be to come."""
HOLLOW = "Hollow: at least one trial had its lowest validation loss in the last 5 % of training."
TICKET_MEASURES = {
    "iteration": ("early stop", "iteration", "Iterations until early stop"),
    "test_accuracy": ("early stop", "test_accuracy", "Test accuracy at early stop"),
    "last_accuracy": ("end", "test_accuracy", "Test accuracy at the end"),
    "train_accuracy": ("end", "train_accuracy", "Training accuracy at the end"),
}
"""What figures 1 and 4 show of the study `lottery_tickets`: moment, column and title."""


def stopped_at_limit(table: pd.DataFrame) -> pd.DataFrame:
    """The runs with their lowest validation loss at the limit: in the last 5 % of the training.

    They might have stopped later, and with another accuracy, had they been trained for longer.

    Args:
        table: the study `lottery_tickets`.
    """
    stops = table[table["moment"] == "early stop"]
    return stops[stops["iteration"] >= LATE * table["iteration"].max()]


def tickets_against_density(
    table: pd.DataFrame,
    kinds: tuple[str, ...],
    measures: tuple[str, ...] = ("iteration", "test_accuracy"),
    title: str = "",
) -> Picture:
    """Tickets and controls against density: mean over the trials, bands from lowest to highest.

    Figures 1 and 4 of Frankle & Carbin (2019). Round 0, the dense network, is part of every line.
    A marker is hollow where at least one trial stopped at the limit.

    Args:
        table: the study `lottery_tickets`.
        kinds: the lines.
        measures: the panels, of `TICKET_MEASURES`.
        title: words above the panels.
    """
    rows = -(-len(measures) // 2)
    late = stopped_at_limit(table)
    late = late[late["kind"].isin(kinds) | (late["round"] == 0)]
    with canvas(min(len(measures), 2), rows, 8.4, 0.4 + 2.9 * rows) as (figure, panels):
        for ax, measure in zip(panels.flat, measures, strict=True):
            moment, column, name = TICKET_MEASURES[measure]
            here = table[table["moment"] == moment]
            for i, kind in enumerate(kinds):
                line = here[(here["kind"] == kind) | (here["round"] == 0)]
                _range_line(ax, "density", line, column, i, kind)
                unfinished = line.merge(late[["kind", "round"]].drop_duplicates())
                points = unfinished.groupby("density")[column].mean()
                ax.plot(points, linestyle="", **_mark(i, hollow=True))
            density_axis(ax, table["density"])
            ax.set_title(name)
            if column != "iteration":
                ax.yaxis.set_major_formatter(PERCENT)
        legend(panels.flat[0])
        headline(figure, title if late.empty else f"{title}\n{HOLLOW}")
        moment, column, name = TICKET_MEASURES[measures[-1]]
        sparsest = table[(table["moment"] == moment) & (table["round"] == table["round"].max())]
        ends = sparsest.groupby("kind")[column].mean()
        seen = ", ".join(f"{kind} {ends[kind]:.4g}" for kind in kinds if kind in ends)
        return Picture(
            figure,
            f"{title} Against the share of weights kept: "
            f"{'; '.join(TICKET_MEASURES[measure][2] for measure in measures)}. {name} with "
            f"{sparsest['density'].mean():.1%} kept: {seen}. Bands reach from the lowest to the "
            f"highest of {table['seed'].nunique()} trials.{_where_hollow(late)}",
        )


def _where_hollow(late: pd.DataFrame) -> str:
    """For the caption: the densities whose markers are hollow, by kind."""
    densities = late.groupby("kind", sort=False)["density"].unique()
    seen = [
        f"{kind} at {', '.join(f'{100 * density:.1f}' for density in sorted(found)[::-1])} %"
        for kind, found in densities.items()
    ]
    return f" {HOLLOW[:-1]}: {'; '.join(seen)}." if seen else ""


def ticket_curves(table: pd.DataFrame, title: str = "") -> Picture:
    """Test accuracy while training, a panel a kind, a line a density, bands as above.

    Figure 3 of Frankle & Carbin (2019), smoothed: a point is the mean of a run's evaluations in 500
    iterations.

    Args:
        table: the study `lottery_tickets`.
        title: words above the panels.
    """
    curves = _smooth(table[table["moment"] == "curve"])
    kinds, rounds = curves["kind"].unique(), sorted(curves["round"].unique())
    with canvas(len(kinds), width=8.4, height=3.8, sharey=True) as (figure, (panels,)):
        for ax, kind in zip(panels, kinds, strict=True):
            here = curves[(curves["kind"] == kind) | (curves["round"] == 0)]
            for round_, rows in here.groupby("round"):
                name = f"{rows['density'].mean():.1%}"
                i = rounds.index(round_)
                _range_line(ax, "iteration", rows, "test_accuracy", i, name, marker="")
            ax.yaxis.set_major_formatter(PERCENT)
            ax.set(xlabel="training iterations", title=kind)
        late = curves[curves["iteration"] >= 0.1 * curves["iteration"].max()]["test_accuracy"]
        panels[0].set(ylim=(late.min() - 0.002, late.max() + 0.002), ylabel="test accuracy")
        legend(panels[-1])
        headline(figure, title)
        last = curves[curves["iteration"] == curves["iteration"].max()]
        ends = last.groupby(["kind", "density"], sort=False)["test_accuracy"].mean()
        seen = ", ".join(
            f"{kind} {share:.1%} kept {end:.1%}" for (kind, share), end in ends.items()
        )
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations, means of 500 of them. At the end: "
            f"{seen}. Bands reach from the lowest to the highest of {table['seed'].nunique()} "
            "trials.",
        )


def _smooth(curves: pd.DataFrame) -> pd.DataFrame:
    """The means of a run's evaluations in 500 iterations, at their mean iteration."""
    run = curves.columns.intersection(["kind", "round", "density", "seed", "replicate"])
    part = -(-curves["iteration"] // 500)
    groups = curves.groupby([*run, part.rename("part")], sort=False)
    return groups[["iteration", "test_accuracy"]].mean().reset_index()


def ticket_race(table: pd.DataFrame, density: float) -> Picture:
    """Test accuracy while training at one density: ticket, random reinit, and the dense network.

    Smoothed as above. The axes are the same at every density. A mark stands at the mean early stop;
    it is hollow where at least one trial stopped at the limit.

    Args:
        table: the study `lottery_tickets`.
        density: one that has curves; the nearest is taken.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, figure 3.
    """
    curves = _smooth(table[table["moment"] == "curve"])
    stops = table[table["moment"] == "early stop"]
    unfinished = stopped_at_limit(table)
    round_, kept = curves.loc[(curves["density"] - density).abs().idxmin(), ["round", "density"]]
    runners = ("ticket", "random reinit", "dense")
    here = curves[(curves["round"] == round_) & (round_ > 0) & curves["kind"].isin(runners)]
    lines = dict(list(here.groupby("kind", sort=False))) | {"dense": curves[curves["round"] == 0]}
    late = curves.loc[curves["iteration"] >= 0.03 * curves["iteration"].max(), "test_accuracy"]
    seen = []
    with canvas(width=6.4, height=3.8) as (figure, ((ax,),)):
        for name, rows in lines.items():
            i = runners.index(name)
            _range_line(ax, "iteration", rows, "test_accuracy", i, name, marker="")
            runs = stops.merge(rows[["kind", "round"]].drop_duplicates())
            stop, accuracy = runs["iteration"].mean(), runs["test_accuracy"].mean()
            hollow = len(unfinished.merge(runs)) > 0
            ax.plot(stop, accuracy, **_mark(i, hollow), markersize=8)
            limit = " (hollow: at the limit)" if hollow else ""
            seen.append(f"{name} after {stop:,.0f} iterations{limit} with {accuracy:.1%}")
        ax.set_ylim(late.min(), late.max() + 0.002)
        ax.yaxis.set_major_formatter(PERCENT)
        title = f"{kept:.1%} of the weights kept."
        ax.set(xlabel="training iterations", ylabel="test accuracy", title=title)
        legend(ax)
        return Picture(
            figure,
            f"{title} Test accuracy against training iterations, means of 500 of them, mean and "
            f"range of {table['seed'].nunique()} trials. Early stop: {'; '.join(seen)}.",
        )


def _mark(i: int, hollow: bool) -> dict:
    """The i-th marker, filled with its color or with the paper's."""
    inside = theme().paper if hollow else COLORS[i]
    return {"color": COLORS[i], "marker": MARKERS[i], "markerfacecolor": inside}


def _range_line(
    ax: Axes, x: str, table: pd.DataFrame, y: str, i: int, name: str, marker: str | None = None
) -> None:
    """A line of means over the runs, and the band from the lowest to the highest of them."""
    rows = table.groupby(x)[y].agg(mean="mean", low="min", high="max")
    interval_line(ax, rows.index, rows, i, name, marker)
