"""Channel surgery: remove channels for real, and get a smaller ordinary network (notebook 05).

The network's own forward, run on tags instead of numbers, says which channels belong together. The
chosen ones are cut out of every tensor, and the cut network is rehearsed: run on the tags that are
left, all of them must meet as they did before. A head of attention counts as one channel. How that
is done is in `prunelab.channels`.
"""

import warnings
from collections.abc import Callable

import pandas as pd
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunelab.channels.amounts import Amount, check_amount, chooser
from prunelab.channels.choice import (
    check_criterion,
    check_relative,
    first_half,
    is_relative,
    unit_scores,
)
from prunelab.channels.findings import CannotFollow
from prunelab.channels.plan import CannotCut, Plan
from prunelab.channels.reasons import (
    nothing_cut,
    said_left_alone,
    said_never_reached,
    table,
    units_of,
)
from prunelab.channels.sensitivity import channel_sensitivity
from prunelab.channels.stored import load_network, save_network
from prunelab.channels.within import Within
from prunelab.checks import check_seed
from prunelab.checks.tensors import check_batch_norm, check_finite, check_model

__all__ = [
    "CannotCut",
    "LeftAlone",
    "channel_groups",
    "channel_sensitivity",
    "channel_table",
    "load_network",
    "masked_filter_output",
    "prune_channels",
    "prune_network",
    "save_network",
]


class LeftAlone(UserWarning):
    """Channels that were not cut, because nothing proves that it would be right."""


def masked_filter_output(batch_norm: _BatchNorm) -> Tensor:
    r"""What BatchNorm makes, in evaluation mode, of a channel whose filter and bias are zero.

    $$y_c = \beta_c - \gamma_c \frac{\mu_c}{\sqrt{\sigma_c^2 + \epsilon}} \tag{5.1}$$

    It goes on into the next layer. A bias $b_c$ that stays is subtracted from $\mu_c$.

    Args:
        batch_norm: a BatchNorm layer with running statistics, weight and bias.

    Returns:
        The constant of each channel `[channels]`.
    """
    check_batch_norm(batch_norm)
    mean, variance = batch_norm.get_buffer("running_mean"), batch_norm.get_buffer("running_var")
    deviation = (variance + batch_norm.eps).sqrt()
    return (batch_norm.bias - batch_norm.weight * mean / deviation).detach()


def prune_channels(
    model: nn.Module, layer_name: str, channel_indices, example_inputs, within: str = ""
) -> nn.Module:
    r"""Remove output channels of a layer, and all that belongs to them elsewhere.

    $$W'_{\text{writer}} = W[\text{kept}, :], \qquad W'_{\text{reader}} = W[:, \text{kept}]
    \tag{5.2}$$

    for every layer that writes these channels and every one that reads them; BatchNorm vectors
    and biases in between are cut alike, and numbers of modules, such as `num_heads`, follow. A head
    of attention goes as a whole, its queries, keys and values. The result computes what `model`
    computes with the readers' weights for the removed channels set to zero; only what is averaged
    over channels, as by LayerNorm, is averaged over those that are left.

    Args:
        model: any network whose forward does not depend on the values of its tensors.
        layer_name: a convolution, linear or embedding layer, as in `model.named_modules()`.
        channel_indices: the output channels to remove.
        example_inputs: what the forward takes: a tensor, a tuple of arguments, or a dictionary of
            named arguments. Only shapes matter; one or two examples suffice.
        within: as in `prune_network`; `layer_name` is then that inside of it.

    Returns:
        A new network of ordinary modules with the same weights, in the modes of `model`, which
        is left as it is. `save_network` stores it.

    Raises:
        CannotCut: an unknown layer, a channel that does not exist, all channels of a layer, part
            of what goes together, or channels that may not go, such as the model's outputs.
    """
    check_model(model, with_numbers=False)
    cut_within = Within(model, within, example_inputs)
    plan = Plan(cut_within.part, cut_within.inputs)
    units = units_of(plan, layer_name, channel_indices)
    try:
        small = plan.cut(units)
    except CannotFollow as conflict:
        raise CannotCut(f"channels of {layer_name!r} can't go: {conflict}") from conflict
    if words := said_never_reached(plan, small):
        warnings.warn(words, LeftAlone, stacklevel=2)
    return cut_within.whole(small)


