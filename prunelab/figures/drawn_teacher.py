"""Drawings of distillation: what a teacher says of an image, sharp and softened."""

from collections.abc import Sequence

import numpy as np

from prunelab.figures.style import COLORS, PERCENT, Picture, canvas


def softened(image, scores, classes: Sequence[str], temperatures: Sequence[float]) -> Picture:
    """An image, and a teacher's probabilities for it at several temperatures, a panel each.

    The first panel of probabilities names the classes; the class on top is drawn dark.

    Args:
        image: (rows, columns), dark where the value is high.
        scores: the teacher's class scores, before any softmax.
        classes: their names, in the same order.
        temperatures: by which the scores are divided.
    """
    scores = np.asarray(scores, dtype=float)
    columns = 1 + len(temperatures)
    seen = []
    with canvas(columns=columns, width=1.9 * columns, height=2.6) as (figure, (panels,)):
        panels[0].imshow(np.asarray(image), cmap="gray_r")
        panels[0].set_axis_off()
        for ax, temperature in zip(panels[1:], temperatures, strict=True):
            share = np.exp(scores / temperature - np.max(scores / temperature))
            share /= share.sum()
            colors = [COLORS[0] if i == share.argmax() else COLORS[5] for i in range(len(share))]
            ax.barh(classes, share, color=colors)
            for y, value in enumerate(share):
                ax.text(value + 0.02, y, f"{value:.1%}", va="center", size=6)
            ax.set(xlim=(0, 1.3), xticks=(0, 0.5, 1), title=f"T = {temperature:g}")
            ax.xaxis.set_major_formatter(PERCENT)
            ax.grid(visible=False, axis="y")
            ax.invert_yaxis()
            seen.append(f"T = {temperature:g} {share.max():.1%}")
        for ax in panels[2:]:
            ax.set_yticklabels([])
        top = classes[int(scores.argmax())]
        return Picture(
            figure,
            f"An image, and bars of the teacher's probabilities for {len(classes)} classes. The "
            f"share of the first, {top}, falls with the temperature: {', '.join(seen)}.",
        )
