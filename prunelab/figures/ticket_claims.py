"""How far tickets are ahead, density by density, and what their paper claims beside our trials."""

import re

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from prunelab.figures.lottery import paper_axis
from prunelab.figures.style import (
    COLORS,
    PLAIN,
    Picture,
    canvas,
    fix_ticks,
    headline,
    interval_line,
    legend,
    theme,
)
from prunelab.intervals import mean_interval

AGREES = {"yes": (COLORS[0], "o"), "cannot be told": ("#808080", "D"), "no": (COLORS[1], "s")}
"""How a claim is drawn by whether we agree: color and marker."""
PANELS = {
    "early stop": ("times as early", 1.0, "log"),
    "test accuracy": ("points of test accuracy", 0.0, "linear"),
}
"""Of `paper_claims`: what is compared, where there is no effect, and the scale."""


def leads_against_density(
    leads: pd.DataFrame,
    title: str = "",
    published: dict[str, dict[int, float]] | None = None,
    limits: tuple[float, float] | None = None,
    matters: float = 0.2,
) -> Picture:
    """Leads in points against density, a line a comparison, a panel a moment.

    Means with their 95 % intervals over the trials. The gray band holds the differences that are
    too small to matter.

    Args:
        leads: what `lab.tickets.leads` gives.
        title: words above the panels.
        published: by moment and round, the paper's numbers; they are drawn as stars.
        limits: of the vertical axis, in points.
        matters: the smallest difference that does.
    """
    names, kept = list(leads["name"].unique()), leads.groupby("round")["density"].mean()
    seen = []
    size = {"width": 8.4, "height": 3.6, "sharey": True}
    with canvas(leads["moment"].nunique(), **size) as (figure, (panels,)):
        for ax, (moment, rows) in zip(panels, leads.groupby("moment", sort=False), strict=True):
            ax.axhspan(-matters, matters, color=theme().faint, alpha=0.6, linewidth=0)
            ax.axhline(0, color=theme().ink, linewidth=0.8)
            for name, line in rows.groupby("name", sort=False):
                means = mean_interval(line, ["density"], "lead").sort_values("density")[::-1]
                interval_line(ax, means["density"], means, names.index(name), name)
                seen.append(f"{moment}, {name} {means['mean'].iloc[-1]:+.2f}")
            stars = (published or {}).get(moment, {})
            if stars:
                kept_there = [kept[round_] for round_ in stars]
                ax.plot(kept_there, stars.values(), label="the paper, on MNIST", **star(11))
            seen += [f"{moment}, the paper {v:+g} at {kept[r]:.1%}" for r, v in stars.items()]
            paper_axis(ax, leads)
            ax.set(title=moment, ylim=limits)
        panels[0].set_ylabel("points of test accuracy")
        legend(panels[0])
        headline(figure, title)
        return Picture(
            figure,
            f"{title} Points against the share of weights kept. With "
            f"{leads['density'].min():.1%} kept: {'; '.join(seen)}. Bands are 95 % intervals over "
            f"{leads['seed'].nunique()} trials, the gray one is ±{matters:g} points.".strip(),
        )


def star(size: float) -> dict:
    """How a paper's number is drawn."""
    look = {"marker": "*", "markersize": size, "markeredgecolor": theme().paper}
    return look | {"color": theme().ink, "linestyle": "", "zorder": 3}


def paper_claims(table: pd.DataFrame, title: str = "") -> Picture:
    """A paper's claims and our 95 % intervals, colored by agreement, with the paper's numbers.

    Where the paper gives a number it is a star; what it says in words stands at the right.

    Args:
        table: what `lab.claims.ticket_claims` gives.
        title: words above.
    """
    parts = {quantity: table[table["quantity"] == quantity] for quantity in PANELS}
    heights = [len(rows) for rows in parts.values()]
    size = {"width": 8.4, "height": 1.5 + 0.26 * len(table), "height_ratios": heights}
    with canvas(1, 2, **size) as (figure, axes):
        for ax, (quantity, rows) in zip(axes.flat, parts.items(), strict=True):
            what, no_effect, scale = PANELS[quantity]
            ax.set(xscale=scale, xlabel=what)
            ax.axvline(no_effect, color=theme().ink, linewidth=0.8)
            for y, row in enumerate(rows.itertuples()):
                _claim(ax, y, row)
            ax.set_yticks(range(len(rows)), rows["claim"])
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.grid(visible=False, axis="y")
            low, high = min(no_effect, rows["low"].min()), max(no_effect, rows["high"].max())
            ax.set_xlim(low - 0.05 * (high - low), high + 0.2 * (high - low))  # room for words
            if scale == "log":
                fix_ticks(ax.xaxis, [1, 1.5, 2, 3, 4], PLAIN)
                ax.xaxis.set_minor_formatter(NullFormatter())
        axes[0, 0].set_title("the paper (★)", loc="right", size=8.5)
        for agrees in dict.fromkeys(table["agrees"]):
            color, marker = AGREES[agrees]
            axes[1, 0].plot([], [], color=color, marker=marker, label=f"agrees: {agrees}")
        figure.legend(
            *axes[1, 0].get_legend_handles_labels(),
            **{"loc": "outside lower center", "ncols": 3, "frameon": False, "fontsize": 8},
        )
        headline(figure, title)
        seen = "; ".join(
            f"{row.claim} (the paper: {row.published}) {row.mean:.2f} [{row.low:.2f}, "
            f"{row.high:.2f}], agrees: {row.agrees}"
            for row in table.itertuples()
        )
        return Picture(figure, f"{title} Mean and 95 % interval of each claim: {seen}.".strip())


def _claim(ax: Axes, y: int, row) -> None:
    """One row: our interval, and what the paper says."""
    color, marker = AGREES[row.agrees]
    ax.plot([row.low, row.high], [y, y], color=color)
    ax.plot(row.mean, y, color=color, marker=marker, markersize=5)
    number = re.match(r"[+-]?\d[\d.]*", row.published)
    if number:
        ax.plot(float(number[0]), y, **star(10))
    words = row.published.split(" (")[0]
    place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center", "size": 8}
    ax.text(0.995, y, words, **place)
