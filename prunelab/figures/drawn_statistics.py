"""A drawing of stale statistics: what BatchNorm keeps of a channel, and what enters it now."""

import numpy as np
from matplotlib.axes import Axes

from prunelab.figures.style import COLORS, Picture, canvas, minus

BEFORE, STALE, FRESH = COLORS[:3]


def stale_statistics(before, after, kept: tuple[float, float], channel: str) -> Picture:
    """One channel's values before and after pruning, and where the kept statistics put them.

    On the left what enters BatchNorm, on the right what it becomes before scale and shift: the
    value less a mean, by a standard deviation. Over each histogram lies its own mean ± standard
    deviation.

    Args:
        before: the values that entered the channel in the dense network, any shape.
        after: those that enter it in the pruned network.
        kept: the mean and the standard deviation that the layer keeps (both of the dense network).
        channel: its name.
    """
    before, after = np.asarray(before).ravel(), np.asarray(after).ravel()
    mean, deviation = kept
    stale = (after - mean) / deviation
    entering = {"before pruning, and kept": (before, BEFORE), "after pruning": (after, STALE)}
    leaving = {
        "before pruning": ((before - mean) / deviation, BEFORE),
        "after, by the kept statistics": (stale, STALE),
        "after, by its own statistics": ((after - after.mean()) / after.std(), FRESH),
    }
    with canvas(columns=2, width=6.8, height=3.5) as (figure, (panels,)):
        _outlines(panels[0], entering)
        _outlines(panels[1], leaving)
        panels[0].set(title="What enters BatchNorm", xlabel="value")
        panels[1].set(
            title="What the layer makes of it", xlabel="(value − mean) / standard deviation"
        )
        return Picture(
            figure,
            f"Histograms of {channel}. Left, its values before pruning, for which BatchNorm keeps "
            f"{_plain(mean)} ± {deviation:.1f}, and after: {_plain(after.mean())} ± "
            f"{after.std():.1f}. Right, the kept statistics put the new values at "
            f"{_plain(stale.mean())} ± {stale.std():.1f}; their own would put them at 0 ± 1.",
        )


def _outlines(ax: Axes, groups: dict[str, tuple[np.ndarray, str]]) -> None:
    """Histograms over each other, and above them a bar with each one's mean ± deviation."""
    every = np.concatenate([values for values, _ in groups.values()])
    edges = np.linspace(*np.quantile(every, [0.001, 0.999]), 61)
    shares = [np.histogram(values, edges)[0] / values.size for values, _ in groups.values()]
    top = max(share.max() for share in shares)
    places = top * (1.1 + 0.26 * np.arange(len(groups)))[::-1]
    for (name, (values, color)), share, y in zip(groups.items(), shares, places, strict=True):
        ax.stairs(share, edges, fill=True, color=color, alpha=0.2)
        ax.stairs(share, edges, color=color, linewidth=1.4)
        middle, spread = values.mean(), values.std()
        ax.plot([middle - spread, middle + spread], [y, y], color=color, linewidth=2.5)
        ax.plot(middle, y, "o", color=color)
        words = f"{name}: {_plain(middle)} ± {spread:.1f}"
        ax.text(edges[0], y + 0.07 * top, words, color=color, size=8)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, top * (1.1 + 0.26 * len(groups))), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)


def _plain(number: float) -> str:
    """One decimal, with a true minus, and none before a zero."""
    return minus(f"{round(float(number), 1) + 0:.1f}")
