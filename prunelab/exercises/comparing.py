"""Whether an answer is the right one, and if not, which of the usual mistakes it is."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real

import numpy as np
import torch
from torch import Tensor

SHORT = 12


def problem_of_function(
    answer: Callable,
    solution: Callable,
    cases: Sequence[tuple],
    mistakes: Mapping[str, Callable],
    tolerance: float,
) -> str | None:
    """What is wrong with a function: it is compared with the solution on all cases.

    Args:
        answer: the function.
        solution: what is right.
        cases: tuples of arguments; every call gets copies of its own.
        mistakes: what to say, by wrong functions; said where an answer does as one of them.
        tolerance: relative, of numbers.
    """

    def agrees(other: Callable) -> bool:
        results = [call(other, case) for case in cases]
        return all(same(*pair, tolerance) for pair in zip(results, given, strict=True))

    given = [call(answer, case) for case in cases]
    wanted = [call(solution, case) for case in cases]
    pairs = zip(cases, given, wanted, strict=True)
    wrong = next((pair for pair in pairs if not same(*pair[1:], tolerance)), None)
    if wrong is None:
        return None
    case, got, right = wrong
    if not all(isinstance(result, Exception) for result in given):
        for text, other in mistakes.items():
            if agrees(other):
                return text
    if isinstance(got, Tensor) and isinstance(right, Tensor) and got.shape == right.shape:
        return problem_at_a_place(case, got, right)
    return f"For {listed(case)} it {outcome(got, right)}"


def problem_at_a_place(case: tuple, got: Tensor, right: Tensor) -> str:
    """What is wrong with a tensor where it is most so, and what stands there in the arguments."""
    if got.numel() <= SHORT:
        return f"For {listed(case)} it gives {shown(got)}: not right."
    off = (got.double() - right.double()).abs()
    place = tuple(int(index) for index in torch.unravel_index(off.argmax(), off.shape))
    there = [
        one[place] if isinstance(one, Tensor) and one.shape == right.shape else one for one in case
    ]
    how = difference(got[place].item(), right[place].item())
    return f"At {list(place)}, for {listed(there)}, it gives {shown(got[place])}: {how}."


def problem_of_value(answer, right, mistakes: Mapping[str, object], tolerance: float) -> str | None:
    """What is wrong with a value.

    Args:
        answer: the value.
        right: what is right.
        mistakes: what to say, by wrong values.
        tolerance: relative, of numbers.
    """
    answer = plain(answer)
    if same(answer, right, tolerance):
        return None
    for text, wrong in mistakes.items():
        if same(answer, wrong, tolerance):
            return text
    if isinstance(right, Real) and not isinstance(answer, Real | Tensor):
        return f"A number is wanted, and this is {shown(answer)}."
    if isinstance(right, Real) and 0 < right < 1 and same(answer, 100 * right, tolerance):
        return "That is in percent; a share between 0 and 1 is wanted."
    return f"{shown(answer)} is {difference(answer, right)}. The hints say where to look."


def call(function: Callable, arguments: tuple):
    """A function's result, or the error that it raised."""
    try:
        return plain(function(*copy.deepcopy(arguments)))
    except Exception as error:
        return error


def plain(value):
    """numpy's numbers and arrays as Python's and torch's."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    return value.item() if isinstance(value, np.generic) else value


def same(one, other, tolerance: float) -> bool:
    """Whether two results are the same: numbers and tensors within a relative tolerance.

    A mask may be of True and False or of 1 and 0; for a list, a tuple or a tensor will do.
    """
    one, other = plain(one), plain(other)
    if isinstance(one, Tensor) and isinstance(other, list | tuple):
        one = one.tolist()
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape:
            return False
        one, other = one.detach().double(), other.detach().double()
        largest = other.abs().max().item() if other.numel() else 0.0
        return torch.allclose(one, other, rtol=0, atol=max(1e-9, tolerance * largest))
    if isinstance(one, Tensor | Real) and isinstance(other, Tensor | Real):
        one, other = (torch.as_tensor(x).double().flatten() for x in (one, other))
        if not len(one) == len(other) == 1:
            return False
        return math.isclose(one.item(), other.item(), rel_tol=tolerance, abs_tol=1e-9)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[k], other[k], tolerance) for k in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(*pair, tolerance) for pair in pairs)
    if isinstance(one, Exception) or type(one) is not type(other):
        return type(one) is type(other)
    return bool(one == other)


def outcome(got, right) -> str:
    """What a function did instead of giving the right result: the end of a sentence."""
    if isinstance(got, Exception):
        return f"raises {shown(got)}."
    if got is None:
        return "gives None. Is a `return` missing?"
    return f"gives {shown(got)}: {difference(got, right)}."


def difference(got, right) -> str:
    """In words how a result differs from the right one, without telling it."""
    if isinstance(got, Tensor) and got.numel() == 1 and isinstance(right, Real):
        got = got.item()
    if isinstance(got, Real) and isinstance(right, Real):
        if isinstance(right, bool) or math.isnan(got):
            return "not right"
        return "too large" if got > right else "too small"
    if isinstance(got, Tensor) and isinstance(right, Tensor) and got.shape != right.shape:
        return f"of shape {tuple(got.shape)}, and {tuple(right.shape)} is wanted"
    if isinstance(got, list | tuple) and isinstance(right, list | tuple):
        lengths = f"{len(got)} values, and {len(right)} are wanted"
        return "not right" if len(got) == len(right) else lengths
    if type(got) is not type(right):
        wanted = "a number" if isinstance(right, Real) else type(right).__name__
        return f"of type {type(got).__name__}, and {wanted} is wanted"
    return "not right"


def listed(arguments: Iterable) -> str:
    return ", ".join(map(shown, arguments))


def shown(value) -> str:
    """A value in few words."""
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, Tensor) and value.numel() > SHORT:
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Tensor):
        return shown(value.tolist())
    if isinstance(value, bool | int | str) or value is None:
        return repr(value)
    if isinstance(value, Real):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    if isinstance(value, list | tuple) and len(value) <= SHORT:
        return f"[{listed(value)}]"
    if isinstance(value, Mapping) and len(value) <= SHORT:
        return "{" + ", ".join(f"{shown(k)}: {shown(v)}" for k, v in value.items()) + "}"
    of_shape = (
        f" of shape {value.shape}" if isinstance(getattr(value, "shape", None), tuple) else ""
    )
    return f"a {type(value).__name__}{of_shape}"
