"""What each operation does with channels: one function for a kind of operations.

To add a rule, write a function here and put `@rule("name", ...)` above it, with the names of the
operations as torch calls them (`F.hardswish` is "hardswish", `x + y` is "__add__"). If a known kind
does the same, put the name in its list instead (`ELEMENTWISE`, `MOVES`, ...). A rule is called as
`function(found, func, *args, **kwargs)`: with the findings of the pass, the operation, and its
arguments, where activations are `Tags`. It calls `found.tie` for tags that are one channel,
`found.fix` for those that may not go, and returns the tags of the result. What it does not know it
hands to `no_rule`. Then add a case with the operation to tests/surgery_cases.py.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from prunelab.channels.findings import Findings
from prunelab.channels.tags import (
    FIXED,
    NEUTRAL,
    Tags,
    along,
    as_tags,
    distinct,
    dry_run,
    filled,
    meets,
    varies,
)

ELEMENTWISE = """
    relu relu6 hardtanh sigmoid hardsigmoid tanh hardswish gelu silu mish leaky_relu elu selu celu
    softplus softsign logsigmoid threshold clamp clip neg abs exp log sqrt rsqrt square erf pow
    where add sub mul div true_divide rsub maximum minimum lerp __pow__ __neg__ __add__ __sub__
    __mul__ __truediv__ __radd__ __rsub__ __rmul__ __rtruediv__ __iadd__ __isub__ __imul__
    __itruediv__
"""
PASSES = """
    contiguous clone detach to type type_as float double half bfloat16 requires_grad dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout nan_to_num cpu cuda
"""
MOVES = """
    view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims moveaxis
    movedim t unsqueeze squeeze stack chunk split tensor_split unbind narrow select index_select
    __getitem__ expand expand_as repeat repeat_interleave roll flip channel_shuffle pixel_shuffle
    pixel_unshuffle
"""
POOLS = """
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d interpolate upsample max_pool2d_with_indices
    adaptive_max_pool2d_with_indices
