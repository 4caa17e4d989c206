"""Figures of learning: the images, the curves of training, the answers of a network."""

import numpy as np
import pandas as pd

from prunelab.figures.style import COLORS, MARKERS, PERCENT, Picture, canvas, write_at


def images(split, classes: tuple[str, ...]) -> Picture:
    """One image of every class."""
    with canvas(columns=5, rows=2, width=6.0, height=2.9) as (figure, axes):
        for label, ax in enumerate(axes.flat):
            image = np.asarray(split.x[split.y == label][0, 0])
            ax.imshow(image, cmap="gray_r")
            ax.set_title(classes[label], loc="center")
            ax.set_axis_off()
        return Picture(figure, "One Fashion-MNIST image of each class: " + ", ".join(classes) + ".")


def training_curves(history: pd.DataFrame) -> Picture:
    """Loss and accuracy against training steps, from the table that `fit` returns."""
    with canvas(columns=2, height=2.8) as (figure, (panels,)):
        for color, marker, (split, rows) in zip(
            COLORS, MARKERS, history.groupby("split", sort=False), strict=False
        ):
            for ax, column in zip(panels, ("loss", "accuracy"), strict=True):
                ax.plot(rows["step"], rows[column], color=color, marker=marker)
                write_at(ax, rows["step"].iloc[-1], rows[column].iloc[-1], split, color)
        panels[0].set(xlabel="training steps", ylabel="cross-entropy (nats)", title="Loss")
        panels[1].set(xlabel="training steps", title="Accuracy")
        panels[1].yaxis.set_major_formatter(PERCENT)
        last = history.iloc[-1]
        return Picture(
            figure,
            f"Loss falls and accuracy rises over {last['step']} training steps; the last "
            f"{last['split']} accuracy is {last['accuracy']:.1%}.",
        )


def class_probabilities(table: pd.DataFrame, title: str) -> Picture:
    """Probabilities of one image's classes, a bar a class.

    Args:
        table: the columns `class` and `probability`.
    """
    with canvas(height=2.8) as (figure, ((ax,),)):
        ax.bar(table["class"], table["probability"], color=COLORS[0])
        for x, value in enumerate(table["probability"]):
            ax.text(x, value, f"{value:.1%}", ha="center", va="bottom", size=7)
        ax.tick_params(axis="x", labelrotation=35)
        ax.grid(visible=False, axis="x")
        ax.yaxis.set_major_formatter(PERCENT)
        ax.set(ylim=(0, 1.1), ylabel="probability", title=title)
        top = table.nlargest(2, "probability")
        seen = " and ".join(f"{row['class']} {row['probability']:.1%}" for _, row in top.iterrows())
        return Picture(figure, f"{title}: bars of ten class probabilities, led by {seen}.")
