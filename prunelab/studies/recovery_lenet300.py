"""Every way back for LeNet-300-100, at two budgets (notebook 13)."""

from prunelab.studies.recovery import AS_LONG, WAYS, measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    pruned = {"weights": (0.2, 0.05), "filters": (0.5, 0.2)}
    return points("lenet300", seeds, [(pruned, WAYS), ({"nothing": (1.0,)}, AS_LONG)])
