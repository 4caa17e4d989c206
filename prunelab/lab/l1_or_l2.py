"""L1 or L2: ranks of filters, a penalty at work on few weights, and tables of studies (10)."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.filters import filter_norms, weight_penalty
from prunelab.intervals import choose, paired_difference
from prunelab.masks import prunable_layers
from prunelab.studies import regularization

GONE = {(True, True): "both mask it", (False, False): "both keep it"}
WHEN = {0: "not retrained", 430: "retrained for 1 epoch", 2150: "retrained for 5 epochs"}
"""Steps of retraining, in words."""
CELL = ["penalty", "retraining", "steps", "sparsity"]


def ranks(network: nn.Module, ratio: float) -> pd.DataFrame:
    """The rank of each filter of the convolutions by L1 and by L2; rank 1 is masked first.

    Args:
        network: any with convolutions.
        ratio: the share of each layer's filters to be masked.

    Returns:
        The columns `layer`, `rank by L1`, `rank by L2`, and `filter`: which of the norms mask it.
    """
    rows = []
    for name, layer in prunable_layers(network).items():
        if isinstance(layer, nn.Conv2d):
            norms = (filter_norms(layer.weight, norm) for norm in ("l1", "l2"))
            both = [norm.argsort().argsort().add(1).tolist() for norm in norms]
            count = round(ratio * len(layer.weight))
            for one, two in zip(*both, strict=True):
                kind = GONE.get((one <= count, two <= count), "they disagree")
                rows.append({"layer": name, "rank by L1": one, "rank by L2": two, "filter": kind})
    return pd.DataFrame(rows).sort_values(["layer", "filter"])


def walk(
    norm: str,
    optimizer: Callable,
    steps: int = 15,
    *,
    start: Sequence[float] = (0.95, 0.24, -0.62),
    loss_pulls: float = 0.0,
    copies: int = 1,
) -> Tensor:
    """Weights before and after each step of an optimizer on a penalty (10.2) of strength 1.

    Args:
        norm: "l1" or "l2".
        optimizer: makes one from parameters, such as `partial(torch.optim.SGD, lr=0.1)`.
        steps: how many to take.
        start: the weights to start from.
        loss_pulls: the standard deviation of a random pull at each weight in each step, which
            stands for a loss.
        copies: of each weight, with random pulls of their own; their mean is returned.

    Returns:
        The weights `[steps + 1, len(start)]`.
    """
    layer = nn.Linear(len(start), copies, bias=False)
    layer.weight.data = torch.tensor(start).repeat(copies, 1)
    stepper = optimizer(layer.parameters())
    generator = torch.Generator().manual_seed(0)
    path = [layer.weight.detach().mean(0)]
    for _ in range(steps):
        weight_penalty(layer, norm).backward()
        layer.weight.grad += loss_pulls * torch.randn(layer.weight.shape, generator=generator)
        stepper.step()
        stepper.zero_grad()
        path.append(layer.weight.detach().mean(0))
    return torch.stack(path)


def by_strength(study: pd.DataFrame) -> pd.DataFrame:
    """Rows of `regularization` before retraining, with `penalty` and `sparsity` in words."""
    before = (study["role"] == "comparison") & (study["steps"] == 0)
    rows = study[before & (study["penalty"] != "none")]
    return rows.assign(
        penalty=rows["penalty"].str.upper() + " penalty",
        sparsity=rows["sparsity"].map("{:.0%} sparsity".format),
    )


def compared(study: pd.DataFrame) -> pd.DataFrame:
    """Rows of `regularization` with the strengths and rates that validation chose.

    Args:
        study: its table.

    Returns:
        The rows with `method` (penalties of training and of retraining), `when` (one of `WHEN`),
        `density`, and `points` of test accuracy.
    """
    before = study[study["steps"] == 0]
    strengths = choose(before[before["role"] == "choice"], ["penalty", "sparsity"], "strength")
    before = before[before["role"] == "comparison"].merge(strengths.drop(columns="edge"))
    after = study[(study["steps"] > 0) & (study["role"] == "comparison")]
    rows = pd.concat([before, after.sort_values("steps", kind="stable")], ignore_index=True)
    words = rows[["penalty", "retraining"]].replace({"l1": "L1", "l2": "L2"})
    switched = (rows["steps"] > 0) & (rows["retraining"] != rows["penalty"])
    both = words["penalty"] + ", then " + words["retraining"]
    return rows.assign(
        method=words["penalty"].mask(switched, both),
        when=rows["steps"].map(WHEN),
        density=1 - rows["sparsity"],
        points=100 * rows["test_accuracy"],
    )


def at_edge(study: pd.DataFrame) -> list[str]:
    """In words, where a chosen strength or rate is the lowest or the highest of all there are.

    Args:
        study: the table of `regularization`.
    """
    choices = study[(study["role"] == "choice") & (study["sparsity"] > 0)]
    found: dict[tuple, list[str]] = {}
    for cell, rows in choices.groupby(CELL, sort=False):
        penalty, retraining, steps, sparsity = cell
        grids = regularization.settings_of(penalty, retraining if steps else penalty)
        at = regularization.best(rows.fillna(0.0).to_dict("records"))
        for setting in grids if steps else set(grids) - {"rate"}:
            low, *_, high = grids[setting]
            if at[setting] in (low, high):
                end = f"{'lowest' if at[setting] == low else 'highest'} {setting}"
                found.setdefault((penalty, retraining, steps, end), []).append(f"{sparsity:.0%}")
    return [
        f"{penalty}, {'not retrained' if steps == 0 else f'{steps} steps with {retraining}'}: "
        f"the {end.replace('_', ' ')} at {', '.join(places)} sparsity"
        for (penalty, retraining, steps, end), places in found.items()
    ]


def lead(rows: pd.DataFrame, when: str, a: str, b: str) -> pd.DataFrame:
    """Points of method a minus those of b at each sparsity, paired by seed, to be drawn.

    Args:
        rows: what `compared` returns.
        when: one of `WHEN`, in words.
        a, b: two methods.
    """
    some = rows[(rows["when"] == when) & (rows["sparsity"] > 0)]
    effect = paired_difference(some, ["sparsity"], "points", "method", a, b)
    return effect.assign(setting=[f"{sparsity:.0%} sparsity" for sparsity in effect["sparsity"]])
