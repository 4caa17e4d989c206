"""Rules of operations over many elements: pooling, sums, averages, the greatest."""

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from prunelab.channels.findings import Findings
from prunelab.channels.rules import elementwise, no_rule, rule
from prunelab.channels.tags import as_tags, dry_run, one_along, varies

POOLS = """
    max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d interpolate upsample max_pool2d_with_indices
    max_pool1d_with_indices max_pool3d_with_indices adaptive_max_pool1d_with_indices
    adaptive_max_pool2d_with_indices adaptive_max_pool3d_with_indices
"""
REDUCTIONS = """
    mean sum amax amin var std prod logsumexp nansum nanmean any all std_mean var_mean
"""


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


@rule("max_unpool1d max_unpool2d max_unpool3d", follows="output_size")
def unpool(found, func, input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Places are counted within each channel, so that they go where it goes."""
    how = (indices, kernel_size, stride, padding, output_size)
    tags = pool(found, func, input, *how)
    found.tie(pool(found, func, indices, *how), tags)
    return tags


@rule(REDUCTIONS)
def reduce(found, func, *args, **kwargs):
    return over(found, func, args, kwargs)


@rule("norm linalg_norm linalg_vector_norm")
def norm(found, func, *args, **kwargs):
    return over(found, func, args, kwargs, place=2)


@rule("max min median nanmedian mode cummax cummin")
def greatest(found, func, *args, **kwargs):
    """Of two tensors; or along a dimension, with the index of it, which belongs to the channel."""
    if torch.is_tensor(args[1] if len(args) > 1 else kwargs.get("other")):
        return elementwise(found, func, *args, **kwargs)
    return over(found, func, args, kwargs)


@rule("softmax softmin log_softmax cumsum cumprod logcumsumexp")
def along_one(found, func, *args, **kwargs):
    tags, dims = _given(found, args, kwargs, place=1)
    if not is_one_channel(found, tags, dims):
        return no_rule(found, func, args, kwargs)
    return as_tags(tags)


def over(found: Findings, func, args: tuple, kwargs: dict, place: int = 1):
    """What comes out of the elements along dimensions, given as an argument in this place."""
    tags, dims = _given(found, args, kwargs, place)
    if not is_one_channel(found, tags, dims):
        return no_rule(found, func, args, kwargs)
    for d in dims:
        tags = one_along(tags, d)

    def expanded(result: Tensor) -> Tensor:
        left = tags if result.dim() == tags.dim() else tags.squeeze(dims)
        return as_tags(left.expand(result.shape))

    return tree_map(expanded, dry_run(func, args, kwargs))


def _given(found: Findings, args: tuple, kwargs: dict, place: int) -> tuple[Tensor, list[int]]:
    """The tags, and the dimensions; none where they are not given."""
    tags = found.tags(args[0] if args else kwargs["input"])
    dim = args[place] if len(args) > place else kwargs.get("dim", kwargs.get("axis"))
    dims = [dim] if isinstance(dim, int) else dim
    is_given = isinstance(dims, list | tuple) and not any(isinstance(d, bool) for d in dims)
    return tags, [d % tags.dim() for d in dims] if is_given else []


def is_one_channel(found: Findings, tags: Tensor, dims: list[int]) -> bool:
    """Whether all along these dimensions is one channel; it becomes one if others are beside it."""
    others = [d for d in range(tags.dim()) if d not in dims]
    is_beside = found.decide(any(varies(tags, d) for d in others))
    if not dims or not any(varies(tags, d) for d in dims):
        return bool(dims)
    first = tags
    for d in dims:
        first = one_along(first, d)
    if is_beside:
        found.tie(tags, first)
    return is_beside
