"""Exercises of notebook 07."""

import copy
from collections.abc import Callable
from itertools import pairwise

import pandas as pd
import torch
from torch import nn

from prunelab.exercises.comparing import call, listed, outcome, same
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import get_masks, make_pruning_permanent
from prunelab.models import lenet300, pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import total_sparsity


@exercise(
    "07.1",
    "One small layer",
    REASON,
    level=1,
    minutes=3,
    unit="a share, such as 0.5",
    hints=(
        "Equation (7.1): count weights, not layers.",
        "How many weights are pruned? And how many are there in all three layers together?",
        "900 weights are pruned. Divide by 784 × 300 + 300 × 100 + 100 × 10.",
    ),
    mistakes={
        "That is the sparsity of one layer. Divide by the weights of all three.": 0.9,
        "A mean over layers weighs 1,000 weights like 235,200. Count weights instead.": 0.3,
        "That is the density: 1 minus it is the sparsity.": 1 - 900 / 266_200,
    },
)
def sparsity_of_the_network():
    """A LeNet-300-100 has weights of 784 × 300, 300 × 100 and 100 × 10. In its last layer 90 % are
    pruned, in the others none. What is the sparsity over all prunable weights?
    """
    pruned = 0.9 * 100 * 10
    return pruned / (784 * 300 + 300 * 100 + 100 * 10)


def tables() -> list[tuple]:
    sparsities = [0.5, 0.8, 0.9, 0.95, 0.99]
    times = (
        [3.0, 1.2, 0.6, 0.3, 0.1],
        [2.0, 1.9, 1.8, 1.1, 0.7],
        [0.9, 1.3, 0.3, 0.2, 0.1],
        [1.4, 0.9, 1.0, 0.6, 0.2],
    )
    cases = []
    for number, csr in enumerate(times):
        formats = {"masked": [1.5, 1.6, 1.5, 1.5, 1.6], "dense": [1.0] * 5, "CSR": csr}
        table = pd.DataFrame({"sparsity": sparsities, **formats})
        table = table.melt("sparsity", var_name="format", value_name="median")
        cases.append((table.sample(frac=1, random_state=number, ignore_index=True),))
    return cases


def side_by_side(table: pd.DataFrame) -> pd.DataFrame:
    return table.pivot_table(index="sparsity", columns="format", values="median")


def first_in_the_table(table: pd.DataFrame) -> float:
    wide = side_by_side(table)
    faster = wide.index[wide["CSR"] < wide["dense"]]
    return table.loc[table["sparsity"].isin(faster), "sparsity"].iloc[0]


@exercise(
    "07.2",
    "The sparsity that pays",
    REASON,
    level=2,
    minutes=8,
    hints=(
        "Of each sparsity you need two times side by side: that of CSR and that of dense.",
        "This puts them side by side: "
        '`table.pivot_table(index="sparsity", columns="format", values="median")`.',
        'In that table, compare the columns `"CSR"` and `"dense"`, and take the smallest of the '
        "index where CSR is smaller.",
    ),
    cases=tables,
    mistakes={
        "There CSR takes *longer* than dense. The median is a time: less is faster.": (
            lambda table: side_by_side(table).query("CSR > dense").index.min()
        ),
        "There CSR is fastest. Asked for is the lowest sparsity where it is faster than dense.": (
            lambda table: side_by_side(table)["CSR"].idxmin()
        ),
        "You compare with the masked layer. Who wants to save time begins with the dense one.": (
            lambda table: side_by_side(table).query("CSR < masked").index.min()
        ),
        "The rows of the table are in no order. Take the lowest sparsity, not the first.": (
            first_in_the_table
        ),
    },
)
def sparsity_that_pays(table):
    """A table has the columns `sparsity`, `format` ("dense", "masked" or "CSR") and `median`, a
    time in seconds. Its rows are in no order. Return the lowest sparsity at which CSR is faster
    than dense.
    """
    times = table.pivot_table(index="sparsity", columns="format", values="median")
    return times.index[times["CSR"] < times["dense"]].min()


@sparsity_that_pays.check
def _(answer: Callable) -> str | None:
    problem = sparsity_that_pays.usual_problem(answer)
    if problem is None or problem in sparsity_that_pays.mistakes:
        return problem
    for (table,) in tables():
        got, right = call(answer, (table,)), sparsity_that_pays.solution(table)
        if not same(got, right, 1e-6):
            csr = side_by_side(table)["CSR"]
            return (
                f"Dense takes 1 s, and CSR {listed(csr)} s at {listed(csr.index)}. For this table "
                f"it {outcome(got, right)}"
            )
    return problem


@exercise(
    "07.3",
    "The guide's count",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Try it on a `lenet300` four times: dense, masked, with a mask in the last layer alone, "
        "and permanent.",
        "A mask is only one of the places where zeros are. Which tensor has them at every stage?",
        "`layer.weight` of an `nn.Linear` is the weight in use, masked or not. Go through all "
        "linear layers, and count its zeros and its elements.",
    ),
)
def sparsity_of(model):
    """This is how the guide counts: what share of the weights of all linear layers is pruned? The
    count shall be right at every stage, before pruning, with masks in all layers or in some, and
    after `make_pruning_permanent`. Repair it.
    """
    weights = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear)]
    return sum((w == 0).sum().item() for w in weights) / sum(w.numel() for w in weights)


