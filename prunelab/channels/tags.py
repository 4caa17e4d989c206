"""A tensor of tags, and what can be asked of one.

Tags are integers. Most dimensions of an activation hold copies of the same tag (all pixels of a
channel, all images of a batch): they are *expanded*, with a stride of 0, so that they take no
memory and `distinct` finds the few entries that count.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

NEUTRAL, INPUT, FIXED = 0, 1, 2
"""Tags of a constant (padding, a number), which ties to nothing; of the model's input; and of
whatever else may not go."""
RESERVED = {INPUT: "reads the model's input", FIXED: "meets what may not go"}
MOST_TAGS = 2**31
LEAVES = (Tensor, int, float, str, type(None))
EMPTY = (dict, OrderedDict, set)


class Tags(Tensor):
    """Integer tags in the shape of the activation they stand for."""

    __torch_function__ = torch._C._disabled_torch_function_impl


def as_tags(tensor: Tensor) -> Tags:
    return torch.Tensor._make_subclass(Tags, tensor)


def kind(tags: Tags) -> torch.dtype | None:
    """What tags stand for that hold no fractions: indices, or a mask."""
    return getattr(tags, "kind", None)


def plain(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)


def leaves(*values) -> list:
    """All that containers hold; fast for what is none."""
    return [leaf for v in values for leaf in ([v] if isinstance(v, LEAVES) else tree_leaves(v))]


def is_fraction(value) -> bool:
    """Whether it is an activation, or another tensor that holds fractions."""
    return isinstance(value, Tags) or (isinstance(value, Tensor) and value.is_floating_point())


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


def one_along(tags: Tensor, dim: int) -> Tensor:
    """One tag of those along a dimension: the first, if there are no zeros of a padding."""
    first = tags.narrow(dim, 0, 1)
    if (distinct(plain(first)) != NEUTRAL).all():
        return first
    return distinct(plain(tags)).amax(dim, keepdim=True).expand(first.shape)


def meets(a: Tensor, b: Tags) -> bool:
    """Whether broadcasting pairs different entries of `a` with different tags of `b`."""
    dims = range(1, 1 + min(a.dim(), b.dim()))
    return any(a.size(-d) > 1 and varies(b, b.dim() - d) for d in dims)


def surviving(tags: Tensor, gone: Tensor, values: Tensor | None = None) -> Tensor:
    """Without the slices, along any dimension, of which every tag is gone.

    Args:
        values: what to take the slices from, in the shape of the tags; the tags themselves if None.
    """
    is_gone = gone[distinct(tags)]
    left = tags if values is None else values
    for d in range(tags.dim()) if is_gone.any() else ():
        if is_gone.size(d) == 1:
            continue
        kept = kept_along(is_gone, d)
        if len(kept) < is_gone.size(d):
            left = left.index_select(d, kept)
    return left


def same_tags(a: Tensor, b: Tensor) -> bool:
    """Whether shapes and tags are equal."""
    one, other = distinct(a), distinct(b)
    return a.shape == b.shape and torch.equal(*(one, other) if one.shape == other.shape else (a, b))


def ranks(tags: Tensor) -> Tensor:
    """For each element, how many equal tags come before it: its place within its channel."""
    in_order, order = tags.flatten().sort(stable=True)
    places = torch.arange(len(order))
    is_first = torch.ones(len(order), dtype=torch.bool)
    is_first[1:] = in_order[1:] != in_order[:-1]
    first = torch.where(is_first, places, 0).cummax(0).values
    return torch.empty_like(order).index_copy(0, order, places - first).view(tags.shape)


def has_copies(tags: Tensor) -> bool:
    """Whether a channel has several places along a dimension that has several channels."""
    tags = distinct(tags)
    return len(tags.unique()) < tags.numel()


def kept_along(gone: Tensor, dim: int) -> Tensor:
    """Indices of the slices that are not gone altogether."""
    return (~gone.movedim(dim, 0).reshape(gone.size(dim), -1).all(dim=1)).nonzero().flatten()


def hollow(device: str) -> Callable:
    """Replaces tensors by empty ones of their shape; tags count as float32, if they say nothing."""

    def replace(value):
        if not isinstance(value, Tensor):
            return value
        is_tags = isinstance(value, Tags)
        is_float = is_tags or value.is_floating_point()
        dtype = (kind(value) if is_tags else None) or (torch.float32 if is_float else value.dtype)
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


def known_copies(model: nn.Module) -> dict[int, object]:
    """What `deepcopy` need not work out: weights that a forward has computed and left in a module,
    which can only be copied without what they came from; and the many empty containers."""
    values = [value for module in model.modules() for value in vars(module).values()]
    copies: dict[int, object] = {id(v): type(v)() for v in values if _is_empty(v)}
    return copies | {id(v): v.detach() for v in values if isinstance(v, Tensor) and not v.is_leaf}


def _is_empty(value) -> bool:
    return type(value) in EMPTY and not value and not getattr(value, "__dict__", None)
