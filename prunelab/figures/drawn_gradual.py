"""Drawings of gradual pruning: what each round takes, and a mask that loses weights."""

import io
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from PIL import Image

from prunelab.figures.style import COLORS, PERCENT, Picture, canvas, theme


def shares_by_round(schedules: Mapping[str, Sequence[float]]) -> Picture:
    """All weights as a bar, a bar a round: gone before, taken now, left; a panel a schedule.

    Args:
        schedules: the sparsity after each round, by the name of the schedule.

    Raises:
        ValueError: no schedule, or one that falls, is empty, or leaves 0 to 1.
    """
    if not schedules:
        raise ValueError("schedules={} has none to draw; give the sparsities by a name")
    for name, sparsities in schedules.items():
        steps = np.diff([0.0, *sparsities])
        if not len(sparsities) or (steps < 0).any() or not sparsities[-1] <= 1:
            raise ValueError(f"schedules[{name!r}]={sparsities!r} must rise from 0 to 1 at most")
    rounds = max(map(len, schedules.values()))
    seen = []
    with canvas(columns=len(schedules), width=7.2, height=1.1 + 0.24 * rounds, sharex=True) as (
        figure,
        (panels,),
    ):
        for ax, (name, schedule) in zip(panels, schedules.items(), strict=True):
            taken = _bars(ax, schedule)
            ax.set(title=name, xlabel="share of all weights", ylabel="round")
            seen.append(f"{name} {', '.join(f'{share:.0%}' for share in taken)}")
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        return Picture(
            figure,
            "A bar a round in three parts: weights gone before, taken in this round, and left. "
            f"Of the weights still there, the rounds take: {'; '.join(seen)}.",
        )


def _bars(ax: Axes, schedule: Sequence[float]) -> np.ndarray:
    """Draw a schedule; return what each round takes of the weights that it finds."""
    after = np.asarray(schedule)
    before = np.array([0.0, *schedule[:-1]])
    rows = np.arange(1, len(after) + 1)
    ax.barh(rows, before, color=theme().faint, label="gone before")
    ax.barh(rows, after - before, left=before, color=COLORS[1], label="taken now")
    ax.barh(rows, 1 - after, left=after, color=COLORS[0], label="left")
    taken = (after - before) / (1 - before)
    for row, start, end, share in zip(rows, before, after, taken, strict=True):
        inside = {"x": end + 0.01, "ha": "left", "color": "#ffffff"}
        beside = {"x": start - 0.01, "ha": "right", "color": theme().ink}
        ax.text(y=row, s=f"{share:.0%}", va="center", size=7, **(inside if end < 0.8 else beside))
    ax.set(xlim=(0, 1), yticks=rows)
    ax.xaxis.set_major_formatter(PERCENT)
    ax.invert_yaxis()
    ax.grid(visible=False)
    return taken


class MovingPicture(Picture):
    """Frames that are shown one after another, over and over; the last one stays longest."""

    def __init__(self, frames: Sequence[Picture], caption: str, seconds: float = 0.6):
        super().__init__(frames[-1].figure, caption)
        self.frames, self.seconds = frames, seconds

    @cached_property
    def png(self) -> bytes:
        """All frames in one animated PNG."""
        images = [Image.open(io.BytesIO(frame.png)).convert("RGB") for frame in self.frames]
        images = [image.quantize(48, kmeans=1) for image in images]
        durations = [1000 * self.seconds] * (len(images) - 1) + [4000 * self.seconds]
        packed = io.BytesIO()
        how = {"format": "png", "save_all": True, "append_images": images[1:], "loop": 0}
        images[0].save(packed, duration=durations, **how)
        return packed.getvalue()


def mask_growing(masks: Sequence, shape: tuple[int, int] = (28, 28)) -> Picture:
    """Weights that are left at each pixel of the input, a frame a round.

    Args:
        masks: of the first layer, (outputs, pixels), after each round.
        shape: of the image, rows and columns.

    Raises:
        ValueError: a mask whose inputs are not the pixels of such an image.
    """
    masks = [np.asarray(mask, dtype=bool) for mask in masks]
    for mask in masks:
        if mask.ndim != 2 or mask.shape[1] != shape[0] * shape[1]:
            raise ValueError(
                f"masks have the shape {mask.shape}; their inputs must be {shape} pixels"
            )
    left = [mask.mean(axis=0).reshape(shape) for mask in masks]
    frames = [_at_each_pixel(share, i) for i, share in enumerate(left)]
    in_corner = np.zeros(shape, dtype=bool)
    in_corner[np.ix_([*range(5), *range(-5, 0)], [*range(5), *range(-5, 0)])] = True
    first, last = (f"{share[in_corner].mean():.1%}" for share in (left[0], left[-1]))
    return MovingPicture(
        frames,
        f"A moving picture of {len(frames)} frames, a round of pruning each. The bluer a pixel, "
        f"the more of its weights are left: {left[0].mean():.1%} in the first frame, "
        f"{left[-1].mean():.1%} in the last; in the corners of 5 × 5 pixels {first} and {last}.",
    )


def _at_each_pixel(share: np.ndarray, round_: int) -> Picture:
    shades = LinearSegmentedColormap.from_list("left", [theme().paper, COLORS[0]])
    with canvas(width=3.4, height=3.3) as (figure, ((ax,),)):
        pixels = ax.pcolormesh(share, cmap=shades, norm=PowerNorm(0.5, vmin=0, vmax=1))
        ticks = (0, 0.02, 0.1, 0.25, 0.5, 1)
        figure.colorbar(
            pixels, ax=ax, ticks=ticks, format=PERCENT, label="weights left at a pixel", shrink=0.8
        )
        ax.set(
            title=f"round {round_}: {share.mean():.0%} left", xticks=[], yticks=[], aspect="equal"
        )
        ax.invert_yaxis()
        return Picture(figure, f"round {round_}")
