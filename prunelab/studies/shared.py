"""What the studies share: where they start, how they retrain, what they measure."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.data import Data
from prunelab.filters import apply_filter_pruning
from prunelab.intervals import choose
from prunelab.lab.results import load_results
from prunelab.masks import kept_weights, prunable_layers
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State
from prunelab.training import evaluate, evaluation_mode, fit

SPLITS = ("valid", "test")


def networks(study: str, seeds: int) -> list[dict]:
    """The grid of a study that starts from the networks another one trained, at their best rates.

    Args:
        study: "dense" or "trajectories", as it is recorded.
        seeds: how many networks of each kind.
    """
    return [
        {"network": network, "learning_rate": learning_rate, "seed": seed}
        for network, learning_rate in best_learning_rates(load_results(study)).items()
        for seed in range(seeds)
    ]


def best_learning_rates(table: pd.DataFrame) -> dict[str, float]:
    """Of each network of `dense` or `trajectories`: the one with the best validation accuracy."""
    valid = table[table["split"] == "valid"]
    best = choose(valid, ["network"], "learning_rate", "accuracy")
    return best.set_index("network")["learning_rate"].to_dict()


def with_weights(build: Callable[[], nn.Module], state: State) -> nn.Module:
    """A network with the weights that it had before, ready to be evaluated."""
    model = build()
    model.load_state_dict(state)
    return model.eval()


def damage(model: nn.Module, pruned: str, amount: float) -> nn.Module:
    """Mask a share of the filters, or else of all weights, in place."""
    if pruned == "filters":
        return apply_filter_pruning(model, amount)
    return apply_global_pruning(model, sparsity=amount)


def adam_with_cosine(model: nn.Module, steps: int, lr: float):
    """Optimizer and scheduler: Adam, its learning rate falling to zero along one cosine."""
    optimizer = torch.optim.Adam(model.parameters(), lr, fused=True)
    return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)


def retrain(model: nn.Module, data: Data, pair: tuple, steps: int, seed: int, **how) -> None:
    """Train in place without a look on the way.

    Args:
        model, data, steps, seed: as `fit` takes them.
        pair: an optimizer, and its scheduler or None.
        how: what else `fit` can be told, such as `loss` or `batch_size`.
    """
    optimizer, scheduler = pair
    fit(
        model,
        data,
        steps=steps,
        optimizer=optimizer,
        scheduler=scheduler,
        seed=seed,
        eval_splits=(),
        progress=False,
        **how,
    )


def accuracies(model: nn.Module, data: Data, splits: tuple[str, ...] = SPLITS) -> dict[str, float]:
    """The accuracy on each split, as `valid_accuracy` and `test_accuracy`."""
    return {f"{split}_accuracy": evaluate(model, getattr(data, split)).accuracy for split in splits}


def split_rows(model: nn.Module, data: Data, setting: dict) -> list[dict]:
    """Two rows of a setting: loss and accuracy on the validation and on the test images."""
    return [
        {**setting, "split": split, **evaluate(model, getattr(data, split))._asdict()}
        for split in SPLITS
    ]


def widened(
    rows_at: Callable[[float], list[dict]],
    values: tuple[float, ...],
    low: float,
    high: float,
    setting: str = "rate",
    value: str = "valid_accuracy",
    largest: bool = True,
) -> list[dict]:
    """Rows at all values of a setting from `low` to `high`, and on until the best lies inside.

    Args:
        rows_at: what is measured at one of them: rows with `network`, `setting` and `value`.
        values: all there are, in ascending order.
        low, high: two of them.
        setting: the column that holds them.
        value, largest: what is best, as in `choose`.
    """
    first, last = values.index(low), values.index(high)
    rows = [row for each in values[first : last + 1] for row in rows_at(each)]
    while True:
        table = pd.DataFrame(rows)
        edge = choose(table, ["network"], setting, value, largest)["edge"].item()
        if edge == "low" and first > 0:
            first -= 1
            rows = rows_at(values[first]) + rows
        elif edge == "high" and last < len(values) - 1:
            last += 1
            rows += rows_at(values[last])
        else:
            return rows


def cost(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Parameters left, and multiplications by weights that are left, for one image."""
    layers = prunable_layers(model)
    kept = {name: int(kept_weights(layer).sum()) for name, layer in layers.items()}
    masked = sum(kept_weights(layer).numel() for layer in layers.values()) - sum(kept.values())
    positions: dict[str, int] = {}

    def count(name: str):
        def hook(layer, inputs, output):
            positions[name] = output[0, 0].numel()

        return hook

    handles = [layer.register_forward_hook(count(name)) for name, layer in layers.items()]
    with evaluation_mode(model), torch.no_grad():
        model(x.to(next(model.parameters()).device))
    for handle in handles:
        handle.remove()
    return {
        "parameters": sum(p.numel() for p in model.parameters()) - masked,
        "macs": sum(kept[name] * positions[name] for name in layers),
    }


def of_kept_channels(state: State, small: nn.Module) -> State:
    """The part of a whole network's state that a cut network has; all of it if it was not cut."""
    state = dict(state)
    for name, dims in getattr(small, "kept_channels", {}).items():
        for dim, indices in dims.items():
            state[name] = state[name].index_select(dim, indices)
    return state
