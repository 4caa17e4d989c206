"""Ways back for the convolutional network, at two budgets (notebook 13)."""

from prunelab.studies.recovery import FEWER_AS_LONG, FEWER_WAYS, measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    pruned = {"weights": (0.05,), "filters": (0.5,)}
    return points("convnet", seeds, [(pruned, FEWER_WAYS), ({"nothing": (1.0,)}, FEWER_AS_LONG)])
