"""Ways back for ResNet-20 of width 8 without 95 % of its weights (notebook 13)."""

from prunelab.studies.recovery import FEWER_AS_LONG, FEWER_WAYS, measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    levels = [({"weights": (0.05,)}, FEWER_WAYS), ({"nothing": (1.0,)}, FEWER_AS_LONG)]
    return points("resnet20", seeds, levels)
