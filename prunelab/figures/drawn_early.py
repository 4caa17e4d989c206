"""Drawings of masks before training: what layers keep, where, and which weights move (16)."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.patches import Patch

from prunelab.figures.style import (
    COLORS,
    MARKERS,
    PERCENT,
    Picture,
    canvas,
    density_axis,
    fix_ticks,
    headline,
    legend,
    theme,
)

FATES = ("in neither", "stays", "dropped", "grown")


def kept_at_inputs(
    masks: Mapping[str, object], title: str = "", shape: tuple[int, int] = (28, 28)
) -> Picture:
    """How many weights of the first layer are kept at each pixel of the input, a panel a mask.

    Args:
        masks: of the first layer, (outputs, pixels), by the name of the panel.
        title: words above.
        shape: of the image, rows and columns.

    Raises:
        ValueError: a mask whose inputs are not the pixels of such an image.
    """
    counts = {}
    for name, mask in masks.items():
        kept = np.asarray(mask, dtype=bool)
        if kept.ndim != 2 or kept.shape[1] != shape[0] * shape[1]:
            raise ValueError(
                f"masks[{name!r}] has the shape {kept.shape}; its inputs must be {shape} pixels"
            )
        counts[name] = kept.sum(axis=0).reshape(shape)
    largest = max(np.quantile(count, 0.99) for count in counts.values())
    shades = LinearSegmentedColormap.from_list("kept", [theme().paper, COLORS[0]])
    size = {"columns": len(counts), "width": 1.9 * len(counts) + 0.6, "height": 2.6}
    with canvas(**size) as (figure, (panels,)):
        for ax, (name, count) in zip(panels, counts.items(), strict=True):
            pixels = ax.pcolormesh(count, cmap=shades, vmin=0, vmax=largest)
            ax.set(title=name, xticks=[], yticks=[], aspect="equal")
            ax.invert_yaxis()
            ax.grid(visible=False)
        figure.colorbar(pixels, ax=panels, label="weights kept at a pixel", shrink=0.75)
        headline(figure, title)
        rows, columns = (np.abs(np.arange(n) - (n - 1) / 2) < n / 4 for n in shape)
        middle = np.outer(rows, columns)
        seen = "; ".join(
            f"{name} {count[middle].mean():.1f} and {count[~middle].mean():.1f}"
            for name, count in counts.items()
        )
        return Picture(
            figure,
            f"{title} Images of the input, the bluer a pixel, the more weights are kept there. In "
            f"the middle quarter of the image and outside of it, on average: {seen}.".strip(),
        )


def densities_of_layers(table: pd.DataFrame, title: str = "") -> Picture:
    """The share that each layer keeps while the whole network keeps less, a panel a method.

    Both axes are logarithmic. A cross at the lower edge is a layer without a single weight.

    Args:
        table: a row a method, density and layer: `method`, `density` of the whole network,
            `layer`, and `kept`, the share of the layer's weights.
        title: words above.
    """
    parts = dict(list(table.groupby("method", sort=False)))
    layers = list(table["layer"].unique())
    floor = 0.5 * table.loc[table["kept"] > 0, "kept"].min()
    empty = []
    size = {"columns": len(parts), "width": 7.2, "height": 3.2, "sharey": True}
    with canvas(**size) as (figure, (panels,)):
        for ax, (method, part) in zip(panels, parts.items(), strict=True):
            for color, marker, layer in zip(COLORS, MARKERS, layers, strict=False):
                rows = part[part["layer"] == layer].sort_values("density", ascending=False)
                left, gone = rows[rows["kept"] > 0], rows[rows["kept"] == 0]
                ax.plot(left["density"], left["kept"], color=color, marker=marker, label=layer)
                if len(gone):
                    at = np.full(len(gone), floor)
                    ax.plot(gone["density"], at, "x", color=color, markersize=7, clip_on=False)
                    empty.append(f"{method}, {layer} from {gone['density'].max():.2%} down")
            ax.set_yscale("log")
            density_axis(ax, table["density"])
            ax.set(title=method, ylim=(floor, 1.3), xlabel="kept of the network")
            fix_ticks(ax.xaxis, [0.1, 0.01, 0.001], PERCENT)
        fix_ticks(panels[0].yaxis, [1, 0.1, 0.01, 0.001, 0.0001], PERCENT)
        panels[0].set_ylabel("kept of a layer")
        legend(panels[-1])
        headline(figure, title)
        return Picture(
            figure,
            f"{title} The share of its weights that each layer keeps, against the share that the "
            f"network keeps. Empty layers: {'; '.join(empty) or 'none'}.".strip(),
        )


def moved_weights(before, after, title: str = "") -> Picture:
    """A layer's mask before and after it moved: a cell a weight, a row an output.

    Args:
        before, after: True where a weight is kept, two dimensions.
        title: words above.

    Raises:
        ValueError: masks of different shapes.
    """
    old, new = (np.asarray(mask, dtype=bool) for mask in (before, after))
    if old.shape != new.shape or old.ndim != 2:
        raise ValueError(f"before {old.shape} and after {new.shape} must have one shape, of two")
    fates = np.select([old & new, old & ~new, ~old & new], [1, 2, 3], 0)
    counts = dict(zip(FATES, np.bincount(fates.ravel(), minlength=4).tolist(), strict=True))
    colors = [theme().faint, COLORS[0], COLORS[1], COLORS[2]]
    rows, columns = fates.shape
    height = 1.2 + 6.4 * rows / columns
    with canvas(width=7.2, height=height) as (figure, ((ax,),)):
        lines = {"edgecolors": theme().paper, "linewidth": 0.5}
        ax.pcolormesh(fates, cmap=ListedColormap(colors), vmin=-0.5, vmax=3.5, **lines)
        ax.invert_yaxis()
        ax.set(xticks=[], yticks=[], xlabel="inputs", ylabel="outputs", title=title)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        patches = [Patch(color=c, label=f) for c, f in zip(colors, FATES, strict=True)]
        look = {"loc": "outside lower center", "ncols": 4, "frameon": False, "fontsize": 8}
        figure.legend(handles=patches, **look)
        seen = ", ".join(f"{count} {fate}" for fate, count in counts.items())
        return Picture(figure, f"{title} A cell for each of {fates.size} weights: {seen}.".strip())
