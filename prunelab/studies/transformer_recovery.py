"""What a little more training makes of a pruned transformer (notebook 17).

The networks are those of the study `transformer`. Each is pruned, and trained again for a
twentieth of its training, at a learning rate that was chosen for its arm on validation text, by a
network of another seed.

- by a criterion, to four sparsities and two patterns (`transformer.LEVELS`), on the next
  character;
- "cut": without a share of its heads and hidden units, or of all widths, which makes it smaller;
- some of both from the dense network's scores, alone and mixed with the next character in equal
  parts (`alpha`: 1 is the next character alone);
- "dense": not pruned, trained as long.

The pruned shape trained from new weights, which `data/PROTOCOL.md` asks for, is not among the
controls: it would cost as much as all the rest.
"""

import copy
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.distillation import kd_loss
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.masks import kept_weights, prunable_layers
from prunelab.studies.shared import adam_with_cosine, retrain, widened
from prunelab.studies.transformer import (
    BATCH_SIZE,
    CALIBRATION,
    LEVELS,
    SCOPES,
    STEPS,
    TUNING_SEED,
    calibration,
    dense,
    losses,
    pruned,
    text,
)
from prunelab.surgery import prune_network

RETRAINING = 20
"""The training lasts as many times as long as a retraining."""
RATES, FIRST = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2), (3e-4, 3e-3)
"""All rates of retraining there are, and between which a search begins."""
CUTS = {"cut: heads and hidden units": ("characters",), "cut: all widths": ()}
"""What is not cut: with the embedding of the characters, the width between the blocks stays."""
SHARES = {"25%": 0.25, "50%": 0.5}
"""Of the heads, hidden units and widths that are cut."""
FROM_TEACHER = (("l1", "70%"), ("sparsegpt", "70%"), ("cut: heads and hidden units", "50%"))
ALPHAS = (0.0, 0.5)
SCALES = {"quick": {"seeds": 2, "steps": 60}}


def grid(seeds: int, steps: int = STEPS) -> list[dict]:
    """Arm after arm, the choice of its rate first (seed None).

    Args:
        seeds: networks that are compared.
        steps: batches of the training before.
    """
    masked = [(criterion, level) for level in LEVELS for criterion in SCOPES]
    cut = [(criterion, level) for criterion in CUTS for level in SHARES]
    arms = [(*arm, 1.0) for arm in (("dense", ""), *masked, *cut)]
    arms += [(*arm, alpha) for arm in FROM_TEACHER for alpha in ALPHAS]
    return [
        {"criterion": criterion, "level": level, "alpha": alpha, "seed": seed, "steps": steps}
        for criterion, level, alpha in arms
        for seed in (None, *range(seeds))
    ]


def describe(criterion: str, level: str, alpha: float, seed: int | None, steps: int) -> str:
    """A point in words, for the progress bar."""
    who = "choice of a rate" if seed is None else f"seed {seed}"
    return ", ".join(filter(None, (who, criterion, level, f"alpha {alpha:g}")))


def measure(criterion: str, level: str, alpha: float, seed: int | None, steps: int) -> list[dict]:
    """The rows of a choice, without test text; or the row of a comparison."""
    arm = {"criterion": criterion, "level": level, "alpha": alpha, "steps": steps}
    rows = remember(tried, **arm)
    if seed is None:
        return rows
    (best,) = choose(pd.DataFrame(rows), ["network"], "rate", "valid_bits", False).itertuples()
    row = retrained(**arm, seed=seed, rate=float(best.rate), splits=("valid", "test"))
    return [{**row, "role": "comparison", "edge": str(best.edge)}]


def tried(criterion: str, level: str, alpha: float, steps: int) -> list[dict]:
    """The tuning network retrained at three rates, and at more until the best lies inside."""
    arm = {"criterion": criterion, "level": level, "alpha": alpha, "steps": steps}

    def rows_at(rate: float) -> list[dict]:
        row = retrained(**arm, seed=TUNING_SEED, rate=rate, splits=("valid",))
        return [{**row, "role": "choice"}]

    return widened(rows_at, RATES, *FIRST, value="valid_bits", largest=False)


def retrained(
    criterion: str,
    level: str,
    alpha: float,
    steps: int,
    seed: int,
    rate: float,
    splits: tuple[str, ...],
) -> dict:
    """Prune a network, train it for a twentieth of its training, and measure it."""
    model, data = dense(seed, steps), text()
    row = {"network": "char_gpt", "criterion": criterion, "level": level, "alpha": alpha}
    row |= {"seed": seed, "rate": rate}
    loss = None if alpha == 1 else from_dense(model, alpha)
    model = damaged(model, criterion, level, seed)
    row |= {"weights": weights_left(model)}
    row |= {f"one_shot_{name}": bits for name, bits in losses(model, data, splits).items()}
    again = max(1, steps // RETRAINING)
    pair = adam_with_cosine(model, again, rate)
    retrain(model, data, pair, again, 1000 + seed, batch_size=BATCH_SIZE, loss=loss)
    return row | losses(model, data, splits)


def damaged(model: nn.Module, criterion: str, level: str, seed: int) -> nn.Module:
    """A network masked or cut, or as it was."""
    if criterion == "dense":
        return model
    x = calibration(CALIBRATION, seed)
    if criterion in CUTS:
        return prune_network(model, SHARES[level], x[:2], exclude=CUTS[criterion])
    return pruned(model, criterion, level, x, seed)


def weights_left(model: nn.Module) -> int:
    """The weights of the linear layers in the blocks that are there and not pruned."""
    layers = prunable_layers(model, "head").values()
    return sum(int(kept_weights(layer).sum()) for layer in layers)


def from_dense(dense: nn.Module, alpha: float) -> Callable:
    """A loss for `fit`: equation (2.1) at temperature 1, where every position is one example."""
    frozen = copy.deepcopy(dense).eval()

    def loss(outputs: Tensor, labels: Tensor, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            scores = frozen(inputs)
        student, teacher = (each.transpose(1, 2).flatten(0, 1) for each in (outputs, scores))
        return kd_loss(student, teacher, labels.flatten(), T=1.0, alpha=alpha)

    return loss