def prune_network(
    model: nn.Module,
    ratio: float | dict[str, float] | None = None,
    example_inputs=None,
    criterion: str | Callable[[Tensor], Tensor] | dict[str, Tensor] = "l1",
    scope: str = "uniform",
    exclude: str | tuple[str, ...] = (),
    round_to: int | None = None,
    seed: int = 0,
    target: dict[str, float] | None = None,
    max_ratio: float | None = None,
    within: str = "",
    relative: bool | None = None,
) -> nn.Module:
    r"""Remove the lowest-scoring channels of the whole network.

    A *unit* $u$ is a set of channels that must go together. Its score adds up the filters $W_j$
    that write it,

    $$s_u = \sum_{j \in u} \|W_j\|_p \tag{5.3}$$

    with $p$ = 1 ("l1") or 2 ("l2"); "bn_scale" adds up $|\gamma_j|$ of BatchNorm instead. In every
    group, all units side by side on one axis of a layer, the fraction `ratio` goes ("uniform"); or
    the lowest of the whole network go ("global"), of scores `relative` to their group's mean where
    layers differ in scale. A group keeps at least one unit. Where a forward divides its width by
    its number of heads, as `nn.MultiheadAttention` does, both lose the same fraction.

    Args:
        model, example_inputs: as in `prune_channels`.
        ratio: fraction of the units to remove, 0 ≤ ratio < 1, 0.5 if left out; or a dictionary
            from names of layers, or beginnings of names, to the fraction of their groups, where ""
            stands for all others, which else stay whole.
        criterion: "l1", "l2", "random", "bn_scale"; a function from a layer's weights
            `[channels, ...]` to a score a channel; or scores of all weights, as of `snip_scores` or
            `fisher_scores`.
        scope: "uniform" or "global".
        exclude: names of layers, or beginnings of names, whose output channels all stay.
        round_to: widths become the nearest multiple of this number, where they are cut at all.
        seed: draws the "random" scores.
        target: instead of a ratio, the share to keep: `{"parameters": 0.4}`, or `{"macs": 0.4}` as
            of `count_macs`. The smallest ratio that leaves at most so much is taken.
        max_ratio: with scope "global", no group loses a larger fraction.
        within: the name of a module that alone is cut, such as "backbone", with the inputs that it
            receives when the model runs on `example_inputs`; what it takes and returns keeps its
            width. For a forward that looks at values, as a detector's does. Names of layers are
            those inside of it, and a target is its share.
        relative: with scope "global", whether scores are divided by the mean of their group before
            they are ranked; if left out, norms are, and all others are taken as they are.

    Returns:
        A new network of ordinary modules; `model` is left as it is.

    Raises:
        ValueError: an argument out of range, a weight that is NaN or infinite.
        CannotCut: there is nothing in this network that can be cut.

    Warns:
        LeftAlone: some channels stay because nothing proves that cutting them would be right; or
            layers that the example never reached may not fit any longer.

    Source: Li et al. (2017), arXiv:1608.08710; for "bn_scale" Liu et al. (2017), arXiv:1708.06519.
    """
    amount = Amount(ratio, target, scope, max_ratio, round_to)
    check_amount(amount)
    check_criterion(criterion)
    check_relative(relative, scope)
    check_seed(seed)
    check_model(model, with_numbers=False)
    check_finite(model)
    cut_within = Within(model, within, example_inputs)
    plan = Plan(cut_within.part, cut_within.inputs)
    plan.exclude(exclude)
    scores = unit_scores(plan, criterion, seed)
    relative = is_relative(relative, criterion, scores)
    small = plan.cut_what_can_go(chooser(plan, scores, relative, amount))
    if small is None:
        raise CannotCut(nothing_cut(plan))
    for words in filter(None, (said_left_alone(plan), said_never_reached(plan, small))):
        warnings.warn(words, LeftAlone, stacklevel=2)
    return cut_within.whole(small)


def channel_groups(model: nn.Module, example_inputs, within: str = "") -> pd.DataFrame:
    """What must go together: a row for each group and each layer it touches.

    A *unit* is a set of channels that can only be removed together; a *group* is all units side
    by side on one axis of a layer. Half of every group is cut on trial, to find out what can't go.

    Args:
        model, example_inputs: as in `prune_channels`.
        within: as in `prune_network`.

    Returns:
        A table with the columns `group` (0: these channels stay), `layer`, `role` ("writes",
        "reads" or "carries"), `channels` and `units` (of the group in this layer), and `stays`
        (why they stay, or empty).

    Raises:
        CannotCut: the forward can't be followed.
    """
    channels = channel_table(model, example_inputs, within)
    by = ["group", "layer", "role", "stays"]
    counts = channels.groupby(by, sort=False)["unit"].agg(["size", "nunique"]).reset_index()
    counts = counts.rename(columns={"size": "channels", "nunique": "units"})
    return counts[["group", "layer", "role", "channels", "units", "stays"]]


def channel_table(model: nn.Module, example_inputs, within: str = "") -> pd.DataFrame:
    """Every channel of every layer with the unit and group it belongs to, for drawing.

    Args:
        model, example_inputs, within: as in `prune_network`.

    Returns:
        A table, one row a channel: `layer`, `role`, `channel`, `unit`, and `group` and `stays` as
        in `channel_groups`.

    Raises:
        CannotCut: the forward can't be followed.
    """
    check_model(model, with_numbers=False)
    part = Within(model, within, example_inputs)
    plan = Plan(part.part, part.inputs)
    plan.cut_what_can_go(first_half)
    return table(plan)
