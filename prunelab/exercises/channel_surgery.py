"""Exercises of notebook 05."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.masks import prunable_layers
from prunelab.models import resnet20
from prunelab.surgery import masked_filter_output, prune_channels


@exercise(
    "05.1",
    "The hurried surgery",
    FIND_THE_BUG,
    level=1,
    minutes=5,
    hints=(
        "All shapes fit, so compare the indices line by line.",
        "Five of the six lines take the entries of the same channels.",
        "`[: len(kept)]` takes the *first* channels. The others take those in `kept`.",
    ),
)
def cut_between(state, kept):
    """`state` holds the six tensors between `conv1` and `conv2` of the notebook, by name. This
    function cuts them down to the channels in `kept`. All shapes are right, and the outputs are
    not. Repair it.
    """
    return {
        "conv1.weight": state["conv1.weight"][kept],
        "bn1.weight": state["bn1.weight"][kept],
        "bn1.bias": state["bn1.bias"][kept],
        "bn1.running_mean": state["bn1.running_mean"][kept],
        "bn1.running_var": state["bn1.running_var"][kept],
        "conv2.weight": state["conv2.weight"][:, kept],
    }


@cut_between.given
def with_a_wrong_index(state, kept):
    return {
        "conv1.weight": state["conv1.weight"][kept],
        "bn1.weight": state["bn1.weight"][kept],
        "bn1.bias": state["bn1.bias"][kept],
        "bn1.running_mean": state["bn1.running_mean"][: len(kept)],
        "bn1.running_var": state["bn1.running_var"][kept],
        "conv2.weight": state["conv2.weight"][:, kept],
    }


@cut_between.check
def _(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    for channels, kept in ((5, [1, 3, 4]), (4, [0, 2]), (6, [2, 5, 3])):
        state = {
            "conv1.weight": torch.randn(channels, 1, 3, 3, generator=generator),
            "bn1.running_var": torch.rand(channels, generator=generator) + 0.5,
            "conv2.weight": torch.randn(7, channels, 3, 3, generator=generator),
        }
        for name in ("bn1.weight", "bn1.bias", "bn1.running_mean"):
            state[name] = torch.randn(channels, generator=generator)
        small = answer(dict(state), torch.tensor(kept))
        if not isinstance(small, dict) or small.keys() != state.keys():
            return f"A dictionary with the names {sorted(state)} is wanted."
        for name, tensor in small.items():
            wanted = list(state[name].shape)
            wanted[name == "conv2.weight"] = len(kept)
            if list(tensor.shape) != wanted:
                return f"{name} has shape {list(tensor.shape)}, and {wanted} is wanted."
        x = torch.randn(2, 1, 8, 8, generator=generator)
        gone = [channel for channel in range(channels) if channel not in kept]
        reference = {name: tensor.clone() for name, tensor in state.items()}
        reference["conv2.weight"][:, gone] = 0
        difference = (outputs(small, x) - outputs(reference, x)).abs().max()
        if difference > 1e-4:
            return (
                f"For kept={kept} of {channels} channels all shapes fit, but the outputs differ "
                f"from the reference by up to {difference:.1f}: entries of other channels."
            )
    return None


def outputs(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """What the layers from `conv1` to `conv2` make of images."""
    names = ("running_mean", "running_var", "weight", "bias")
    x = F.conv2d(x, state["conv1.weight"], padding=1)
    x = F.batch_norm(x, *(state[f"bn1.{name}"] for name in names)).relu()
    return F.conv2d(x, state["conv2.weight"], padding=1)


def kept_and_size() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = [sorted(torch.randperm(9, generator=generator)[:n].tolist()) for n in (2, 3, 5)]
    edges = [([1], 2), ([0, 2], 2), ([], 3), ([0, 3], 1)]
    return [*edges, *zip(random, (3, 2, 4), strict=True)]


@exercise(
    "05.2",
    "Columns after flattening",
    IMPLEMENT,
    level=2,
    minutes=8,
    hints=(
        "Flatten a tensor of three channels of 2 × 2 pixels, `torch.arange(12).view(1, 3, 2, 2)`, "
        "and look at the order.",
        "All pixels of channel 0 come first, then all of channel 1. In which column does channel 1 "
        "begin, and in which channel 2?",
        "A channel has `size * size` columns, and channel `k` begins at `k * size * size`.",
    ),
    cases=kept_and_size,
    mistakes={
        "After flattening, a channel is not one column: each of its pixels has one.": (
            lambda kept, size: kept
        ),
        "A map has size × size pixels, and each of them is a column.": (
            lambda kept, size: [k * size + i for k in kept for i in range(size)]
        ),
        "Each kept channel has more than its first column.": (
            lambda kept, size: [k * size * size for k in kept]
        ),
        "Those are the columns in the small network. Which columns of the old one go there?": (
            lambda kept, size: list(range(len(kept) * size * size))
        ),
    },
)
def columns_after_flatten(kept, size):
    """A convolution makes maps of `size` × `size` pixels. They are flattened, and a linear layer
    reads them. The channels in the list `kept` stay. Return the list of the columns that stay in
    the weight of the linear layer, its reader in equation (5.2).
    """
    pixels = size * size
    return [channel * pixels + pixel for channel in kept for pixel in range(pixels)]


@exercise(
    "05.3",
    "Work that is left",
    REASON,
    level=1,
    minutes=3,
    unit="a share, such as 0.5",
    hints=(
        "The work of a convolution: pixels × filters × inputs of each filter × 9.",
        "Which two of these factors become smaller, and how much?",
        "A quarter of the filters is left, and each of them reads a quarter of the channels.",
    ),
    mistakes={
        "The layer writes a quarter of its channels, and also reads only a quarter.": 0.25,
        "One quarter *of* the other: multiply the two shares, do not add them.": 0.5,
        "That is the share that is *saved*.": 15 / 16,
    },
)
def macs_left():
    """Three quarters of the channels of every layer are removed. Which share of its MACs does a
    convolution in the middle of the network still need?
    """
    filters, inputs = 1 / 4, 1 / 4
    return filters * inputs


@exercise(
    "05.4",
    "How far does one channel reach?",
    PREDICT,
    level=2,
    minutes=8,
    unit="a number of layers, such as 5",
    hints=(
        "`prune_channels` takes the network, the name of the layer, `[0]` and one image, such as "
        "`torch.zeros(1, 1, 28, 28)`.",
        "Compare the shapes of the weights before and after, layer by layer: "
        "`prunable_layers(model)` has them by name.",
        "Each block of the first stage *adds* its result to what comes in. So which layers write "
        "the channel, and which read it?",
    ),
    mistakes={
        "Without additions it would be two, `conv1` and its reader. What is added to what?": 2,
        "`conv1` itself becomes smaller, too.": 8,
        "That counts BatchNorm layers, too; convolution and linear layers are asked for.": 13,
    },
    tolerance=0,
)
def layers_that_shrink():
    """The first channel of `conv1`, the first layer of `resnet20`, is removed with
    `prune_channels`. How many of the 22 convolution and linear layers become smaller, `conv1`
    included? Guess first, then measure it.
    """
    model = resnet20(seed=0)
    small = prune_channels(model, "conv1", [0], torch.zeros(1, 1, 28, 28))
    pairs = zip(prunable_layers(model).values(), prunable_layers(small).values(), strict=True)
    return sum(before.weight.shape != after.weight.shape for before, after in pairs)


def layers_and_gone() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    cases = []
    sizes: tuple = ((6, 3, [1, 4, 5]), (4, 2, [0, 1, 2]), (8, 1, [7, 2]), (3, 3, []))
    for channels, classes, gone in sizes:
        batch_norm, linear = nn.BatchNorm1d(channels).eval(), nn.Linear(channels, classes)
        for tensor in (*batch_norm.parameters(), batch_norm.running_mean, *linear.parameters()):
            nn.init.normal_(tensor, generator=generator)
        nn.init.uniform_(batch_norm.running_var, 0.5, 2, generator=generator)
        cases.append((batch_norm, linear, gone))
    return cases


def bias_with(constants: Callable) -> Callable:
    """An answer to 05.5 with other constants of all channels."""

    def answer(batch_norm, linear, gone):
        return linear.bias + linear.weight[:, gone] @ constants(batch_norm)[gone]

    return answer


@exercise(
    "05.5",
    "A constant that moves out",
    IMPLEMENT,
    level=3,
    minutes=15,
    hints=(
        "A masked filter is not silent. Equation (5.1) says what it sends out, and "
        "`masked_filter_output` computes it.",
        "This constant passes the ReLU. Then each output of `linear` adds it, times a weight. "
        "It is the same for every image, as a bias is.",
        "With the constants `c` of the channels in `gone`, after the ReLU: "
        "`linear.bias + linear.weight[:, gone] @ c`.",
    ),
    cases=layers_and_gone,
    mistakes={
        "The constants pass a ReLU before `linear` reads them.": bias_with(masked_filter_output),
        "What `linear` has read so far must be added, not taken away.": bias_with(
            lambda batch_norm: -masked_filter_output(batch_norm).relu()
        ),
        "That is β, what such a channel sends after a recalibration. Here μ is still the old one, "
        "see (5.1).": bias_with(lambda batch_norm: batch_norm.bias.relu()),
        "Your constants are those of all channels. The ones that stay go on being read.": (
            lambda batch_norm, linear, gone: (
                linear.bias + linear.weight @ masked_filter_output(batch_norm).relu()
            )
        ),
        "That is what the constants add to the bias. The bias itself stays, too.": (
            lambda batch_norm, linear, gone: (
                linear.weight[:, gone] @ masked_filter_output(batch_norm)[gone].relu()
            )
        ),
        "With the old bias the outputs change: the constants are missing.": (
            lambda batch_norm, linear, gone: linear.bias
        ),
    },
    tolerance=1e-4,
)
def folded_bias(batch_norm, linear, gone):
    """The filters in the list `gone` are masked. `batch_norm` makes constants (5.1) of them, which
    go through a ReLU into `linear`. These channels shall now be cut, and the outputs of `linear`
    shall *not* change, as its bias takes over what they sent. Return this new bias.
    """
    constants = masked_filter_output(batch_norm).relu()
    return linear.bias + linear.weight[:, gone] @ constants[gone]
