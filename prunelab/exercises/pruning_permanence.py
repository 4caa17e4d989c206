"""Exercises of notebook 06."""

from collections.abc import Callable

import torch
from torch import nn

from prunelab.data import load_data
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.finetuning import get_finetune_optimizer
from prunelab.masks import get_masks, make_pruning_permanent, prunable_layers
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import total_sparsity
from prunelab.training import fit


@exercise(
    "06.1",
    "When CSR breaks even",
    REASON,
    level=1,
    minutes=4,
    unit="a density, such as 0.9",
    hints=(
        "Count the bytes of one kept weight, and of one weight in the dense tensor.",
        "A kept weight costs 4 bytes of value and 4 of column. A weight of the dense tensor costs "
        "4, kept or not.",
        "At density d, CSR needs 8 · d bytes a weight, and the dense tensor 4.",
    ),
    mistakes={
        "That is for 8-byte column numbers, 12 bytes a kept weight. Here a column takes 4.": 1 / 3,
        "You forgot the values: a kept weight costs its value and its column.": 1.0,
    },
)
def csr_break_even():
    """CSR stores each kept weight as a 4-byte value and a 4-byte column number; ignore the row
    pointers. The dense tensor is float32. Below which *density* is CSR smaller?
    """
    return 4 / (4 + 4)


@exercise(
    "06.2",
    "No zero with a sign",
    IMPLEMENT,
    level=1,
    minutes=4,
    hints=(
        "Equation (6.1) is most of it. What is −2.0 · 0.0?",
        "It is −0.0, which equals 0.0 but has its sign bit set. `torch.signbit` shows it.",
        "−0.0 + 0.0 is 0.0.",
    ),
)
def permanent_weight(weight, mask):
    """Return the permanent weight (6.1) from `weight_orig` and `weight_mask`: masked entries are
    zero, and no zero is a negative one.
    """
    return weight * mask + 0.0


@permanent_weight.check
def _(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    small = torch.tensor([1.5, -2.0, 3.0, -4.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    random = torch.randn(5, 3, 2, 2, generator=generator)
    for weight, mask in (small, (random, (random.abs() > 0.5).float())):
        result = answer(weight.clone(), mask.clone())
        if result.shape != weight.shape:
            return f"The weight has shape {tuple(weight.shape)}, yours {tuple(result.shape)}."
        if not torch.equal(result[mask == 1], weight[mask == 1]):
            return "A weight that the mask keeps has changed."
        if (result[mask == 0] != 0).any():
            return "A weight that the mask hides is not zero."
        if torch.signbit(result[result == 0]).any():
            return "−2.0 · 0 is −0.0: a zero with its sign bit set, which spoils compression."
    return None


@exercise(
    "06.3",
    "Three rounds, and dense again",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Print `total_sparsity(model)` after each of the three lines in the loop.",
        "After `make_pruning_permanent` nothing holds a zero at zero. What comes after it here?",
        "Making permanent is the last step of all. Move it behind the loop.",
    ),
)
def prune_in_rounds(model, targets, train):
    """This function prunes a model in rounds, to each of the target sparsities, and calls
    `train(model)` after each. At the end no mask and no `weight_orig` is left, as it should be.
    But hardly any zero is left either. Repair it.
    """
    for sparsity in targets:
        apply_global_pruning(model, sparsity=sparsity)
        train(model)
    make_pruning_permanent(model)
    return model


@prune_in_rounds.given
def permanent_too_early(model, targets, train):
    for sparsity in targets:
        apply_global_pruning(model, sparsity=sparsity)
        make_pruning_permanent(model)
        train(model)
    return model


@prune_in_rounds.check
def _(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    reached = []

    def train(network: nn.Module) -> None:
        x, y = (torch.randn(32, size, generator=generator) for size in (8, 4))
        sgd = torch.optim.SGD(network.parameters(), lr=0.1)
        (network(x) - y).square().mean().backward()
        sgd.step()
        reached.append(total_sparsity(network))

    targets = (0.25, 0.5, 0.75)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    model = answer(model, targets, train)
    if not isinstance(model, nn.Module):
        return "Return the model."
    if len(reached) != len(targets):
        return (
            f"Calls of `train`: {len(reached)}, for {len(targets)} targets. One a round is wanted."
        )
    for sparsity, target in zip(reached, targets, strict=True):
        if abs(sparsity - target) > 0.01:
            return f"Pruned to {target:.0%} and trained, a network has {sparsity:.0%} zeros."
    if abs(total_sparsity(model) - targets[-1]) > 0.01:
        return f"In the end {total_sparsity(model):.0%} are zeros, of {targets[-1]:.0%}."
    return "The masks are still there at the end." if get_masks(model) else None


@exercise(
    "06.4",
    "What happens behind the mask",
    PREDICT,
    level=3,
    minutes=12,
    unit="a share, such as 0.5",
    hints=(
        "The hidden numbers are in `layer.weight_orig`, where `layer.weight_mask` is 0. Keep a "
        "clone of each `weight_orig` from before the step.",
        "`get_finetune_optimizer(model, steps=1)` gives the optimizer and the scheduler for `fit`.",
        "`layer.weight_orig.ne(old)` is True where a number has changed. Take "
        "`[layer.weight_mask == 0]` of it. All layers together give the share.",
    ),
    mistakes={
        "So it is with plain SGD, as in the notebook. This optimizer has weight decay: it pulls "
        "every parameter towards zero, gradient or not. Did you clone before the step?": 0.0,
        "That is a share of all weights. Divide by the number of the hidden ones.": 0.9,
    },
    tolerance=1e-3,
)
def share_of_hidden_moved():
    """In the notebook, the numbers behind the mask stayed as they were. Now prune 90 % of the
    shipped `lenet300` and train for *one* step with `get_finetune_optimizer` of notebook 04. Which
    share of the hidden numbers has changed? Guess first, then measure it.
    """
    model = apply_global_pruning(pretrained("lenet300"), sparsity=0.9)
    layers = prunable_layers(model).values()
    before = [layer.weight_orig.detach().clone() for layer in layers]
    optimizer, scheduler = get_finetune_optimizer(model, steps=1)
    how = {"optimizer": optimizer, "scheduler": scheduler, "eval_splits": (), "progress": False}
    fit(model, load_data("fashion-mnist"), steps=1, **how)
    moved = [
        layer.weight_orig.ne(old)[layer.weight_mask == 0]
        for layer, old in zip(layers, before, strict=True)
    ]
    return torch.cat(moved).float().mean().item()


def matrices() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = [torch.randn(size, generator=generator) for size in ((4, 6), (7, 3))]
    random = [weight * (weight.abs() > 1) for weight in random]
    example = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, 0.0], [7.0, 0.0, -8.0]])
    return [(weight,) for weight in (example, *random, torch.zeros(2, 3), torch.ones(1, 4))]


