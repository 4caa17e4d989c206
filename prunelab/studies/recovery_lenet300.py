"""Every way back for LeNet-300-100, at two budgets (notebook 13)."""

from prunelab.studies.recovery import AS_LONG, BESIDE, WAYS, measure, points

__all__ = ["grid", "measure"]

DENSITIES = {"weights": (0.2, 0.05), "filters": (0.5, 0.2)}
OTHERS = {
    "weights": (0.5, 0.1, 0.02),
    "weights, layerwise": (0.05,),
    "filters": (0.1,),
    "filters, global": (0.2,),
}


def grid(seeds: int) -> list[dict]:
    levels = [(DENSITIES, WAYS), (OTHERS, BESIDE), ({"nothing": (1.0,)}, AS_LONG)]
    return points("lenet300", seeds, levels)
