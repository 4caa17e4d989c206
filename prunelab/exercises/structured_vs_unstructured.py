"""Exercises of notebook 12."""

import torch
from torch import nn
from torch.nn.utils import prune

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import get_masks
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning


def ratios() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    return [
        (0.0,),
        (0.5,),
        (0.9,),
        *((ratio,) for ratio in torch.rand(3, generator=generator).tolist()),
    ]


@exercise(
    "12.1",
    "As many weights",
    REASON,
    level=1,
    minutes=5,
    hints=(
        "Take a layer of 8 filters that reads 8 channels, and remove half. Draw its matrix.",
        "A layer loses filters, and each of those that stay loses the inputs that the layer before "
        "it has lost.",
        "The share that is left is `1 - ratio` of the rows, and of these `1 - ratio` of the "
        "columns. Sparsity is what is gone.",
    ),
    cases=ratios,
    mistakes={
        "That is the density, the share that is left.": lambda ratio: (1 - ratio) ** 2,
        "The filters that stay also read fewer channels, so more weights go.": lambda ratio: ratio,
        "That counts twice what is in a removed row *and* a removed column.": (
            lambda ratio: 2 * ratio
        ),
        "That is what is in a removed row *and* a removed column; either is enough to go.": (
            lambda ratio: ratio**2
        ),
    },
)
def sparsity_of_equal_weights(ratio):
    """A chain of many equally wide convolutions loses a share `ratio` of the filters of every
    layer. Return the sparsity at which single-weight pruning leaves as few weights. Leave the
    first and the last layer out of account.
    """
    return 1 - (1 - ratio) ** 2


@exercise(
    "12.2",
    "Which weights cost?",
    REASON,
    level=2,
    minutes=6,
    unit="how many times, such as 2.5",
    hints=(
        "One weight costs one MAC for every pixel of the map that its layer makes.",
        "Count what is left: 100 weights of one layer, and 1,000 of the other, in both ways.",
        "The first way leaves 100 × 28 × 28 + 1,000 × 7 × 7 MACs.",
    ),
    mistakes={
        "The other way round: the second way leaves the layer with the large maps whole.": (
            127_400 / 788_900
        ),
        "Both layers still have weights, in either way. Add up the MACs of both.": 16,
        "A weight is used at every pixel of the map; count pixels, not rows.": 28_700 / 9_800,
        "As many weights are left, but a weight costs one MAC at *each pixel* of the map.": 1,
        "That is how many weights the two layers have left, not their MACs.": 10,
    },
)
def macs_by_layer():
    """Two convolutions have 1,000 weights each. The first makes maps of 28 × 28 pixels, the second
    of 7 × 7. You prune 900 weights: all from the first layer, or all from the second. How many
    times as many MACs does the second way leave (those of pruned weights not counted)?
    """
    first = 100 * 28 * 28 + 1000 * 7 * 7
    second = 1000 * 28 * 28 + 100 * 7 * 7
    return second / first


def convolutions() -> list[tuple]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(8, 8, 3), nn.Conv2d(3, 10, 5), nn.Linear(6, 4), nn.Conv2d(4, 5, 1)]
        by_hand = nn.Linear(2, 3)
    by_hand.weight.data = torch.tensor([[3.0, 0.0], [-2.0, 2.0], [5.0, 5.0]])  # L1 and L2 differ
    layers.append(by_hand)
    return [(layer, ratio) for layer, ratio in zip(layers, (0.5, 0.3, 0.5, 0.0, 0.4), strict=True)]


def masked_along(layer: nn.Module, ratio: float, n: int, dim: int) -> torch.Tensor:
    return prune.ln_structured(layer, "weight", amount=ratio, n=n, dim=dim).weight_mask


@exercise(
    "12.3",
    "Filters that stay",
    FIND_THE_BUG,
    level=2,
    minutes=8,
    hints=(
        "For a new `nn.Conv2d(8, 8, 3)`, print `mask[:, :, 0, 0]`. A filter is a row.",
        "The weight of a convolution is `[filters, channels it reads, height, width]`.",
        "`dim` is the axis on which the filters are numbered.",
    ),
    cases=convolutions,
    mistakes={
        "Every filter has lost a part, and none is gone.": (
            lambda layer, ratio: masked_along(layer, ratio, n=1, dim=1)
        ),
        "Whole filters go now, but others: those of the smallest L2 norm. Take L1, as before.": (
            lambda layer, ratio: masked_along(layer, ratio, n=2, dim=0)
        ),
        "Those are columns of the kernels. A filter has all of them.": (
            lambda layer, ratio: masked_along(layer, ratio, n=1, dim=-1)
        ),
    },
)
def filter_mask(layer, ratio):
    """This function is to mask a share `ratio` of the filters of a layer, those of the smallest L1
    norm. It raises no error and masks as many weights as it should, but afterwards no filter can
    be cut out. Repair it.
    """
    prune.ln_structured(layer, "weight", amount=ratio, n=1, dim=0)
    return layer.weight_mask


