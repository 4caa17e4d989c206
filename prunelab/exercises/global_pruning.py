"""Exercises of notebook 01."""

from collections.abc import Callable

import torch

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import get_masks
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning


def amounts() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(3, generator=generator).tolist()
    fixed = [(0.1, 5), (0.2, 3), (0.5, 2), (0.3, 1), (0.3, 0)]
    return [*fixed, *((amount, 4 + n) for n, amount in enumerate(random))]


@exercise(
    "01.1",
    "Amounts compound",
    IMPLEMENT,
    level=1,
    minutes=4,
    hints=(
        "Look at what is *left*. After one round the density is 1 − amount. After two?",
        "Each round multiplies the density by the same number.",
        "The density at the end is (1 − amount) to the power `rounds`; the sparsity is the rest.",
    ),
    cases=amounts,
    mistakes={
        "That counts weights twice: each round takes from what is left.": (
            lambda amount, rounds: amount * rounds
        ),
        "That is the density. The sparsity is the share that is gone.": (
            lambda amount, rounds: (1 - amount) ** rounds
        ),
        "That shrinks with every round. What is multiplied is the share that is left.": (
            lambda amount, rounds: amount**rounds
        ),
        "The power is that of the share that a round keeps, not of the one it prunes.": (
            lambda amount, rounds: 1 - amount**rounds
        ),
    },
)
def sparsity_after(amount, rounds):
    """Each round prunes the share `amount` of the weights that *remain*. Return the sparsity after
    that many rounds.
    """
    return 1 - (1 - amount) ** rounds


@exercise(
    "01.2",
    "Half in five rounds",
    REASON,
    level=1,
    minutes=4,
    unit="an amount, such as 0.1234",
    hints=(
        "01.1 gives the sparsity from the amount. Here you know the sparsity.",
        "Solve 1 − (1 − a)⁵ = 0.5 for a.",
        "(1 − a)⁵ = 0.5, so 1 − a is the fifth root of 0.5, `0.5 ** (1 / 5)`.",
    ),
    mistakes={
        "Five times 0.1 ends at 40.95 %, since amounts compound.": 0.1,
        "That is the share that a round keeps.": 0.5**0.2,
    },
    tolerance=1e-3,
)
def amount_per_round():
    """Five rounds with the same `amount` are to end at 50 % sparsity. Which amount does each take?
    Give four decimals.
    """
    return 1 - 0.5 ** (1 / 5)


@exercise(
    "01.3",
    "A mask that is exact",
    IMPLEMENT,
    level=2,
    minutes=10,
    hints=(
        "A threshold is not enough: of weights that are equal it takes all or none.",
        "`argsort` puts equal weights in some order, too. What are its first `count` positions?",
        "Begin with a flat mask of ones, of dtype bool. Set `mask[order[:count]]` to False, where "
        "`order` is the `argsort` of the flat magnitudes. Bring it back into shape.",
    ),
)
def exact_mask(weights, sparsity):
    """Return a boolean mask of the shape of `weights`, True where a weight is kept. It prunes
    exactly `round(sparsity * weights.numel())` weights, the smallest in magnitude, also where
    weights tie (equation 1.2).
    """
    order = weights.abs().flatten().argsort(stable=True)
    mask = torch.ones(weights.numel(), dtype=torch.bool)
    mask[order[: round(sparsity * weights.numel())]] = False
    return mask.view_as(weights)


