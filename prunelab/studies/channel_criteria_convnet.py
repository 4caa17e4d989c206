"""Which criterion should choose the channels of the convolutional network (notebook 12)."""

from prunelab.studies.channel_criteria import measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    return points("convnet", seeds)
