"""Every way back for the convolutional network, at two budgets (notebook 13)."""

from prunelab.studies.recovery import AS_LONG, BESIDE, WAYS, measure, points

__all__ = ["grid", "measure"]

DENSITIES = {"weights": (0.05,), "filters": (0.5,)}
OTHERS = {"weights": (0.2,), "filters": (0.2,)}


def grid(seeds: int) -> list[dict]:
    levels = [(DENSITIES, WAYS), (OTHERS, BESIDE), ({"nothing": (1.0,)}, AS_LONG)]
    return points("convnet", seeds, levels)
