"""Drawings of pruning: a mask at work on a few weights, and where the cut falls in every layer."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from torch import Tensor, nn

from prunelab.figures.style import COLORS, Picture, canvas, headline, minus, theme
from prunelab.masks import effective_weight, get_masks


def mask_times_weight(weights, mask) -> Picture:
    """A small matrix of weights, its mask, and their product, a cell and a number each.

    A cell is the darker, the larger its weight in magnitude; what is pruned is gray.

    Args:
        weights: two dimensions, few enough that their numbers can be read.
        mask: True or 1 where a weight is kept, same shape.
    """
    weights, mask = np.asarray(weights), np.asarray(mask, dtype=bool)
    size, (rows, columns) = np.abs(weights), weights.shape
    shades = LinearSegmentedColormap.from_list("size", [theme().paper, COLORS[0]])
    shades = shades.with_extremes(bad=theme().faint)
    two = ListedColormap([theme().faint, COLORS[0]])
    product = np.where(mask, np.char.mod("%.2f", weights), "0")
    shape = {"width": 1.2 + 0.92 * columns, "height": 0.6 + 0.3 * rows}
    with canvas(columns=3, **shape) as (figure, (panels,)):
        _cells(panels[0], size, shades, np.char.mod("%.2f", weights), "weight_orig: as trained")
        _cells(panels[1], mask, two, np.char.mod("%d", mask), "weight_mask: 1 = kept")
        _cells(panels[2], np.ma.array(size, mask=~mask), shades, product, "weight: their product")
        for ax, sign in zip(panels, ("×", "=", ""), strict=True):
            ax.text(1.03, 0.5, sign, size=16, va="center", transform=ax.transAxes)
        return Picture(
            figure,
            f"Three grids of {rows} × {columns} cells: trained weights, times a mask of ones and "
            f"zeros, equals the weights that the network uses. {mask.sum()} of {mask.size} are "
            f"kept. The largest pruned one has magnitude {size[~mask].max(initial=0):.2f}, the "
            f"smallest kept one {size[mask].min(initial=size.max()):.2f}.",
        )


def _cells(ax: Axes, values, colors, words, title: str) -> None:
    """A grid of colored cells, a few words in each; light words on dark colors."""
    largest = max(float(np.max(values)), 1e-12)
    style = {"vmin": 0, "vmax": largest, "edgecolors": theme().paper, "linewidth": 1.5}
    ax.pcolormesh(np.ma.asarray(values, dtype=float), cmap=colors, **style)
    for (row, column), word in np.ndenumerate(words):
        is_dark = np.ma.filled(values, 0)[row, column] > 0.55 * largest
        ink = "#ffffff" if is_dark else theme().ink
        ax.text(column + 0.5, row + 0.52, minus(word), color=ink, size=7, ha="center", va="center")
    ax.invert_yaxis()
    ax.set(xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)


def thresholds(dense: nn.Module, networks: Mapping[str, nn.Module]) -> Picture:
    """Where each rule of pruning cuts each layer: histograms of magnitudes, a row a layer.

    The line is the largest magnitude that is pruned; left of it, in gray, is what goes. Every
    histogram is as high as its panel, so that small layers can be seen beside large ones.

    Args:
        dense: the network before pruning, with few layers.
        networks: masked copies of it, by the name of the rule that has pruned them.
    """
    masks = {rule: get_masks(network) for rule, network in networks.items()}
    layers = {name: dense.get_submodule(name) for name in next(iter(masks.values()))}
    sizes = {name: _numbers(effective_weight(layer).abs()) for name, layer in layers.items()}
    limit = max(np.quantile(size, 0.995) for size in sizes.values())  # without the long tails
    shape = {"columns": len(masks), "rows": len(sizes), "sharex": True}
    seen = []
    with canvas(width=7.2, height=0.7 + 0.85 * len(sizes), **shape) as (figure, axes):
        for row, (layer, size) in zip(axes, sizes.items(), strict=True):
            for ax, color, (rule, kept) in zip(row, COLORS, masks.items(), strict=False):
                _cut(ax, size, _numbers(kept[layer]), limit, color)
                seen.append(f"of {layer} {_numbers(kept[layer]).mean():.1%} ({rule})")
            words = f"{layer}\n{size.size:,} weights"
            row[0].set_ylabel(words, rotation=0, ha="right", va="center")
        for top, bottom, rule in zip(axes[0], axes[-1], masks, strict=True):
            top.set_title(rule)
            bottom.set_xlabel("magnitude of a weight")
        headline(figure, "Gray goes, color stays. The line is the threshold.")
        return Picture(
            figure,
            f"Histograms of the magnitudes of the weights of {len(sizes)} layers, each cut at a "
            f"threshold. Kept are {', '.join(seen)}.",
        )


def _numbers(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy().ravel()


def _cut(ax: Axes, size: np.ndarray, mask: np.ndarray, limit: float, color: str) -> None:
    """One layer's histogram in two colors, the threshold, and the share that is kept."""
    bins = np.linspace(0, limit, 61)
    highest = np.histogram(size, bins)[0].max()
    for chosen, fill in ((size, theme().faint), (size[mask], color)):
        ax.stairs(np.histogram(chosen, bins)[0] / highest, bins, fill=True, color=fill)
    ax.axvline(size[~mask].max(initial=0), color=theme().ink, linewidth=1)
    place = {"ha": "right", "va": "top", "transform": ax.transAxes}
    ax.text(0.98, 0.9, f"{mask.mean():.1%} stay", color=color, **place)
    ax.set(xlim=(0, limit), ylim=(0, 1.05), yticks=[])
    ax.grid(visible=False, axis="y")
