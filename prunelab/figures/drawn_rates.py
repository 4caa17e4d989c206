"""A drawing of learning rates: steps down a valley whose slope is measured with noise."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from prunelab.figures.style import COLORS, Picture, canvas, headline, theme

NOISE = 2.0
"""Standard deviation of a measured slope around the true one, as batches of images have it."""


def descents(
    schedules: Mapping[str, Sequence[float]], start: float = 6.0, title: str = ""
) -> Picture:
    """Where stochastic gradient descent goes in the valley x² / 2, a panel a schedule.

    All schedules meet the same noise. The later a step, the darker its dot.

    Args:
        schedules: learning rates, one a step, by the name of the schedule; equally many in each.
        start: the place of the first dot; the bottom of the valley is at 0.
        title: words above all panels.

    Raises:
        ValueError: no schedule, or schedules of different lengths.
    """
    if len({len(rates) for rates in schedules.values()}) != 1:
        lengths = {name: len(rates) for name, rates in schedules.items()}
        raise ValueError(f"schedules must have one length, at least one; have {lengths}")
    steps = len(next(iter(schedules.values())))
    noise = np.random.default_rng(0).normal(scale=NOISE, size=steps)
    valley = np.linspace(-1.1 * start, 1.1 * start, 101)
    time = LinearSegmentedColormap.from_list("time", ["#c6dbef", COLORS[0]])
    seen = []
    with canvas(columns=len(schedules), width=7.2, height=2.7, sharey=True) as (figure, (panels,)):
        for ax, (name, rates) in zip(panels, schedules.items(), strict=True):
            x = np.array(_path(rates, start, noise))
            ax.plot(valley, valley**2 / 2, color=theme().faint)
            ax.plot(x, x**2 / 2, color=theme().faint, linewidth=0.6)
            ax.scatter(x, x**2 / 2, c=np.arange(len(x)), cmap=time, s=16, zorder=3)
            last = np.abs(x[-5:]).mean()
            ax.set(title=name, xlabel="one weight", xticks=[0], yticks=[])
            ax.text(0.5, 0.9, f"ends {last:.1f} away", ha="center", transform=ax.transAxes)
            seen.append(f"{name} {last:.1f}")
        panels[0].set_ylabel("loss")
        if title:
            headline(figure, title)
        return Picture(
            figure,
            f"{title} {steps} steps from {start:g} down a parabola. The mean distance of the last "
            f"five from its bottom: {', '.join(seen)}.".strip(),
        )


def _path(rates: Sequence[float], start: float, noise: np.ndarray) -> list[float]:
    x = [start]
    for rate, error in zip(rates, noise, strict=True):
        x.append(x[-1] - rate * (x[-1] + error))
    return x
