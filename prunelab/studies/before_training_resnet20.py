"""Masks found before training, of the residual network (notebook 16).

A training takes a minute here, so some methods and checks of `before_training` are left out.
"""

from prunelab.studies.before_training import measure, points

__all__ = ["grid", "measure"]

METHODS = ("dense", "SNIP", "GraSP", "SynFlow", "random, ERK", "RigL", "magnitude after training")
CHECKS = ("none", "shuffled within layers")


def grid(seeds: int) -> list[dict]:
    return [
        point
        for point in points("resnet20", seeds)
        if point["method"] in METHODS and point["check"] in CHECKS
    ]
