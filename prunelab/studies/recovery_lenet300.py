"""Every way back for LeNet-300-100, at two budgets (notebook 13)."""

from prunelab.studies.recovery import measure, points

__all__ = ["grid", "measure"]

DENSITIES = {"weights": (0.2, 0.05, 0.02), "filters": (0.5, 0.2)}
BESIDE = {
    "weights": (0.5, 0.1),
    "filters": (0.1,),
    "weights, layerwise": (0.1, 0.02),
    "filters, global": (0.2,),
}


def grid(seeds: int) -> list[dict]:
    return points("lenet300", seeds, DENSITIES, BESIDE)