def csr_with(weight, positions="columns", starts="starts"):
    """CSR; or what comes out if a part of it is understood wrongly."""
    rows, columns = weight.nonzero(as_tuple=True)
    counts = (weight != 0).sum(dim=1)
    ends = counts.cumsum(0)
    kinds = {
        "columns": columns,
        "rows": rows,
        "flat": rows * weight.shape[1] + columns,
        "starts": torch.cat([torch.zeros(1, dtype=torch.int64), ends]),
        "no end": ends - counts,
        "no start": ends,
        "counts": counts,
    }
    return weight[rows, columns], kinds[positions], kinds[starts]


@exercise(
    "06.5",
    "Write CSR yourself",
    IMPLEMENT,
    level=3,
    minutes=15,
    hints=(
        "Take the example from the task: which number of `starts` tells you that row 1 is empty?",
        "`weight.nonzero(as_tuple=True)` gives the rows and columns of all kept weights, row by "
        "row. For the starts you need how many there are in each row.",
        "`starts` begins with 0, and goes on with the cumulative sum of these counts: "
        "`(weight != 0).sum(dim=1).cumsum(0)`.",
    ),
    cases=matrices,
    mistakes={
        "The last number is how many a row keeps. `starts` says where a row begins.": (
            lambda weight: csr_with(weight, starts="counts")
        ),
        "`starts` lacks its first number: row 0 begins at 0.": (
            lambda weight: csr_with(weight, starts="no start")
        ),
        "`starts` lacks its last number, the end of the last row.": (
            lambda weight: csr_with(weight, starts="no end")
        ),
        "You store positions in the flat tensor. The starts already tell the row: store columns.": (
            lambda weight: csr_with(weight, positions="flat")
        ),
        "You store the rows. The starts already tell them: store columns.": (
            lambda weight: csr_with(weight, positions="rows")
        ),
        "That goes column by column. CSR goes row by row.": lambda weight: csr_with(weight.T),
        "Negative values are lost. Every value that is not zero is kept.": (
            lambda weight: csr_with(weight.relu())
        ),
        "The numbers are right, but three tensors are wanted, not lists.": (
            lambda weight: [part.tolist() for part in csr_with(weight)]
        ),
    },
)
def csr(weight):
    """Return three tensors: the kept values row by row, the column of each, and where in them each
    row starts, with one more number for the end. For [[0, 5, 0], [0, 0, 0], [7, 0, −8]] these are
    [5, 7, −8], [1, 0, 2] and [0, 1, 1, 3]. Do not use `to_sparse_csr`.
    """
    rows, columns = weight.nonzero(as_tuple=True)
    ends = (weight != 0).sum(dim=1).cumsum(0)
    return weight[rows, columns], columns, torch.cat([torch.zeros(1, dtype=torch.int64), ends])
