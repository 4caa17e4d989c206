"""A control of `transformer_recovery`: a transformer whose heads go by chance (notebook 17).

The same heads and hidden units may be cut, as many of them, and the same training follows; only
the choice is drawn by lot. Its rate is chosen in the same way.
"""

import pandas as pd

from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.studies.shared import adam_with_cosine, retrain, widened
from prunelab.studies.transformer import (
    BATCH_SIZE,
    STEPS,
    TUNING_SEED,
    calibration,
    dense,
    losses,
    text,
)
from prunelab.studies.transformer_recovery import (
    CUTS,
    FIRST,
    RATES,
    RETRAINING,
    SHARES,
    weights_left,
)
from prunelab.surgery import prune_network

CRITERION = "random cut: heads and hidden units"
STAYS = CUTS["cut: heads and hidden units"]
SCALES = {"quick": {"seeds": 2, "steps": 60}}


def grid(seeds: int, steps: int = STEPS) -> list[dict]:
    """For both shares the choice of a rate first (seed None).

    Args:
        seeds: networks that are compared.
        steps: batches of the training before.
    """
    return [
        {"level": level, "seed": seed, "steps": steps}
        for level in SHARES
        for seed in (None, *range(seeds))
    ]


def measure(level: str, seed: int | None, steps: int) -> list[dict]:
    """The rows of a choice, without test text; or the row of a comparison."""
    rows = remember(tried, level=level, steps=steps)
    if seed is None:
        return rows
    (best,) = choose(pd.DataFrame(rows), ["network"], "rate", "valid_bits", False).itertuples()
    row = retrained(level, steps, seed, float(best.rate), ("valid", "test"))
    return [{**row, "role": "comparison", "edge": str(best.edge)}]


def tried(level: str, steps: int) -> list[dict]:
    """The tuning network retrained at three rates, and at more until the best lies inside."""

    def rows_at(rate: float) -> list[dict]:
        return [{**retrained(level, steps, TUNING_SEED, rate, ("valid",)), "role": "choice"}]

    return widened(rows_at, RATES, *FIRST, value="valid_bits", largest=False)


def retrained(level: str, steps: int, seed: int, rate: float, splits: tuple[str, ...]) -> dict:
    """Cut a network by lot, train it for a twentieth of its training, and measure it."""
    data, x = text(), calibration(2, seed)
    how = {"criterion": "random", "seed": seed, "exclude": STAYS}
    model = prune_network(dense(seed, steps), SHARES[level], x, **how)
    row = {"network": "char_gpt", "criterion": CRITERION, "level": level, "alpha": 1.0}
    row |= {"seed": seed, "rate": rate, "weights": weights_left(model)}
    row |= {f"one_shot_{name}": bits for name, bits in losses(model, data, splits).items()}
    again = max(1, steps // RETRAINING)
    pair = adam_with_cosine(model, again, rate)
    retrain(model, data, pair, again, 1000 + seed, batch_size=BATCH_SIZE)
    return row | losses(model, data, splits)