"""

RULES: dict[str, Callable] = {}
RESIZED: set[str] = set()
"""Operations whose numbers may depend on how many channels there are: sizes, groups."""


def rule(names: str, resized: bool = False) -> Callable:
    """Register the rule of these operations, by their names with spaces in between."""

    def register(function: Callable) -> Callable:
        for name in names.split():
            if name in RULES:
                raise ValueError(f"{name!r} has a rule already, {RULES[name].__name__}")
            RULES[name] = function
            if resized:
                RESIZED.add(name)
        return function

    return register


def operation_name(func: Callable) -> str:
    """`add` for `add_` and for `_add` too, but `__add__` as it is."""
    name = func.__name__
    return name if name.startswith("__") else name.strip("_")


def no_rule(found: Findings, func: Callable, args: tuple, kwargs: dict, why: str = ""):
    """Nothing is known of what the operation does with channels: all it touches stay."""
    why = why or f"enters `{func.__name__.strip('_')}`, which may mix channels"
    found.step("fixes", [])
    for tensor in tree_leaves((args, kwargs)):
        if isinstance(tensor, Tags):
            found.fix(tensor, why)
        elif found.is_parameter(tensor):
            found.give_up(found.names[id(tensor)], why)
    return tree_map(
        lambda t: as_tags(filled(FIXED, t.shape)) if torch.is_tensor(t) else t,
        dry_run(func, args, kwargs),
    )


# --- element by element --------------------------------------------------------------------------


@rule(ELEMENTWISE)
def elementwise(found, func, *args, **kwargs):
    return combine(found, [t for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)])


def combine(found: Findings, operands: list[Tensor]) -> Tags:
    """Elements that meet are one channel."""
    result = operands[0]
    for other in operands[1:]:
        left, right = _beside(found, result, other), _beside(found, other, result)
        found.tie(left, right)
        shape = torch.broadcast_shapes(result.shape, other.shape)
        if (distinct(left) == NEUTRAL).any():
            one_number = left.numel() == 1
            left = right if one_number else torch.maximum(*torch.broadcast_tensors(left, right))
        result = as_tags(left.expand(shape))
    return result if isinstance(result, Tags) else as_tags(found.tags(result))


def _beside(found: Findings, a: Tensor, b: Tensor) -> Tensor:
    """Tags of `a` where it meets `b`; neutral where one value of it serves many channels of `b`."""
    if isinstance(b, Tags) and not meets(a, b):
        if not isinstance(a, Tags):
            return torch.tensor(NEUTRAL)
        if any(varies(b, d) for d in range(b.dim())):
            found.fix(a, "is one value for many channels")
            return torch.tensor(NEUTRAL)
    return found.tags(a)


@rule("glu")
def glu(found, func, input, dim=-1):
    dry_run(func, (input, dim), {})
    return combine(found, [as_tags(half) for half in found.tags(input).chunk(2, dim)])


@rule(PASSES)
def passes(found, func, *args, **kwargs):
    return as_tags(found.tags(args[0] if args else kwargs["input"]))


# --- data movement -------------------------------------------------------------------------------


@rule(MOVES, resized=True)
def move(found, func, *args, **kwargs):
    """Executed on the tags as it is."""
    name = operation_name(func)
    indices = args[1:] if name in ("__getitem__", "index_select") else ()
    if any(isinstance(t, Tags) for t in tree_leaves(indices)):
        return no_rule(found, func, args, kwargs)
    if func.__name__ == f"{name}_":  # in place
        return func(*args, **kwargs)
    if name in ("view", "view_as"):  # expanded tags have no contiguous view
        func = torch.Tensor.reshape if name == "view" else torch.Tensor.reshape_as

    def movable(value):
        is_fraction = torch.is_tensor(value) and value.is_floating_point()
        return found.tags(value) if isinstance(value, Tags) or is_fraction else value

    moved = func(*tree_map(movable, args), **tree_map(movable, kwargs))
    for part in tree_leaves(moved):
        found.step("moves", part)
    return tree_map(lambda t: as_tags(t) if torch.is_tensor(t) else t, moved)


@rule("__iter__")
def iterate(found, func, input):
    return iter(move(found, torch.unbind, input))


@rule("pad", resized=True)
def pad(found, func, input, pad, mode="constant", value=None):
    tags, pad = found.tags(input), list(pad)
    for i in range(len(pad) // 2):  # pairs from the last dimension on
        d = tags.dim() - 1 - i
        if not varies(tags, d):  # the border belongs to the same channel
            shape = list(tags.shape)
            shape[d] += pad[2 * i] + pad[2 * i + 1]
            tags = tags.narrow(d, 0, 1).expand(shape)
            pad[2 * i : 2 * i + 2] = 0, 0
    if not any(pad):
        return as_tags(tags)
    if mode == "constant":
        tags = F.pad(tags, pad, value=NEUTRAL)
    else:  # torch mirrors no integers
        tags = F.pad(tags.double(), pad, mode).long()
    found.step("moves", tags)
    return as_tags(tags)


@rule("cat concat concatenate")
def concatenate(found, func, tensors, dim=0, **kwargs):
    parts = [found.tags(t) for t in tensors]
    dim = kwargs.get("axis", dim) % parts[0].dim()
    shape = list(parts[0].shape)
    shape[dim] = sum(part.size(dim) for part in parts)
    ends = [part.narrow(dim, 0, 1) for part in parts]
    if any(varies(ends[0], d) for d in range(len(shape))):  # channels beside one another
        for end in ends[1:]:
            found.tie(end, ends[0])
    for d in range(len(shape)):  # keep what is expanded expanded
        if d != dim and all(part.stride(d) == 0 for part in parts):
            parts = [part.narrow(d, 0, 1) for part in parts]
    tags = torch.cat(parts, dim).expand(shape)
    found.step("moves", tags)
    return as_tags(tags)


# --- over many elements --------------------------------------------------------------------------


@rule(POOLS)
def pool(found, func, *args, **kwargs):
    tags = found.tags(args[0] if args else kwargs["input"])
    pooled = next((int(c) for c in func.__name__ if c.isdigit()), tags.dim() - 2)
    dims = range(tags.dim() - pooled, tags.dim())
    if any(varies(tags, d) for d in dims):
        return no_rule(found, func, args, kwargs)
    for d in dims:
        tags = tags.narrow(d, 0, 1)
    return tree_map(lambda t: as_tags(tags.expand(t.shape)), dry_run(func, args, kwargs))


@rule("mean sum amax amin var std")
def reduce(found, func, input, dim=None, *args, **kwargs):
    tags = found.tags(input)
    if dim is None or isinstance(dim, bool):
        return no_rule(found, func, (input,) if dim is None else (input, dim), kwargs)
    dims = [d % tags.dim() for d in ([dim] if isinstance(dim, int) else dim)]
    if any(varies(tags, d) for d in dims):
        return no_rule(found, func, (input, dim, *args), kwargs)
    found.step("reduces", [tags.size(d) for d in dims])
    for d in dims:
        tags = tags.narrow(d, 0, 1)
    return as_tags(tags.reshape(dry_run(func, (input, dim, *args), kwargs).shape))


@rule("softmax log_softmax")
def softmax(found, func, input, dim=None, *args, **kwargs):
    tags = found.tags(input)
    if dim is None or varies(tags, dim % tags.dim()):
        return no_rule(found, func, (input, dim, *args), kwargs)
    found.step("reduces", [tags.size(dim)])
    return as_tags(tags)


# --- layers with weights -------------------------------------------------------------------------


@rule("linear")
def linear(found, func, input, weight, bias=None):
    shape = dry_run(func, (input, weight, bias), {}).shape
    written = found.axis(weight, 0, found.writes)
    found.tie(found.tags(input), found.axis(weight, 1, found.reads))
    found.carry(bias, written)
    return as_tags(written.expand(shape))


@rule("conv1d conv2d conv3d", resized=True)
def convolution(found, func, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    arguments = (input, weight, bias, stride, padding, dilation, groups)
    shape = dry_run(func, arguments, {}).shape
    tags, channel = found.tags(input), input.dim() - weight.dim() + 1
    written = found.axis(weight, 0, found.writes)
    if groups == 1 and not found.was_grouped(weight):
        found.tie(tags, along(found.axis(weight, 1, found.reads), channel, tags.dim()))
    else:  # a group goes as a whole, its inputs with its outputs
        first = written.view(groups, -1)[:, :1]
        found.tie(written.view(groups, -1), first)
        found.tie(tags.movedim(channel, -1).unflatten(-1, (groups, -1)), first)
    found.carry(bias, written)
    return as_tags(along(written, channel, len(shape)).expand(shape))


@rule("conv_transpose1d conv_transpose2d conv_transpose3d", resized=True)
def transposed_convolution(
    found,
    func,
    input,
    weight,
    bias=None,
    stride=1,
    padding=0,
    output_padding=0,
    groups=1,
    dilation=1,
):
    arguments = (input, weight, bias, stride, padding, output_padding, groups, dilation)
    if groups != 1:
        return no_rule(found, func, arguments, {})
    shape = dry_run(func, arguments, {}).shape
    tags, channel = found.tags(input), input.dim() - weight.dim() + 1
    written = found.axis(weight, 1, found.writes)
    found.tie(tags, along(found.axis(weight, 0, found.reads), channel, tags.dim()))
    found.carry(bias, written)
    return as_tags(along(written, channel, len(shape)).expand(shape))


@rule("embedding")
def embedding(found, func, input, weight, padding_idx=None, max_norm=None, *args, **kwargs):
    if max_norm is not None:
        return no_rule(found, func, (input, weight, padding_idx, max_norm, *args), kwargs)
    written = found.axis(weight, 1, found.writes)
    return as_tags(written.expand(*input.shape, -1))


# --- normalization -------------------------------------------------------------------------------


@rule("batch_norm instance_norm", resized=True)
@rule("prelu")
def channelwise(found, func, input, *args, **kwargs):
    """Every tensor argument is a vector over the channels."""
    tags = found.tags(input)
    vectors = [v for v in (*args, *kwargs.values()) if torch.is_tensor(v) and v.numel() > 1]
    if vectors:
        axes = [along(found.axis(vector, 0), 1, tags.dim()) for vector in vectors]
        found.tie(torch.stack(axes), tags)
    return as_tags(tags)


@rule("layer_norm rms_norm", resized=True)
def layer_norm(found, func, input, normalized_shape, weight=None, bias=None, *args, **kwargs):
    tags = found.tags(input)
    if weight is None or input.shape[-len(normalized_shape) :] != tuple(normalized_shape):
        return no_rule(found, func, (input, normalized_shape, weight, bias), {})
    found.carry(weight, tags)
    if isinstance(bias, Tensor):  # for rms_norm it is the number eps
        found.carry(bias, tags)
    return as_tags(tags)


@rule("group_norm", resized=True)
def group_norm(found, func, input, num_groups, weight=None, bias=None, *args, **kwargs):
    tags = found.tags(input)
    if weight is None:
        return no_rule(found, func, (input, num_groups), {})
    groups = tags.unflatten(1, (num_groups, -1))
    found.tie(groups, groups[:, :, :1])  # a group goes as a whole
    for vector in (weight, bias):
        if vector is not None:
            found.tie(along(found.axis(vector, 0), 1, tags.dim()), tags)
    return as_tags(tags)
