"""Rules of operations that move data: what they do to activations is done to tags."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves, tree_map

from prunelab.channels.findings import Move, Step
from prunelab.channels.numbers import channels_along, widths_said
from prunelab.channels.rules import ALL, no_rule, operation_name, rule
from prunelab.channels.tags import (
    NEUTRAL,
    Tags,
    as_tags,
    dry_run,
    is_fraction,
    leaves,
    ranks,
    varies,
)

MOVES = """
    view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims moveaxis
    movedim t unsqueeze squeeze stack chunk split tensor_split unbind narrow select index_select
    __getitem__ expand expand_as repeat repeat_interleave roll flip channel_shuffle pixel_shuffle
    pixel_unshuffle
"""
SPLITS = ("chunk", "split", "tensor_split")
# --- data movement -------------------------------------------------------------------------------


@rule(MOVES, follows=ALL)
def move(found, func, *args, **kwargs):
    """Executed on the tags as it is."""
    name, given = operation_name(func), leaves(*args, *kwargs.values())
    indices = args[1:] if name in ("__getitem__", "index_select") else ()
    if "out" in kwargs or any(isinstance(t, Tags) for t in tree_leaves(indices)):
        return no_rule(found, func, args, kwargs)
    if func.__name__ == f"{name}_":  # in place
        found.step(Step(name, found.described(given), []))
        func(*args, **kwargs)
        found.step(Step(name, [], args[:1]))
        return args[0]
    if name in ("view", "view_as"):  # expanded tags have no contiguous view
        func = torch.Tensor.reshape if name == "view" else torch.Tensor.reshape_as

    def tags(value):
        return found.tags(value) if is_fraction(value) else value

    def places() -> list[Tensor]:
        places_given = tree_map(lambda v: ranks(tags(v)) if is_fraction(v) else v, (args, kwargs))
        return tree_leaves(func(*places_given[0], **places_given[1]))

    tags_given = tree_map(tags, (args, kwargs))
    moved = func(*tags_given[0], **tags_given[1])
    sources = [tags(t) for t in given if is_fraction(t)]
    sizes = found.described(given)
    found.step(Step(name, [], tree_leaves(moved), Move(sizes, sources, places)))
    if name in SPLITS:
        dim = args[2] if len(args) > 2 else kwargs.get("dim", 0)
        parts = [channels_along(part, dim) for part in moved]
        found.parts += [parts] if all(part is not None for part in parts) else []
    moved = tree_map(lambda t: as_tags(t) if torch.is_tensor(t) else t, moved)
    widths_said(found, moved)
    return moved


@rule("__iter__")
def iterate(found, func, input):
    parts = move(found, torch.unbind, input)
    found.mark(parts)
    return iter(parts)


@rule("pad")
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
    return as_tags(torch.cat(parts, dim).expand(shape))


@rule("hstack column_stack vstack row_stack dstack")
def stack_along(found, func, tensors, **kwargs):
    """Concatenation along a dimension that the name says, for tensors that have it."""
    dim = {"h": 1, "c": 1, "v": 0, "r": 0, "d": 2}[func.__name__[0]]
    if kwargs or min(t.dim() for t in tensors) < max(2, dim + 1):
        return no_rule(found, func, (tensors,), kwargs)
    return concatenate(found, func, tensors, dim)


@rule("index_add index_copy")
def index_add(found, func, input, dim, index, source, **kwargs):
    """Elements at other places of the same channels."""
    tags, others = found.tags(input), found.tags(source)
    if isinstance(index, Tags) or varies(tags, dim) or varies(others, dim):
        return no_rule(found, func, (input, dim, index, source), kwargs)
    dry_run(func, (input, dim, index, source), kwargs)
    found.tie(tags.narrow(dim, 0, 1), others.narrow(dim, 0, 1))
    return as_tags(tags)