@exact_mask.check
def _(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(7, 11, generator=generator)
    tied = torch.randint(-2, 3, (5, 4, 3, 3), generator=generator).float()
    for weights, what in ((distinct, "distinct weights"), (tied, "weights that tie")):
        for sparsity in (0.3, 0.8, 0.0):
            mask = torch.as_tensor(answer(weights.clone(), sparsity))
            if mask.shape != weights.shape:
                return f"The weights have shape {tuple(weights.shape)}, yours {tuple(mask.shape)}."
            problem = _problem_of_mask(mask, weights, round(sparsity * weights.numel()))
            if problem is not None:
                return f"With {what} at sparsity {sparsity} {problem}"
    return None


def _problem_of_mask(mask: torch.Tensor, weights: torch.Tensor, count: int) -> str | None:
    if not ((mask == 0) | (mask == 1)).all():
        return "there are other values than True and False in it."
    magnitudes = weights.abs()
    kept, gone = magnitudes[mask.bool()], magnitudes[~mask.bool()]
    if len(gone) == len(weights.flatten()) - count and gone.sum() > kept.sum():
        return "it is inverted: True is for a weight that is kept."
    if len(gone) != count:
        return f"it prunes {len(gone)} of {weights.numel()} weights: too " + (
            "many." if len(gone) > count else "few."
        )
    if len(kept) and len(gone) and kept.min() < gone.max():
        return "it prunes a weight that is larger than one it keeps."
    return None


def layers() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    small = [0.1 * torch.randn(6, 8, generator=generator), torch.randn(5, 6, generator=generator)]
    other = [torch.randn(4, 3, 3, 3, generator=generator), torch.randn(10, generator=generator)]
    return [(small, 0.9), (small, 0.5), (other, 0.2), ([-torch.arange(1.0, 11.0)], 0.5)]


def masks_above_threshold(weights, sparsity, rank=torch.abs, compare=torch.abs):
    """Global masks; or, if `rank` or `compare` is another function, wrong ones."""
    every = torch.cat([rank(weight).flatten() for weight in weights])
    threshold = every.kthvalue(round(sparsity * len(every))).values
    return [compare(weight) > threshold for weight in weights]


@exercise(
    "01.4",
    "Ninety percent that are eighty",
    FIND_THE_BUG,
    level=3,
    minutes=12,
    hints=(
        "Print the threshold for sparsity 0.5. How large is it, and why?",
        "The weights are positive and negative. What is the middle of *all* of them, and what the "
        "middle of their magnitudes?",
        "The threshold comes from the signed weights, and it is compared with magnitudes. Take "
        "the magnitudes for both.",
    ),
    cases=layers,
    mistakes={
        "Every negative weight goes now, however large. Compare magnitudes with the threshold.": (
            lambda weights, sparsity: masks_above_threshold(weights, sparsity, compare=torch.clone)
        ),
        "The count is right now, but negative weights go first, however large. Rank and compare "
        "magnitudes.": (
            lambda weights, sparsity: masks_above_threshold(
                weights, sparsity, torch.clone, torch.clone
            )
        ),
        "Now each layer is ranked by itself. One threshold is for all of them.": (
            lambda weights, sparsity: [
                masks_above_threshold([weight], sparsity)[0] for weight in weights
            ]
        ),
    },
)
def global_masks(weights, sparsity):
    """From a list with the weights of every layer this function makes a list of masks, by one
    threshold for all. Of weights drawn by `torch.randn`, it prunes 80 % when asked for 90 %, and
    hardly any when asked for 50 %. Repair it.
    """
    every = torch.cat([weight.abs().flatten() for weight in weights])
    threshold = every.kthvalue(round(sparsity * len(every))).values
    return [weight.abs() > threshold for weight in weights]


@global_masks.given
def without_abs(weights, sparsity):
    every = torch.cat([weight.flatten() for weight in weights])
    threshold = every.kthvalue(round(sparsity * len(every))).values
    return [weight.abs() > threshold for weight in weights]


@global_masks.check
def _(answer: Callable) -> str | None:
    problem = global_masks.usual_problem(answer)
    if problem is None or problem in global_masks.mistakes:
        return problem
    for weights, sparsity in layers():
        masks = answer([weight.clone() for weight in weights], sparsity)
        if not isinstance(masks, list) or any(map(_differs, masks, weights)):
            return problem
        total = sum(weight.numel() for weight in weights)
        gone = total - sum(int(mask.sum()) for mask in masks)
        if gone != round(sparsity * total):
            return f"At sparsity {sparsity} it prunes {gone} of {total} weights."
    return "The number of weights that go is right, but some are larger than some that stay."


def _differs(mask: object, weight: torch.Tensor) -> bool:
    return not isinstance(mask, torch.Tensor) or mask.shape != weight.shape


@exercise(
    "01.5",
    "Pixels that nobody looks at",
    PREDICT,
    level=2,
    minutes=8,
    unit="a whole number, such as 50",
    hints=(
        "The mask of `fc1` has 300 rows and 784 columns. Which of the two stand for pixels?",
        "A pixel is not read if its column has no kept weight: `any` asks that of a mask, along "
        "one dimension.",
        '`get_masks(model)["fc1"].any(dim=0)` is True for every pixel that is still read. Count '
        "the others.",
    ),
    mistakes={
        "Those are the pixels that are still read.": 784 - 330,
        "Those are neurons of fc1 that read no pixel: rows of the mask. A pixel is a column.": 53,
    },
    tolerance=1e-3,
)
def pixels_not_read():
    """99 % of the weights of the shipped `lenet300` are pruned, globally. Its first layer, `fc1`,
    had a weight from each of the 784 pixels to each of its 300 neurons. How many pixels are left
    without any? Guess first, then count them.
    """
    model = apply_global_pruning(pretrained("lenet300"), sparsity=0.99)
    read = get_masks(model)["fc1"].any(dim=0)
    return (~read).sum().item()
