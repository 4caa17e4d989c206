"""Ways back for ResNet-20 of width 8 cut to half of its weights (notebook 13).

The dense network that was trained as long stands in the study recovery_resnet20_weights.
"""

from prunelab.studies.recovery import FEWER_WAYS, measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    return points("resnet20", seeds, [({"filters": (0.5,)}, FEWER_WAYS)])
