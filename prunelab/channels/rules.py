"""What each operation does with channels: one function for a kind of operations.

To add a rule, write a function here and put `@rule("name", ...)` above it, with the names of the
operations as torch calls them (`F.hardswish` is "hardswish", `x + y` is "__add__"); in `moves` if
it moves data, in `averages` if it computes with many elements, in `layers` or `normalization` if it
is a layer, in `attention` if it sums products of activations. If a known kind does the same, put
the name in its list instead (`ELEMENTWISE`, `COMPARISONS`, `MOVES`, `POOLS`, `REDUCTIONS`). A rule
is called as `function(found, func, *args, **kwargs)`: with the findings of the pass, the operation,
and its arguments, where activations are `Tags`. It calls `found.tie` for tags that are one channel,
`found.fix` for those that may not go, and returns the tags of the result. What it does not know it
hands to `no_rule`. Averages and the like check that the tags they average are one channel.

The cut network must call the operation with the same arguments. If one of them is the width itself
(the number of groups, say), the rule names it, `@rule("name", follows="groups")`, and checks it. A
choice between ways that are equally right is made with `found.decide`, once for both networks.
Then add a case with the operation to one of tests/*_cases.py.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from prunelab.channels.findings import Findings, Step
from prunelab.channels.tags import (
    FIXED,
    NEUTRAL,
    Tags,
    as_tags,
    distinct,
    dry_run,
    filled,
    hollow,
    is_fraction,
    leaves,
    meets,
    one_along,
    plain,
    varies,
)

ELEMENTWISE = """
    relu relu6 hardtanh sigmoid hardsigmoid tanh hardswish gelu silu mish leaky_relu elu selu celu
    softplus softsign logsigmoid threshold hardshrink softshrink tanhshrink clamp clip clamp_min
    clamp_max neg negative positive abs absolute sign sgn exp exp2 expm1 log log2 log10 log1p logit
    sqrt rsqrt square reciprocal erf erfc sin cos tan sinc asin acos atan arcsin arccos arctan sinh
    cosh asinh acosh atanh floor ceil round trunc fix frac isnan isinf isfinite pow float_power
    where add sub subtract mul multiply div divide true_divide floor_divide rsub fmod remainder
    maximum minimum fmax fmin lerp addcmul addcdiv atan2 arctan2 hypot copysign logaddexp __pow__
    __rpow__ __neg__ __add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ __radd__ __rsub__
    __rmul__ __rtruediv__ __rdiv__ __iadd__ __isub__ __imul__ __itruediv__ masked_fill logical_not
    logical_and logical_or logical_xor __invert__ __and__ __or__ __xor__
"""
COMPARISONS = "eq ne lt le gt ge __eq__ __ne__ __lt__ __le__ __gt__ __ge__"
PASSES = """
    contiguous clone detach to type type_as float double half bfloat16 requires_grad dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout nan_to_num cpu cuda zero
"""

RULES: dict[str, Callable] = {}
FOLLOWS: dict[str, dict[str, int] | None] = {}
"""The arguments of an operation that may follow the width, by name, with their places; or all."""
ALL = "all"


def rule(names: str, follows: str = "") -> Callable:
    """Register the rule of these operations.

    Args:
        names: the operations, with spaces in between.
        follows: the arguments that may follow the width, checked by the rule; or `ALL` of them.
    """

    def register(function: Callable) -> Callable:
        arguments = list(inspect.signature(function).parameters)[2:]
        for name in names.split():
            if name in RULES:
                raise ValueError(f"{name!r} has a rule already, {RULES[name].__name__}")
            RULES[name] = function
            if follows:
                places = {word: arguments.index(word) for word in follows.split() if word != ALL}
                FOLLOWS[name] = places or None
        return function

    return register


def unfollowed(name: str, args: tuple, kwargs: dict) -> tuple[list, dict]:
    """The arguments that may not follow the width."""
    follows = FOLLOWS.get(name, {})
    if follows is None:
        return [value for value in tree_leaves((args, kwargs)) if is_fraction(value)], {}
    return (
        [value for i, value in enumerate(args) if i not in follows.values()],
        {key: value for key, value in kwargs.items() if key not in follows},
    )


def operation_name(func: Callable) -> str:
    """`add` for `add_` and for `_add` too, but `__add__` as it is."""
    name = func.__name__
    return name if name.startswith("__") else name.strip("_")


def no_rule(found: Findings, func: Callable, args: tuple, kwargs: dict, why: str = ""):
    """Nothing is known of what the operation does with channels: all it touches stay."""
    why = why or f"enters `{func.__name__.strip('_')}`, which may mix channels"
    found.why = why
    found.step(Step("no rule", [], []))
    for tensor in tree_leaves((args, kwargs)):
        if isinstance(tensor, Tags):
            found.fix(tensor, why)
        elif found.is_parameter(tensor):
            found.give_up(found.names[id(tensor)], why)
    return tree_map(
        lambda t: as_tags(filled(FIXED, t.shape)) if torch.is_tensor(t) else t,
        dry_run(func, args, kwargs),
    )


def mixes(found: Findings, name: str, tags: Tensor, dim: int) -> bool:
    """Whether there are other channels beside those along a dimension, which are one then."""
    if not any(varies(tags, d) for d in range(tags.dim()) if d != dim % tags.dim()):
        found.fix(tags, f"enters `{name}`, which may mix channels")
        return False
    before = len(found.ties)
    found.tie(tags, one_along(tags, dim))
    found.early += found.ties[before:]
    return True


# --- element by element --------------------------------------------------------------------------


@rule(ELEMENTWISE)
def elementwise(found, func, *args, **kwargs):
    given = leaves(*args, *kwargs.values())
    return combine(found, [t for t in given if torch.is_tensor(t)])


@rule(COMPARISONS)
def compare(found, func, input, other):
    is_value = isinstance(other, Tensor | int | float)
    return elementwise(found, func, input, other) if is_value else func(torch.zeros(1), other)


def combine(found: Findings, operands: list[Tensor]) -> Tags:
    """Elements that meet are one channel."""
    result = operands[0]
    for other in operands[1:]:
        left, right = _beside(found, result, other), _beside(found, other, result)
        found.tie(left, right)
        shape = torch.broadcast_shapes(result.shape, other.shape)
        if found.decide(left.shape != shape and right.shape == shape):
            left, right = right, left  # tags as various as there are
        if (distinct(left) == NEUTRAL).any():
            one_number = left.numel() == 1
            left = right if one_number else torch.maximum(*torch.broadcast_tensors(left, right))
        result = as_tags(left.expand(shape))
    return as_tags(plain(result) if isinstance(result, Tags) else found.tags(result))


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
    given = args[0] if args else kwargs["input"]
    if torch.is_tensor(given) and not (isinstance(given, Tags) or found.is_parameter(given)):
        others = tree_map(hollow("cpu"), args[1:])
        return func(*args[:1], *others, **kwargs)
    return as_tags(found.tags(given))
