"""Every way back for ResNet-20 of width 8, at two budgets (notebook 13)."""

from prunelab.studies.recovery import measure, points

__all__ = ["grid", "measure"]

DENSITIES = {"weights": (0.05,), "filters": (0.5,)}
BESIDE = {"weights": (0.2,), "filters": (0.2,)}


def grid(seeds: int) -> list[dict]:
    return points("resnet20", seeds, DENSITIES, BESIDE)
