"""Masks found before training, of the convolutional network (notebook 16)."""

from prunelab.studies.before_training import measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    return points("convnet", seeds)
