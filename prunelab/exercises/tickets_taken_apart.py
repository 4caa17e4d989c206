"""Exercises of notebook 14."""

from collections.abc import Callable

import torch
from torch import Tensor

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.lottery import prune_round
from prunelab.masks import get_masks
from prunelab.models import lenet300, pretrained


def trainings() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases: list[tuple] = []
    for shape, counts in (((6, 8), (6, 12, 0)), ((4, 2, 3, 3), (1, 20))):
        initial, moved = torch.randn(2, *shape, generator=generator)
        cases += [(initial, initial + 1.5 * moved, count) for count in counts]
    return cases


def largest(score: Tensor, count: int) -> Tensor:
    mask = torch.zeros(score.numel(), dtype=torch.bool)
    mask[score.flatten().topk(count).indices] = True
    return mask.view_as(score)


def kept_by(score: Callable) -> Callable:
    """An answer to 14.1 that keeps the highest of another score."""
    return lambda initial, trained, count: largest(score(initial, trained), count)


@exercise(
    "14.1",
    "A mask of kept signs",
    IMPLEMENT,
    level=2,
    minutes=10,
    hints=(
        "Equation (14.1) has three scores. Which one looks at signs?",
        "What is `initial.sign() * trained` for a weight that has changed its sign? And for one "
        "that has kept it?",
        "`score.flatten().topk(count).indices` are the places to keep. Set them to True in a mask "
        "of False.",
    ),
    cases=trainings,
    mistakes={
        "That is “large final”: some of these weights have changed their sign.": kept_by(
            lambda initial, trained: trained.abs()
        ),
        "These are the largest at the start. The training has to say which to keep.": kept_by(
            lambda initial, trained: initial.abs() * (initial * trained > 0)
        ),
        "These are the largest at the start, whatever became of them.": kept_by(
            lambda initial, trained: initial.abs()
        ),
        "That is “magnitude increase”: how far a weight has grown, not how large it is.": kept_by(
            lambda initial, trained: trained.abs() - initial.abs()
        ),
        "The most positive ones are kept. Negative weights can grow too.": kept_by(
            lambda initial, trained: trained * (initial * trained > 0)
        ),
        "You rank by the product, so a large first weight helps. Take only its sign.": kept_by(
            lambda initial, trained: initial * trained
        ),
        "The mask is inverted; it is True where a weight is kept.": (
            lambda initial, trained, count: ~largest(initial.sign() * trained, count)
        ),
        "Those are *all* weights that kept their sign; only `count` of them are wanted.": (
            lambda initial, trained, count: initial * trained > 0
        ),
        "Those are the places in a row. A mask has the shape of the layer.": (
            lambda initial, trained, count: (initial.sign() * trained).flatten().topk(count).indices
        ),
        "Those are the weights; a mask of True and False is wanted.": (
            lambda initial, trained, count: trained * largest(initial.sign() * trained, count)
        ),
    },
)
def mask_of_same_signs(initial, trained, count):
    """A mask can be worth a lot on weights that were never trained. Return the boolean mask of a
    layer that keeps `count` weights: of those that still have the sign they began with, the
    largest after training. There are always enough of them.
    """
    score = (initial.sign() * trained).flatten()
    mask = torch.zeros(score.numel(), dtype=torch.bool)
    mask[score.topk(count).indices] = True
    return mask.view_as(initial)


def two_starts() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape in ((6, 8), (4, 2, 3, 3)):
        initial, fresh = torch.randn(2, *shape, generator=generator)
        cases.append((initial, fresh, torch.rand(shape, generator=generator) < 0.5))
    return cases


@exercise(
    "14.2",
    "Old signs, new sizes",
    REASON,
    level=1,
    minutes=5,
    hints=(
        "The size of a weight is its magnitude. The new weights have signs of their own.",
        "Take three things: the size of one, the sign of the other, and the mask.",
        "`abs` takes a sign away, `sign` takes a size away.",
    ),
    cases=two_starts,
    mistakes={
        "Weights that the mask prunes are not zero.": (
            lambda initial, fresh, mask: fresh.abs() * initial.sign()
        ),
        "Those are the new weights with their own signs: the random reinit.": (
            lambda initial, fresh, mask: fresh * mask
        ),
        "That is the ticket; its sizes must be new.": (lambda initial, fresh, mask: initial * mask),
        "It is the other way round: old sizes with new signs.": (
            lambda initial, fresh, mask: initial.abs() * fresh.sign() * mask
        ),
        "All signs are positive. Which sign did each weight have at first?": (
            lambda initial, fresh, mask: fresh.abs() * mask
        ),
        "The size mixes old and new. Take only the sign of the old weight.": (
            lambda initial, fresh, mask: fresh.abs() * initial * mask
        ),
        "The sign of a new weight and that of the old one are multiplied. Take its size first.": (
            lambda initial, fresh, mask: fresh * initial.sign() * mask
        ),
        "Those are the kept weights in a row. A layer has its shape, with zeros for the rest.": (
            lambda initial, fresh, mask: (fresh.abs() * initial.sign())[mask]
        ),
    },
)
def old_signs_new_sizes(initial, fresh, mask):
    """Are the first weights good because of their signs or because of their sizes? One layer has
    the `initial` weights, `fresh` ones that were drawn in the same way, and a `mask`. Return the
    weights that have the places of the mask, the old signs and the new sizes.
    """
    return fresh.abs() * initial.sign() * mask


