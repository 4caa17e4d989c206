"""Every way back for the convolutional network, at two budgets (notebook 13)."""

from prunelab.studies.recovery import measure, points

__all__ = ["grid", "measure"]

DENSITIES = {"weights": (0.2, 0.05), "filters": (0.5, 0.2)}
BESIDE = {"weights": (0.5, 0.1), "weights, layerwise": (0.05,), "filters, global": (0.2,)}


def grid(seeds: int) -> list[dict]:
    return points("convnet", seeds, DENSITIES, BESIDE)
