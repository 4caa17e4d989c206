"""A tensor of tags, and what can be asked of one.

Tags are integers. Most dimensions of an activation hold copies of the same tag (all pixels of a
channel, all images of a batch): they are *expanded*, with a stride of 0, so that they take no
memory and `distinct` finds the few entries that count.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

NEUTRAL, INPUT, FIXED = 0, 1, 2
"""Tags of a constant (padding, a number), which ties to nothing; of the model's input; and of
whatever else may not go."""
RESERVED = {INPUT: "reads the model's input", FIXED: "meets what may not go"}
MOST_TAGS = 2**31


class Tags(Tensor):
    """Integer tags in the shape of the activation they stand for."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def as_tags(tensor: Tensor) -> Tags:
    return torch.Tensor._make_subclass(Tags, tensor)


def plain(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)


def filled(tag: int, shape) -> Tensor:
    return torch.tensor(tag).expand(shape)


def along(vector: Tensor, dim: int, dims: int) -> Tensor:
    """The vector along one of so many dimensions."""
    return vector.view([-1 if d == dim else 1 for d in range(dims)])


def pair_codes(low: Tensor, high: Tensor) -> Tensor:
    """One integer for each pair of tags."""
    return low * MOST_TAGS + high


def distinct(tensor: Tensor) -> Tensor:
    """Without the copies along expanded dimensions."""
    for d in range(tensor.dim()):
        if tensor.size(d) > 1 and tensor.stride(d) == 0:
            tensor = tensor.narrow(d, 0, 1)
    return tensor


def varies(tags: Tensor, dim: int) -> bool:
    """Whether there are different channels along this dimension."""
    if tags.size(dim) == 1 or tags.stride(dim) == 0:
        return False
    tags = distinct(plain(tags))
    return bool((tags != tags.narrow(dim, 0, 1)).any())


def meets(a: Tensor, b: Tags) -> bool:
    """Whether broadcasting pairs different entries of `a` with different tags of `b`."""
    dims = range(1, 1 + min(a.dim(), b.dim()))
    return any(a.size(-d) > 1 and varies(b, b.dim() - d) for d in dims)


def surviving(tags: Tensor, gone: Tensor) -> Tensor:
    """Without the slices, along any dimension, of which every tag is gone."""
    compact, shape = distinct(tags), list(tags.shape)
    is_gone = gone[compact]
    for d in range(tags.dim()) if is_gone.any() else ():
        kept = kept_along(is_gone, d)
        if len(kept) < compact.size(d):
            compact, shape[d] = compact.index_select(d, kept), len(kept)
    return compact.expand(shape)


def kept_along(gone: Tensor, dim: int) -> Tensor:
    """Indices of the slices that are not gone altogether."""
    return (~gone.movedim(dim, 0).reshape(gone.size(dim), -1).all(dim=1)).nonzero().flatten()


def hollow(device: str) -> Callable:
    """Replaces tensors by empty ones of their shape; tags count as float32."""

    def replace(value):
        if not isinstance(value, Tensor):
            return value
        is_float = isinstance(value, Tags) or value.is_floating_point()
        dtype = torch.float32 if is_float else value.dtype
        return torch.zeros(value.shape, dtype=dtype, device=device)

    return replace


def dry_run(func: Callable, args: tuple, kwargs: dict):
    """The outputs of an operation, without their values."""
    replace = hollow("meta")
    return func(*tree_map(replace, args), **tree_map(replace, kwargs))


def tags_in(outputs, depth: int = 0) -> Iterator[Tags]:
    """Tags in containers and in the attributes of objects."""
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, Tags):
            yield leaf
        elif depth < 4 and hasattr(leaf, "__dict__"):
            yield from tags_in(vars(leaf), depth + 1)