@exercise(
    "14.3",
    "Not random enough",
    FIND_THE_BUG,
    level=2,
    minutes=10,
    hints=(
        "Try a mask of 4 units and 6 inputs of which one unit keeps all. What does the function "
        "make of it?",
        "An index in brackets picks rows. The units change places, and each of them takes its "
        "inputs along.",
        "Make one long row of all entries, put *these* into a random order, and give them back "
        "their shape.",
    ),
)
def random_mask(mask, generator):
    """The control of a ticket is a random mask: as many weights, at random places, so that nothing
    is left of what training chose. This function keeps as many weights as it should, and still
    something of the choice. Repair it.
    """
    order = torch.randperm(mask.numel(), generator=generator)
    return mask.flatten()[order].view_as(mask)


@random_mask.given
def shuffling_units(mask, generator):
    return mask[torch.randperm(len(mask), generator=generator)]


@random_mask.check
def _(answer: Callable) -> str | None:
    mask = torch.zeros(30, 40, dtype=torch.bool)
    mask[:6, :20] = True
    one, again, other = (
        torch.as_tensor(answer(mask.clone(), torch.Generator().manual_seed(seed)))
        for seed in (0, 0, 1)
    )
    if one.shape != mask.shape:
        return f"For a mask of shape {tuple(mask.shape)} yours has {tuple(one.shape)}."
    if not torch.equal(one.bool().to(one.dtype), one):
        return "A mask of True and False is wanted."
    if int(one.sum()) != int(mask.sum()) or int(other.sum()) != int(mask.sum()):
        return f"The mask keeps {int(mask.sum())} weights, and yours {int(one.sum())}."
    if not torch.equal(one, again):
        return "Two generators with one seed give two masks. Draw from `generator`."
    if torch.equal(one, other):
        return "It does not depend on `generator`."
    if torch.equal(one.sum(1).sort()[0], mask.sum(1).sort()[0]):
        return "Some units keep 20 weights and the others none, as in the mask it is given."
    if torch.equal(one.sum(0).sort()[0], mask.sum(0).sort()[0]):
        return "Half of the inputs have no weights at all, as in the mask it is given."
    return None


@exercise(
    "14.4",
    "Who changes sign?",
    PREDICT,
    level=2,
    minutes=10,
    unit="a share, such as 0.15",
    hints=(
        "A weight has changed its sign where `first.sign() != last.sign()`, with the weights of "
        "both networks.",
        '`prune_round(model, {"fc1": 0.8, "fc2": 0.8, "fc3": 0.8})` masks a network, and '
        "`get_masks` returns the masks. Take a second copy of the network for it.",
        "Take `changed[mask]`, and the mean of it as a float.",
    ),
    mistakes={
        "That is the share of *all* weights; the mask keeps a fifth.": 0.21258,
        "That is the share of those that *keep* their sign.": 0.93395,
        "Divide by the number of weights that the mask keeps.": 0.01321,
    },
)
def changed_signs():
    """The shipped `pretrained("lenet300")` was trained from `lenet300(seed=2)`, and in `fc1` 21 %
    of the weights changed their sign on the way. Look only at the fifth of them that is largest
    after training. Which share of these has changed its sign? Guess first, then measure.
    """
    first, last = lenet300(seed=2).fc1.weight, pretrained("lenet300").fc1.weight
    pruned = prune_round(pretrained("lenet300"), {"fc1": 0.8, "fc2": 0.8, "fc3": 0.8})
    changed = first.sign() != last.sign()
    return changed[get_masks(pruned)["fc1"]].float().mean().item()


def masks_of_curves() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    block = torch.zeros(4, 10, dtype=torch.bool)
    block[:, 2:5] = True
    random = [torch.rand(shape, generator=generator) < 0.4 for shape in ((5, 12), (3, 40))]
    return [(block,), (torch.ones(2, 6, dtype=torch.bool),), *((mask,) for mask in random)]


@exercise(
    "14.5",
    "Does a mask keep neighbors?",
    IMPLEMENT,
    level=3,
    minutes=12,
    hints=(
        "A mask without its last column, and one without its first: what do two entries at the "
        "same place have in common?",
        "`mask[:, :-1] & mask[:, 1:]` is True where a weight and its next neighbor are kept. "
        "Divide by the number of kept weights that *have* a next neighbor.",
        "At random a neighbor is kept with the probability `mask.float().mean()`.",
    ),
    cases=masks_of_curves,
    mistakes={
        "That is the share itself. How many times the share at random is it?": (
            lambda mask: (mask[:, :-1] & mask[:, 1:]).sum() / mask[:, :-1].sum()
        ),
        "Kept weights of the last input have no next one; leave them out of what you divide by.": (
            lambda mask: (mask[:, :-1] & mask[:, 1:]).sum() / mask.sum() / mask.float().mean()
        ),
        "You look at the next unit. Inputs are columns.": (
            lambda mask: (mask[:-1] & mask[1:]).sum() / mask[:-1].sum() / mask.float().mean()
        ),
        "The last input has no next one: `roll` takes the first.": (
            lambda mask: (mask & mask.roll(-1, 1)).sum() / mask.sum() / mask.float().mean()
        ),
        "You divide by all pairs of neighbors, also where the first of the two is pruned.": (
            lambda mask: (mask[:, :-1] & mask[:, 1:]).float().mean() / mask.float().mean()
        ),
    },
)
def times_as_many_neighbors(mask):
    """`mask` is that of a first layer, a row a unit, and its columns are points of a curve in
    order. Of the kept weights that have a next point: which share has that one kept, too, by the
    same unit? Return how many times as large this is as the density, its value at random places.
    """
    both = mask[:, :-1] & mask[:, 1:]
    return (both.sum() / mask[:, :-1].sum() / mask.float().mean()).item()