@sparsity_of.given
def counted_in_masks(model):
    masks = [mask for name, mask in model.named_buffers() if name.endswith("weight_mask")]
    return sum((m == 0).sum().item() for m in masks) / sum(m.numel() for m in masks)


@sparsity_of.check
def _(answer: Callable) -> str | None:
    dense = lenet300(seed=0)
    masked = apply_global_pruning(copy.deepcopy(dense), sparsity=0.9)
    last = apply_global_pruning(copy.deepcopy(dense), sparsity=0.8, exclude=("fc1", "fc2"))
    stages = {
        "with masks in all layers": masked,
        "with a mask in its last layer alone": last,
        "without masks, permanently pruned": make_pruning_permanent(copy.deepcopy(masked)),
        "dense, before any pruning": dense,
    }
    for stage, model in stages.items():
        got, right = call(answer, (model,)), total_sparsity(model)
        if not same(got, right, 1e-6):
            return f"For a network {stage} it {outcome(got, right)}"
    return None


@exercise(
    "07.4",
    "Pixels that nobody reads",
    PREDICT,
    level=2,
    minutes=8,
    unit="a number of pixels, such as 100",
    hints=(
        'Prune `pretrained("lenet300")` with `apply_global_pruning`, and take '
        '`get_masks(model)["fc1"]`. It is [300, 784]: a row a neuron, a column a pixel.',
        "A pixel is read as long as one weight in its column is kept.",
        "`mask.any(dim=0)` is True for the pixels that are read. Count the others.",
    ),
    mistakes={
        "Those are the pixels that *are* read.": 454,
        "Those are the neurons that read nothing. A neuron is a row, a pixel a column.": 53,
        "99 % of the *weights* are gone. A pixel is read if one of its 300 weights is left.": 776,
    },
    tolerance=0,
)
def unread_pixels():
    """The trained `lenet300` is pruned to 99 % with one global ranking. How many of the 784 pixels
    does its first layer not read any more, as all their 300 weights are gone? (Without their
    columns a plain dense kernel would be faster, too.) Guess first, then count them.
    """
    model = apply_global_pruning(pretrained("lenet300"), sparsity=0.99)
    mask = get_masks(model)["fc1"]
    return (~mask.any(dim=0)).sum().item()


def sparse_rows() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for rows, inputs, density in ((2, 4, 0.5), (4, 6, 0.3), (3, 5, 0.0), (1, 1, 1.0), (5, 8, 0.6)):
        kept = torch.rand(rows, inputs, generator=generator) < density
        values = torch.randn(rows, inputs, generator=generator)[kept].tolist()
        starts = [0, *kept.sum(dim=1).cumsum(0).tolist()]
        bias, x = (torch.randn(n, generator=generator).tolist() for n in (rows, inputs))
        cases.append((starts, kept.nonzero()[:, 1].tolist(), values, bias, x))
    return cases


def rows_with(input_of: Callable) -> Callable:
    """An answer to 07.5 that takes other inputs."""

    def answer(starts, columns, values, bias, x):
        ranges = [range(a, b) for a, b in pairwise(starts)]
        sums = [sum(values[k] * x[input_of(k, r, columns)] for k in r) for r in ranges]
        return [b + total for b, total in zip(bias, sums, strict=True)]

    return answer


@exercise(
    "07.5",
    "A layer in CSR, by hand",
    IMPLEMENT,
    level=3,
    minutes=15,
    hints=(
        "Equation (7.2), and the drawing of the compressed rows in the notebook.",
        "The weights of row `i` are `values[starts[i] : starts[i + 1]]`, and their inputs have the "
        "numbers `columns[starts[i] : starts[i + 1]]`.",
        "For one row: `bias[i] + sum(values[k] * x[columns[k]] for k in range(starts[i], "
        "starts[i + 1]))`. An empty row gives its bias.",
    ),
    cases=sparse_rows,
    mistakes={
        "You read the inputs in their order. `columns` says which input a weight belongs to.": (
            rows_with(lambda k, row, columns: k - row.start)
        ),
        "`k` is a place in `values`, not the number of an input. That stands in `columns`.": (
            rows_with(lambda k, row, columns: k)
        ),
        "The bias is missing.": lambda starts, columns, values, bias, x: rows_with(
            lambda k, row, columns: columns[k]
        )(starts, columns, values, [0.0] * len(bias), x),
    },
    tolerance=1e-4,
)
def csr_outputs(starts, columns, values, bias, x):
    """Compute (7.2) without the zeros. `values` lists the kept weights row by row, and `columns`
    the number of the input of each. Row `i` begins at place `starts[i]` in both lists, and ends
    before `starts[i + 1]`. Return the list of the outputs for the input `x`.
    """
    outputs = []
    for i in range(len(bias)):
        row = range(starts[i], starts[i + 1])
        outputs.append(bias[i] + sum(values[k] * x[columns[k]] for k in row))
    return outputs
