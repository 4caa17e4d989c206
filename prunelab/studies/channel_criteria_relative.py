"""Whether gradients choose better over all layers if every layer's scores have mean one (12).

A part of `channel_criteria`, whose networks, shares, retraining and choice of rates it has: one
ranking of all channels by "Taylor" and by "Fisher", whose scores are divided by the mean of their
group first. The controls are those of the other studies.
"""

from prunelab.studies.channel_criteria import LEFT, RELATIVE, measure

__all__ = ["grid", "measure"]


def grid(seeds: int) -> list[dict]:
    """All choices first."""
    cells = [
        {"network": network, "left": left, "criterion": criterion, "scope": "global"}
        for network, shares in LEFT.items()
        for left in shares
        for criterion in RELATIVE
    ]
    return [{**cell, "seed": seed} for seed in (None, *range(seeds)) for cell in cells]
