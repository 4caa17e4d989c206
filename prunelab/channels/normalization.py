"""Rules of normalization, as a layer and written by hand.

What LayerNorm, RMSNorm and a GroupNorm of one group compute from all channels they compute from
those that are left. The same holds where it is written by hand: for a mean or a deviation over the
channels that is used for nothing but to normalize them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunelab.channels.findings import Findings, Step
from prunelab.channels.numbers import channels_along
from prunelab.channels.rules import mixes, no_rule, operation_name, rule
from prunelab.channels.tags import FIXED, Tags, along, as_tags, dry_run, filled, plain, varies

# --- layers --------------------------------------------------------------------------------------


@rule("batch_norm instance_norm")
def batch_norm(found, func, input, *args, **kwargs):
    """What is averaged, over all dimensions but the second, goes as a whole."""
    first = tags = found.tags(input)
    for d in range(tags.dim()):
        first = first if d == 1 else first.narrow(d, 0, 1)
    found.tie(first, tags)
    return channelwise(found, func, input, *args, **kwargs)


@rule("prelu")
def channelwise(found, func, input, *args, **kwargs):
    """Every tensor argument is a vector over the channels."""
    tags = found.tags(input)
    vectors = [v for v in (*args, *kwargs.values()) if torch.is_tensor(v) and v.numel() > 1]
    if vectors:
        axes = [along(found.axis(vector, 0), 1, tags.dim()) for vector in vectors]
        found.tie(torch.stack(axes), tags)
    return as_tags(tags)


@rule("layer_norm rms_norm", follows="normalized_shape")
def layer_norm(found, func, input, normalized_shape, weight=None, bias=None, *args, **kwargs):
    tags = found.tags(input)
    is_whole = input.shape[-len(normalized_shape) :] == tuple(normalized_shape)
    if is_whole and not any(varies(tags, tags.dim() - 1 - d) for d in range(len(normalized_shape))):
        return as_tags(tags)  # within one channel, as a head is
    if is_whole and weight is None and len(normalized_shape) == 1:
        if any(varies(tags, d) for d in range(tags.dim() - 1)):
            mixes(found, func.__name__, tags, tags.dim() - 1)  # each head within itself
        else:
            _counted(found, "normalized_shape", tags, tags.dim() - 1)
        return as_tags(tags)
    if weight is None or not is_whole:
        return no_rule(found, func, (input, normalized_shape, weight, bias), {})
    if len(normalized_shape) == 1:
        _counted(found, "normalized_shape", tags, tags.dim() - 1)
    found.carry(weight, tags)
    if isinstance(bias, Tensor):  # for rms_norm it is the number eps
        found.carry(bias, tags)
    return as_tags(tags)


@rule("group_norm", follows="num_groups")
def group_norm(found, func, input, num_groups, weight=None, bias=None, *args, **kwargs):
    first = tags = found.tags(input)
    for d in range(2, tags.dim()):
        first = first.narrow(d, 0, 1)
    found.tie(first, tags)
    if found.decide(num_groups == 1):
        found.step(Step("one group", found.described([num_groups]), []))
    else:
        groups = tags.unflatten(1, (num_groups, -1))
        if weight is None:
            return no_rule(found, func, (input, num_groups), {})
        found.step(Step("channels of a group", found.described([groups.size(2)]), []))
        found.tie(groups, groups[:, :, :1])  # a group goes as a whole
    vectors = [vector for vector in (weight, bias) if vector is not None]
    for vector in vectors:
        found.tie(along(found.axis(vector, 0), 1, tags.dim()), tags)
    if not vectors:
        _counted(found, "num_channels", tags, 1)
    return as_tags(tags)


def _counted(found: Findings, attribute: str, tags: Tensor, dim: int) -> None:
    """The running module says by number how many channels it expects; of those of torch with a
    weight `cut` knows."""
    name, module, _ = found.running[-1]
    size = tags.size(dim)
    is_known = type(module) in (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm)
    is_known = is_known and module.weight is not None
    if not is_known and getattr(module, attribute, None) in (size, (size,)):
        counted = found.named_axis(f"{name}.{attribute}", 0, tags.shape[dim : dim + 1])
        found.tie(along(counted, dim, tags.dim()), tags)


# --- by hand -------------------------------------------------------------------------------------

PASSES = ("to", "float", "double", "half", "bfloat16", "type", "type_as", "contiguous", "detach")
ADDS = ("add", "__add__", "__radd__", "clamp", "clamp_min")
SMALL = 0.01
"""The most that is added to a deviation, so that it is not zero."""
SUBTRACTS = ("sub", "__sub__", "subtract")
MULTIPLIES = ("mul", "__mul__", "__rmul__", "multiply")
DIVIDES = ("div", "__truediv__", "divide", "true_divide")
ROOTS = {"sqrt": "deviation", "rsqrt": "inverse", 0.5: "deviation", -0.5: "inverse"}
STATISTICS = {"mean": "mean", "var": "variance", "std": "deviation"}


class Normalized(NamedTuple):
    """What an activation is on the way to a normalized one.

    Attributes:
        kind: "mean", "variance", "deviation" or "inverse" of it, all with one value for many
            channels; or "centered" or the "squares" of that, with channels as before.
        channels: which they are, along `dim`.
        is_of_centered: whether only what is centered may be divided by it.
    """

    kind: str
    channels: Tensor
    dim: int
    is_of_centered: bool = False


def by_hand(found: Findings, func, args: tuple, kwargs: dict) -> Tags | None:
    """The result of an operation that is part of a normalization; None if it may be none."""
    name = operation_name(func)
    given = [*args, *kwargs.values()]
    tensors = [value for value in given if torch.is_tensor(value)]
    if not all(isinstance(t, Tags) for t in tensors) or "out" in kwargs or not given:
        return None
    if name in STATISTICS:
        return _statistic(found, func, args, kwargs)
    steps = [value.__dict__.get("step") if isinstance(value, Tags) else None for value in given]
    if not any(steps) or func.__name__.endswith("_") != name.endswith("_") or len(given) > 2:
        return None
    if name in PASSES and steps[0]:
        return _next(args[0], steps[0])
    if len(tensors) == 2 and len(given) == 2:
        return _of_two(name, *given, *steps)
    return _of_one(name, given, next(filter(None, steps)), tensors[0])


def _statistic(found: Findings, func, args: tuple, kwargs: dict) -> Tags | None:
    input = args[0] if args else kwargs.get("input")
    dims = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
    dims = [dims] if type(dims) is int else dims
    if not isinstance(input, Tags) or not isinstance(dims, list | tuple):
        return None
    step, tags = getattr(input, "step", None), plain(input)
    is_varied = [d for d in range(tags.dim()) if varies(tags, d)]
    result = dry_run(func, args, kwargs)
    is_over_all = len(is_varied) == 1 and is_varied[0] in [d % tags.dim() for d in dims]
    if not is_over_all or result.dim() != tags.dim():
        return None
    channels = channels_along(tags, is_varied[0])
    if channels is None or (step and step.kind not in ("centered", "squares")):
        return None
    kind = STATISTICS[operation_name(func)]
    step = Normalized(kind, channels, is_varied[0], is_of_centered=kind != "mean")
    return _next(filled(FIXED, result.shape), step)


def _next(tags: Tensor, step: Normalized) -> Tags:
    result = as_tags(plain(tags))
    result.step = step
    result.mixes = step.channels, "enters `mean`, which may mix channels"
    return result


def _of_one(name: str, given: list, step: Normalized, tags: Tags) -> Tags | None:
    """A statistic or a centered activation and a number."""
    number = next((value for value in given if isinstance(value, int | float)), None)
    is_power = name in ("pow", "__pow__") and given[0] is tags
    if step.kind == "centered":
        is_square = name == "square" or (is_power and number == 2)
        return _next(tags, step._replace(kind="squares")) if is_square else None
    if name in ADDS and number is not None and 0 <= number <= SMALL:
        return _next(tags, step)
    root = ROOTS.get(number if is_power else name)
    if root and step.kind in ("mean", "variance"):
        return _next(tags, step._replace(kind=root))
    is_inverse = name in ("reciprocal", "__rtruediv__", "__rdiv__") or (is_power and number == -1)
    if is_inverse and step.kind == "deviation" and number in (None, 1, -1):
        return _next(tags, step._replace(kind="inverse"))
    return None


def _of_two(name: str, one: Tags, other: Tags, step: Normalized, of_other: Normalized):
    """An activation and a statistic of the same channels."""
    if name in MULTIPLIES and one is other and step.kind == "centered":
        return _next(one, step._replace(kind="squares"))
    if name in MULTIPLIES and step and step.kind == "inverse":
        one, other, step, of_other = other, one, of_other, step
    if not of_other or one.dim() != other.dim() or (step and step.kind != "centered"):
        return None
    tags = plain(one).expand(torch.broadcast_shapes(one.shape, other.shape))
    channels = channels_along(tags, of_other.dim)
    is_same = channels is not None and torch.equal(channels, of_other.channels)
    is_same = is_same and sum(varies(tags, d) for d in range(tags.dim())) == 1
    if not is_same or (of_other.is_of_centered and not step):
        return None
    if name in SUBTRACTS and of_other.kind == "mean" and not step:
        return _next(tags, of_other._replace(kind="centered"))
    divides = name in DIVIDES and of_other.kind in ("mean", "deviation")
    multiplies = name in MULTIPLIES and of_other.kind == "inverse"
    return as_tags(tags) if divides or multiplies else None
