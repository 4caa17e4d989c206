"""Exercises of notebook 17."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from prunelab.calibrated import n_of_m
from prunelab.exercises.comparing import problem_of_function
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, exercise
from prunelab.masks import prunable_layers
from prunelab.transformer import char_gpt


def predictions() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for places, characters in ((7, 5), (12, 30), (1, 4)):
        scores = 2 * torch.randn(places, characters, generator=generator).double()
        text = torch.randint(characters, (places,), generator=generator)
        cases.append((scores.softmax(dim=1), text))
    return [*cases, (torch.full((6, 96), 1 / 96).double(), torch.arange(6))]


def bits_with(result: Callable) -> Callable:
    """An answer to 17.1 that makes something else of what the characters that came were given."""
    return lambda probabilities, text: result(probabilities[torch.arange(len(text)), text])


@exercise(
    "17.1",
    "Bits from probabilities",
    IMPLEMENT,
    level=1,
    minutes=8,
    hints=(
        "Equation (17.2) needs one probability a place: that of the character that stood there.",
        "`probabilities[torch.arange(len(text)), text]` are these. Take the logarithm to base 2 of "
        "each, then the mean.",
        "`log2` of a probability is below zero, and bits are above: a minus goes in front.",
    ),
    cases=predictions,
    mistakes={
        "Those are nats. Bits have the logarithm to base 2.": bits_with(
            lambda came: -came.log().mean()
        ),
        "That is the logarithm to base 10. Bits have base 2.": bits_with(
            lambda came: -came.log10().mean()
        ),
        "Those are the bits of the whole text. Divide by its length.": bits_with(
            lambda came: -came.log2().sum()
        ),
        "The minus is missing: nothing is stored in fewer than no bits.": bits_with(
            lambda came: came.log2().mean()
        ),
        "You take the logarithm of the mean. Equation (17.2) has the mean of logarithms.": (
            bits_with(lambda came: -came.mean().log2())
        ),
        "That is the perplexity. Bits are its logarithm to base 2.": bits_with(
            lambda came: 2 ** -came.log2().mean()
        ),
        "That is for the likeliest characters. Others came.": (
            lambda probabilities, text: -probabilities.amax(dim=1).log2().mean()
        ),
        "That is what the network itself expects, its entropy. `text` says what came.": (
            lambda probabilities, text: -(probabilities * probabilities.log2()).sum(dim=1).mean()
        ),
        "`cross_entropy` wants scores, and makes probabilities of them. These are some already.": (
            lambda probabilities, text: F.cross_entropy(probabilities, text) / math.log(2)
        ),
        "That is the mean over all characters. Only one came at each place.": (
            lambda probabilities, text: -probabilities.log2().mean()
        ),
        "`[:, text]` takes every character of the text at every place. Each has one.": (
            lambda probabilities, text: -probabilities[:, text].log2().mean()
        ),
    },
)
def bits_a_character(probabilities, text):
    """`probabilities` [N, characters] is what a network gives every character at each of N places,
    a row a place. `text` [N] holds the numbers of the characters that came. Return the bits a
    character (17.2).
    """
    came = probabilities[torch.arange(len(text)), text]
    return -came.log2().mean().item()


def layers_with_inputs() -> list[tuple]:
    """Rows, inputs and positions differ in number, and once do not."""
    generator = torch.Generator().manual_seed(0)
    cases = []
    sizes = ((5, 8, 20, 0.5), (6, 6, 6, 0.4), (7, 10, 15, 0.7), (3, 12, 30, 0.25), (3, 4, 9, 0.0))
    for rows, columns, positions, sparsity in sizes:
        weights = torch.randn(rows, columns, generator=generator).double()
        inputs = torch.randn(positions, columns, generator=generator).double()
        spread = torch.randn(columns, generator=generator).double().exp()
        cases.append((weights, inputs * spread, sparsity))
    cases[2][1][:, 4] = 0
    return cases


def by_wanda(weights: Tensor, inputs: Tensor) -> Tensor:
    return weights.abs() * inputs.norm(dim=0)


def without_lowest(scores: Tensor, share: float, dim: int = 1) -> Tensor:
    order = scores.argsort(dim=dim).narrow(dim, 0, round(share * scores.shape[dim]))
    return torch.ones_like(scores, dtype=torch.bool).scatter(dim, order, False)


def masked_by(scores: Callable) -> Callable:
    """An answer to 17.2 with its own scores."""
    return lambda weights, inputs, sparsity: without_lowest(scores(weights, inputs), sparsity)


@exercise(
    "17.2",
    "Wanda, row by row",
    IMPLEMENT,
    level=2,
    minutes=12,
    hints=(
        "Equation (17.4) first: one score a weight. Which dimension of `inputs` are the positions, "
        "and which the inputs?",
        "`inputs.norm(dim=0)` is one number for each input, and each input has a column of "
        "`weights`. Then `argsort(dim=1)` ranks in every row.",
        "Begin with `mask = torch.ones_like(weights, dtype=torch.bool)`. With the first "
        "`round(sparsity * in)` columns of the `argsort` as `order`, "
        "`mask.scatter_(1, order, False)` does the rest.",
    ),
    cases=layers_with_inputs,
    mistakes={
        "That ranks by magnitude alone. Each input has a size of its own.": masked_by(
            lambda weights, inputs: weights.abs()
        ),
        "Large negative weights go first. Take magnitudes.": masked_by(
            lambda weights, inputs: weights * inputs.norm(dim=0)
        ),
        "A root is missing: the norm is not squared in (17.4).": masked_by(
            lambda weights, inputs: weights.abs() * inputs.square().sum(dim=0)
        ),
        "You add magnitudes up. The norm is the root of the sum of squares.": masked_by(
            lambda weights, inputs: weights.abs() * inputs.abs().sum(dim=0)
        ),
        "Positive and negative inputs cancel in a sum. The norm squares them.": masked_by(
            lambda weights, inputs: weights.abs() * inputs.sum(dim=0).abs()
        ),
        "That norm is of a position. One is wanted for each input, over all positions.": masked_by(
            lambda weights, inputs: weights.abs() * inputs.norm(dim=1)
        ),
        "The norms belong to the columns of the weights, not to the rows.": masked_by(
            lambda weights, inputs: weights.abs() * inputs.norm(dim=0)[:, None]
        ),
        "You rank the whole layer together. Every row loses as many.": (
            lambda weights, inputs, sparsity: without_lowest(
                by_wanda(weights, inputs).flatten(), sparsity, dim=0
            ).view_as(weights)
        ),
        "You rank in every column. A row of `weights` is what makes one output.": (
            lambda weights, inputs, sparsity: without_lowest(
                by_wanda(weights, inputs), sparsity, dim=0
            )
        ),
        "It is inverted: True is for a weight that is kept.": (
            lambda weights, inputs, sparsity: ~without_lowest(by_wanda(weights, inputs), sparsity)
        ),
        "You prune the highest scores.": masked_by(
            lambda weights, inputs: -by_wanda(weights, inputs)
        ),
        "`sparsity` is the share that goes. You keep it.": (
            lambda weights, inputs, sparsity: without_lowest(
                by_wanda(weights, inputs), 1 - sparsity
            )
        ),
        "`argsort` gives places in the order of their scores, not the rank of each score.": (
            lambda weights, inputs, sparsity: (
                by_wanda(weights, inputs).argsort(dim=1) >= round(sparsity * weights.shape[1])
            )
        ),
        "Those are the scores. A mask is wanted, True where a weight is kept.": (
            lambda weights, inputs, sparsity: by_wanda(weights, inputs)
        ),
        "Those are the weights. A mask is wanted, True where a weight is kept.": (
            lambda weights, inputs, sparsity: (
                weights * without_lowest(by_wanda(weights, inputs), sparsity)
            )
        ),
    },
)
def kept_by_wanda(weights, inputs, sparsity):
    """A linear layer has `weights` [out, in], and `inputs` [N, in] are what enters it at N
    positions. In each of its rows the `round(sparsity * in)` weights with the lowest score (17.4)
    go. Return the mask, True where a weight is kept.
    """
    scores = weights.abs() * inputs.norm(dim=0)
    order = scores.argsort(dim=1)[:, : round(sparsity * weights.shape[1])]
    return torch.ones_like(weights, dtype=torch.bool).scatter_(1, order, False)


def scores_and_patterns() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    sizes = ((8, 16, 2, 4), (8, 16, 3, 4), (4, 8, 1, 4), (16, 24, 5, 8), (3, 6, 2, 6), (2, 4, 2, 2))
    return [
        (torch.randn(rows, columns, generator=generator).double(), n, m)
        for rows, columns, n, m in sizes
    ]


def highest(scores: Tensor, n: int, dim: int = -1) -> Tensor:
    mask = torch.zeros_like(scores, dtype=torch.bool)
    return mask.scatter(dim, scores.topk(n, dim=dim).indices, True)


def in_groups(scores: Tensor, n: int, m: int) -> Tensor:
    return highest(scores.unflatten(1, (-1, m)), n).flatten(1)


@exercise(
    "17.3",
    "Two of every four",
    IMPLEMENT,
    level=2,
    minutes=10,
    hints=(
        "Give the groups a dimension of their own: `scores.unflatten(1, (-1, m))` has shape "
        "[out, in / m, m].",
        "`topk(n, dim=-1).indices` are the places of the highest in each group. Where are they to "
        "be True?",
        "Begin with a mask of zeros of that shape, of dtype bool. "
        "`mask.scatter_(-1, indices, True)` sets them, and `.flatten(1)` makes rows again.",
    ),
    cases=scores_and_patterns,
    mistakes={
        "Your groups run down the columns. Neighbors stand side by side in a row.": (
            lambda scores, n, m: in_groups(scores.T, n, m).T
        ),
        "The m of your groups stand apart. With `unflatten(1, (-1, m))` they are neighbors.": (
            lambda scores, n, m: highest(scores.unflatten(1, (m, -1)), n, dim=1).flatten(1)
        ),
        "It keeps the lowest.": lambda scores, n, m: in_groups(-scores, n, m),
        "n of every m are kept. You prune as many.": (
            lambda scores, n, m: in_groups(scores, m - n, m)
        ),
        "It is inverted: True is for what is kept.": (
            lambda scores, n, m: ~in_groups(scores, n, m)
        ),
        "In all it keeps as many as it should, but not n in every group: you rank whole rows.": (
            lambda scores, n, m: highest(scores, n * scores.shape[1] // m)
        ),
        "In all it keeps as many as it should, but not n in every group: you rank the whole "
        "layer.": (
            lambda scores, n, m: highest(scores.flatten(), n * scores.numel() // m).view_as(scores)
        ),
        "A score below zero is a low one. Rank the scores themselves, not their magnitudes.": (
            lambda scores, n, m: in_groups(scores.abs(), n, m)
        ),
        "`argsort` gives places in the order of their scores, not the rank of each score.": (
            lambda scores, n, m: scores.unflatten(1, (-1, m)).argsort(dim=-1).flatten(1) >= m - n
        ),
        "Places in a group are not columns: all your groups land in the first m columns.": (
            lambda scores, n, m: torch.zeros_like(scores, dtype=torch.bool).scatter(
                1, scores.unflatten(1, (-1, m)).topk(n).indices.flatten(1), True
            )
        ),
    },
)
def kept_of_every(scores, n, m):
    """Every row of `scores` [out, in] is divided into groups of m neighbors. Return the mask that
    keeps the n highest scores of each group, exactly n also where scores are equal (equation 17.5;
    which of the equal ones go is up to you).
    """
    groups = scores.unflatten(1, (-1, m))
    mask = torch.zeros_like(groups, dtype=torch.bool)
    return mask.scatter_(-1, groups.topk(n, dim=-1).indices, True).flatten(1)


@kept_of_every.check
def _(answer: Callable) -> str | None:
    problem = kept_of_every.usual_problem(answer)
    if problem is not None:
        return problem
    tied = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 2.0]])
    mask = answer(tied.clone(), 2, 4)
    counts = mask.unflatten(1, (-1, 4)).sum(dim=-1).flatten().tolist()
    if counts != [2, 2] or not mask[0, -1]:
        return f"Where scores are equal it keeps {counts[0]} and {counts[1]} of four, not 2 and 2."
    return None


def rows_to_repair() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for columns, places in ((3, (0, 1)), (6, (0, 3, 5)), (10, (2, 7, 9)), (1, (0,))):
        shared = torch.randn(40, 1, generator=generator).double()
        inputs = torch.randn(40, columns, generator=generator).double() + shared
        row = torch.randn(columns, generator=generator).double()
        cases += [(row, inputs.T @ inputs, j) for j in places]
    return cases


def row_with(change: Callable) -> Callable:
    """An answer to 17.4 that makes another change, of w_j, G and its inverse."""
    return lambda row, gram, j: row - change(row[j], gram, torch.linalg.inv(gram), j)


def others_to_the_right(row: Tensor, gram: Tensor, j: int) -> Tensor:
    """An answer to 17.4 that leaves the weights to the left of j as they are."""
    inverse = torch.linalg.inv(gram)
    new = row.clone()
    new[j:] -= row[j] / inverse[j, j] * inverse[j:, j]
    return new


def apart_from(j: int, row: object) -> object:
    """A row with zero at j."""
    fits = isinstance(row, Tensor) and row.dim() == 1 and j < len(row)
    return row.index_fill(0, torch.tensor(j), 0) if fits else row


@exercise(
    "17.4",
    "One goes, the others make up for it",
    IMPLEMENT,
    level=3,
    minutes=15,
    hints=(
        "Three things are needed: the inverse of `gram`, its column j, and its entry [j, j].",
        "`inverse = torch.linalg.inv(gram)`. Which multiple of its column j must be subtracted "
        "from the row, for its entry j to become zero?",
        "`row - row[j] / inverse[j, j] * inverse[:, j]`. What is left at j is rounding, such as "
        "1e-17, and no pruned weight. Set it to zero.",
    ),
    cases=rows_to_repair,
    mistakes={
        "That is with G itself. The optimal brain surgeon takes its inverse.": row_with(
            lambda w, gram, inverse, j: w / gram[j, j] * gram[:, j]
        ),
        "The sign is wrong: the others move to the other side.": row_with(
            lambda w, gram, inverse, j: -w / inverse[j, j] * inverse[:, j]
        ),
        "The others have not moved. They make up for what has gone.": row_with(
            lambda w, gram, inverse, j: torch.zeros(len(gram)).double()
        ),
        "The column is not divided by its entry j, so that w_j would not become zero.": row_with(
            lambda w, gram, inverse, j: w * inverse[:, j]
        ),
        "You divide by G_jj. What is meant is the entry [j, j] of the inverse.": row_with(
            lambda w, gram, inverse, j: w / gram[j, j] * inverse[:, j]
        ),
        "1 / G, number by number, is no inverse of a matrix.": row_with(
            lambda w, gram, inverse, j: w * gram[j, j] / gram[:, j]
        ),
        "The weights to the left may change here, too. SparseGPT leaves them alone to be fast.": (
            others_to_the_right
        ),
    },
)
def without_weight(row, gram, j):
    """The weights `row` [in] make one output of a linear layer, and `gram` [in, in] is $G$ of its
    inputs (17.3). Weight j is removed, and all others change so that the output changes least: of
    the row one subtracts $w_j / [G^{-1}]_{jj}$ times the column j of $G^{-1}$. Return the new row,
    with an exact zero at j.
    """
    inverse = torch.linalg.inv(gram)
    new = row - row[j] / inverse[j, j] * inverse[:, j]
    new[j] = 0
    return new


@without_weight.check
def _(answer: Callable) -> str | None:
    problem = problem_of_function(
        lambda row, gram, j: apart_from(j, answer(row, gram, j)),
        without_weight.solution,
        rows_to_repair(),
        {
            said: lambda row, gram, j, wrong=wrong: apart_from(j, wrong(row, gram, j))
            for said, wrong in without_weight.mistakes.items()
        },
        without_weight.tolerance,
    )
    if problem is not None:
        return problem
    left = max(abs(answer(row.clone(), gram, j)[j].item()) for row, gram, j in rows_to_repair())
    if left > 1e-9:
        return "The others are right, but weight j is still there. Set it to zero."
    if left:
        return f"Weight j is ±{left:.0e}: rounding has left something. Set it to zero."
    return None


def queries_keys_values() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    return [
        tuple(torch.randn(3, places, size, generator=generator).double())
        for places, size in ((5, 4), (8, 3), (2, 6), (1, 2))
    ]


def attended_with(weights: Callable, power: float = 0.5) -> Callable:
    """An answer to 17.5 that makes its weights otherwise, of scores and of True where it looks."""

    def answer(q, k, v):
        seen = torch.ones(len(q), len(q), dtype=torch.bool).tril()
        return weights(q @ k.T / q.shape[1] ** power, seen) @ v

    return answer


def softmax_where(scores: Tensor, seen: Tensor, dim: int = 1) -> Tensor:
    return scores.masked_fill(~seen, -torch.inf).softmax(dim=dim)


@exercise(
    "17.5",
    "What comes later leaks",
    FIND_THE_BUG,
    level=3,
    minutes=10,
    hints=(
        "The first position sees only itself, so that its result should be `v[0]`. Is it? What do "
        "the weights of its row add up to?",
        "Over which positions r goes the sum below the fraction of equation (17.1), and over which "
        "does this softmax go?",
        "What is later must be gone *before* the softmax: "
        "`scores.masked_fill(seen == 0, -torch.inf)`, since exp(−∞) = 0.",
    ),
    cases=queries_keys_values,
    mistakes={
        "Later positions still stand below the fraction: change the last, and all before it "
        "change.": attended_with(lambda scores, seen: scores.softmax(dim=1) * seen),
        "A score of zero is not none, as exp(0) = 1. Which score becomes zero?": attended_with(
            lambda scores, seen: (scores * seen).softmax(dim=1)
        ),
        "Now every position sees all, later ones, too.": attended_with(
            lambda scores, seen: scores.softmax(dim=1)
        ),
        "It looks at itself and those *after* it.": attended_with(
            lambda scores, seen: softmax_where(scores, seen.T)
        ),
        "It still sees one position too far: that of the character it is to guess.": attended_with(
            lambda scores, seen: softmax_where(scores, torch.ones_like(scores).tril(1).bool())
        ),
        "The softmax runs along the wrong dimension: each row of weights must add up to one.": (
            attended_with(lambda scores, seen: softmax_where(scores, seen, dim=0))
        ),
        "The scores are no longer divided by the root of d.": attended_with(softmax_where, power=0),
        "The scores are to be divided by the root of d, not by d.": attended_with(
            softmax_where, power=1
        ),
        "The number of positions is not what the weights of a row add up to.": attended_with(
            lambda scores, seen: scores.softmax(dim=1) * seen / seen.sum(dim=1, keepdim=True)
        ),
    },
)
def one_head(q, k, v):
    """One head of attention (17.1), without $h_t$ and $W_o$: `q`, `k` and `v` [T, d] are the
    queries, keys and values of T positions, and returned is what each of them finds. But change
    the last position, and the results of all positions before it change. Repair it.
    """
    scores = q @ k.T / math.sqrt(q.shape[1])
    seen = torch.ones(len(q), len(q)).tril()
    return scores.masked_fill(seen == 0, -torch.inf).softmax(dim=1) @ v


@one_head.check
def _(answer: Callable) -> str | None:
    problem = one_head.usual_problem(answer)
    alone = queries_keys_values()[-1]
    if problem is not None and answer(*alone).isnan().any():
        return "The first position finds nothing to look at. Every position sees itself, too."
    return problem


@one_head.given
def with_a_leak(q, k, v):
    scores = q @ k.T / math.sqrt(q.shape[1])
    seen = torch.ones(len(q), len(q)).tril()
    return (scores.softmax(dim=1) * seen) @ v


@exercise(
    "17.6",
    "What a pattern must give up",
    PREDICT,
    level=2,
    minutes=8,
    unit="a share, such as 0.7",
    hints=(
        "Of the four in a group, how many belong to the larger half of the layer? It can be any "
        "number from 0 to 4. And the pattern keeps two.",
        '`prunable_layers(model, "head")` gives the layers by name. For `scores = '
        "layer.weight.abs()`, `scores > scores.median()` is True for the larger half, and "
        "`n_of_m(scores, 2, 4)` for what the pattern keeps.",
        "Count where both are True, and divide by the number of the larger half; all layers "
        "together.",
    ),
    mistakes={
        "So much of it would a mask keep that is drawn at random.": 0.5,
        "That is the share of all weights. Of the larger half it is wanted.": 13 / 32,
        "That is the share that is lost.": 3 / 16,
        "A pattern is not free: a group may hold three or four of the larger half.": 1.0,
        "That is for 1 of 2. In groups of four there is more choice.": 0.75,
        "That is for 4 of 8. In groups of four there is less choice.": 221 / 256,
    },
)
def share_that_2_of_4_keeps():
    """In the layers of the blocks of a new network, `char_gpt(seed=0)`, magnitude pruning at 50 %
    would keep the larger half of each layer. The pattern 2:4 by magnitude also keeps half of the
    weights, but two of every four neighbors. Which share of the larger half does the pattern keep?
    Guess first, then measure.
    """
    both = larger = 0
    for layer in prunable_layers(char_gpt(seed=0), "head").values():
        scores = layer.weight.detach().abs()
        half = scores > scores.median()
        both += int((half & n_of_m(scores, 2, 4)).sum())
        larger += int(half.sum())
    return both / larger
