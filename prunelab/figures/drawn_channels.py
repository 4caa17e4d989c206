"""A drawing of channel surgery: which filters, entries and inputs belong to one channel."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle

from prunelab.figures.style import COLORS, Picture, canvas, theme
from prunelab.figures.surgery import unit_names

CELL, GAP, RING = 0.18, 1.5, 0.7
"""The side of a cell in inches; in cells, the way between layers and the radius of an addition."""
OWNS = {"writes": "filter", "carries": "entry", "reads": "input"}
"""What of a layer goes with a unit, by the layer's role."""


def channel_flow(table: pd.DataFrame, unit: int | None = None, title: str = "") -> Picture:
    """A chain of layers as boxes of weights, with the name of every channel they read and write.

    The rows of a box are filters and its columns are inputs; BatchNorm is one column of entries.
    Names above a box are read, names to its right are written or carried on, and a color is a
    group. Where a layer writes the units of an earlier one an addition joins the two: there the
    skip connection is drawn.

    Args:
        table: what `channel_table` returns, of at most one residual block with few channels whose
            layers run in the order in which the model names them.
        unit: a unit to light up: all rows, columns and entries that go with it. None shows all.
        title: over the figure.
    """
    names = unit_names(table)
    layers = dict(iter(table.groupby("layer", sort=False)))
    left, joined = _joined(table)
    below = max(_size(rows)[1] for rows in layers.values()) / 2
    x, starts, ends = 0.0, {}, {}
    for layer, rows in layers.items():
        starts[layer], ends[layer] = x, x + _size(rows)[0] + 1.1
        x = ends[layer] + GAP + (2 * RING + GAP if layer == joined else 0)
    width, height = x + 1.5, 2 * below + (8.3 if joined else 4.9)
    with canvas(width=CELL * width, height=CELL * height + 0.3) as (figure, ((ax,),)):
        ax.set(xlim=(-1.5, x), ylim=(below + 3.4, below + 3.4 - height), title=title)
        ax.set_aspect("equal")
        ax.axis("off")
        _arrow(ax, -GAP, 0)
        for layer, rows in layers.items():
            _arrow(ax, ends[layer], ends[layer] + GAP)
            _box(ax, starts[layer], rows, names, unit)
            middle = starts[layer] + _size(rows)[0] / 2 + 0.3
            ax.text(middle, below + 1.5, layer, ha="center", size=8.5, weight="bold")
            for i, words in enumerate(_words(rows, names, unit)):
                ax.text(middle, below + 2.4 + 0.9 * i, words, ha="center", size=7)
        if joined:
            rows = table[(table["layer"] == left) & (table["role"] == "writes")]
            _skip(ax, ends[left] + GAP / 2, ends[joined] + GAP + RING, below + 2.6, rows, names)
            _arrow(ax, ends[joined] + GAP + 2 * RING, ends[joined] + 2 * GAP + 2 * RING)
        seen = [f"{n} {', '.join(_words(r, names, unit))}" for n, r in layers.items()]
        skip = f"; a skip connection from {left} is added after {joined}" if joined else ""
        lit = "" if unit is None else f" What goes with {names[unit]}:"
        caption = f"{title} {len(layers)} layers{skip}.{lit} {'; '.join(seen)}."
        return Picture(figure, caption.strip())


def _joined(table: pd.DataFrame) -> tuple[str | None, str | None]:
    """The first writer of a group that has several, and the last layer that hands it on."""
    owners = table[(table["group"] > 0) & (table["role"] != "reads")]
    for _, rows in owners.groupby("group"):
        writers = rows.loc[rows["role"] == "writes", "layer"].unique()
        if len(writers) > 1:
            return writers[0], rows["layer"].iloc[-1]
    return None, None


def _size(rows: pd.DataFrame) -> tuple[int, int]:
    """Columns and rows of a layer's box."""
    counts = rows["role"].value_counts()
    return int(counts.get("reads", 1)), int(counts.get("writes", counts.get("carries", 1)))


def _box(ax: Axes, x: float, rows: pd.DataFrame, names: dict[int, str], unit: int | None) -> None:
    """A layer's weights around the middle line, its inputs above, its own channels right."""
    columns, lines = _size(rows)
    top = -lines / 2
    box = Rectangle((x, top), columns, lines, fc=(theme().faint, 0.45), ec=theme().faint, lw=0.8)
    ax.add_patch(box)
    if unit is None and columns > 3:
        words = f"{lines} filters\n× {columns} inputs"
        ax.text(x + columns / 2, 0, words, ha="center", va="center", size=7.5)
    for row in rows.itertuples():
        color = COLORS[(row.group - 1) % len(COLORS)] if row.group else "#9a9a9a"
        reads, is_lit = row.role == "reads", unit in (None, row.unit)
        at = (x + row.channel, top - 1.1) if reads else (x + columns + 0.1, top + row.channel)
        _name(ax, at, names[row.unit], color, is_lit)
        if row.unit == unit:
            place = (x + row.channel, top) if reads else (x, top + row.channel)
            size = (1, lines) if reads else (columns, 1)
            ax.add_patch(Rectangle(place, *size, fc=color, alpha=0.85, lw=0))


def _name(ax: Axes, at: tuple[float, float], name: str, color: str, is_lit: bool) -> None:
    """A channel's name on its color, faded if it is not lit."""
    alpha = (0.85 if name != "·" else 0.35) if is_lit else 0.25
    ax.add_patch(Rectangle((at[0] + 0.05, at[1] + 0.05), 0.9, 0.9, fc=color, alpha=alpha, lw=0))
    ink = "#ffffff" if name != "·" and is_lit else theme().ink
    style = {"ha": "center", "va": "center", "size": 6.5, "alpha": 1 if is_lit else 0.65}
    ax.text(at[0] + 0.5, at[1] + 0.54, name, color=ink, **style)


def _words(rows: pd.DataFrame, names: dict[int, str], unit: int | None) -> list[str]:
    """What a layer does with its groups, or what of it goes with a unit."""
    if unit is not None:
        lit = rows.loc[rows["unit"] == unit, "role"].unique()
        return [f"− {OWNS[role]} {names[unit]}" for role in lit] or ["loses nothing"]
    groups = rows[rows["group"] > 0].drop_duplicates(["role", "group"]).sort_values("role")
    return [f"{row.role} {names[row.unit][0]}" for row in groups.itertuples()]


def _arrow(ax: Axes, x: float, to: float) -> None:
    style = {"arrowstyle": "-|>", "color": theme().ink, "lw": 1, "shrinkA": 1, "shrinkB": 1}
    ax.annotate("", (to, 0), (x, 0), arrowprops=style)


def _skip(ax: Axes, x: float, to: float, high: float, rows: pd.DataFrame, names: dict) -> None:
    """From the first writer's outputs over all between to a ring with a plus, and why it ties."""
    color = COLORS[(rows["group"].iloc[0] - 1) % len(COLORS)]
    ax.plot([x, x, to, to], [0, -high, -high, -RING], color=color, lw=1.6)
    ax.add_patch(Circle((to, 0), RING, fc=theme().paper, ec=color, lw=1.6, zorder=3))
    ax.text(to, 0.03, "+", ha="center", va="center_baseline", size=11, color=color, zorder=4)
    first, last = (names[rows["unit"].iloc[i]] for i in (0, -1))
    words = (
        f"skip connection: the + adds {first} to {first}, …, {last} to {last}, "
        "so both sides need the same channels"
    )
    ax.text((x + to) / 2, -high - 0.4, words, ha="center", size=8)
