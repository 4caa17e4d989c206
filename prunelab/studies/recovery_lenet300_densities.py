"""Two ways back for LeNet-300-100 at more densities, and by other rankings (notebook 13).

The dense network that was trained as long stands in the study recovery_lenet300.
"""

from prunelab.studies.recovery import BESIDE, measure, points

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    pruned = {
        "weights": (0.5, 0.1, 0.02),
        "weights, layerwise": (0.05,),
        "filters": (0.1,),
        "filters, global": (0.2,),
    }
    return points("lenet300", seeds, [(pruned, BESIDE)])