@filter_mask.given
def masking_the_inputs(layer, ratio):
    prune.ln_structured(layer, "weight", amount=ratio, n=1, dim=1)
    return layer.weight_mask


@exercise(
    "12.4",
    "Filters for nothing",
    PREDICT,
    level=2,
    minutes=8,
    unit="a count, such as 30",
    hints=(
        "`apply_global_pruning(model, sparsity=0.9)` masks the network, `get_masks` returns the "
        "masks by layer. A filter is a row of its layer's mask.",
        "`mask.flatten(1)` has one row a filter. Which rows have no True?",
        "Count `~mask.flatten(1).any(1)` over `conv1`, `conv2` and `conv3`.",
    ),
    mistakes={
        "That would be so if holes came in whole filters. Count them.": 101,
        "That is how many filters still have a weight.": 110,
    },
    tolerance=0.0,
)
def empty_filters():
    """`pretrained("small_convnet")` has 112 filters in `conv1`, `conv2` and `conv3`. Prune 90 % of
    the weights of the network, the smallest of all layers. How many of the filters are now empty,
    so that they can be cut without any other loss?
    """
    model = apply_global_pruning(pretrained("small_convnet"), sparsity=0.9)
    masks = get_masks(model)
    empty = [~masks[name].flatten(1).any(1) for name in ("conv1", "conv2", "conv3")]
    return int(torch.cat(empty).sum())


def priced_weights() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases: list[tuple] = [
        (torch.tensor([0.3, 0.1, 0.2, 0.4]), torch.tensor([1, 1, 1, 1]), 2),
        (torch.tensor([0.3, 0.1, 0.2, 0.4]), torch.tensor([10, 1, 10, 1]), 12),
        (torch.tensor([-0.3, 0.1, -0.2, 0.4]), torch.tensor([1, 100, 1, 1]), 3),
        (torch.tensor([0.3, 0.1]), torch.tensor([5, 7]), 12),
    ]
    for budget in (3000, 8000):
        weights = torch.randn(60, generator=generator)
        pixels = torch.tensor([784, 196, 49])[torch.randint(0, 3, (60,), generator=generator)]
        cases.append((weights, pixels, budget))
    return cases


def pruned_until(weights, pixels, macs, rank=torch.abs) -> int:
    """How many go in the order of `rank`."""
    left = pixels[rank(weights).argsort()].flip(0).cumsum(0).flip(0)
    return int((left > macs).sum())


@exercise(
    "12.5",
    "As many MACs",
    IMPLEMENT,
    level=3,
    minutes=20,
    hints=(
        "Bring the weights into the order in which they go, and take their pixels along.",
        "`cumsum` of the sorted pixels says how many MACs are gone after each weight. How many are "
        "left *before* it goes?",
        "A weight has to go if more than `macs` are left before it goes. Count those. If you add "
        "up from the other end (`flip`), you get what is left at once.",
    ),
    cases=priced_weights,
    mistakes={
        "You rank by value; a large negative weight is large, too.": (
            lambda weights, pixels, macs: pruned_until(weights, pixels, macs, torch.clone)
        ),
        "You take the largest weights away first.": (
            lambda weights, pixels, macs: pruned_until(1 / weights, pixels, macs)
        ),
        "You count weights. A weight costs as many MACs as its layer's map has pixels.": (
            lambda weights, pixels, macs: max(0, len(weights) - macs)
        ),
        "You take the pixels as they stand; they have to be sorted with the weights.": (
            lambda weights, pixels, macs: pruned_until(torch.arange(len(weights)), pixels, macs)
        ),
        "That is one too few: the last weight has brought them only near to the budget.": (
            lambda *given: max(0, pruned_until(*given) - 1)
        ),
        "One weight goes where none has to: all MACs are within the budget there.": (
            lambda *given: max(1, pruned_until(*given))
        ),
        "That is how many stay.": lambda *given: len(given[0]) - pruned_until(*given),
    },
)
def weights_that_go(weights, pixels, macs):
    """All weights of a network stand in one row: `weights` holds their values, and `pixels` the
    number of pixels for which each is used, so what it costs in MACs. Prune the smallest
    magnitudes, one after the other, until at most `macs` MACs are left. Return how many weights
    have to go.
    """
    pixels = pixels[weights.abs().argsort()]
    left = pixels.flip(0).cumsum(0).flip(0)  # before each of them goes
    return int((left > macs).sum())
