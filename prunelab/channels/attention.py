"""Rules of attention: sums over the products of two activations, and layers made of them.

A head goes as a whole: where a sum mixes the channels of a head, beside those of other heads, they
are tied to each other and to what they are multiplied by.
"""

import torch
from torch import Tensor, nn

from prunelab.channels.findings import Findings, Step
from prunelab.channels.numbers import heads_said
from prunelab.channels.rules import combine, mixes, no_rule, operation_name, rule
from prunelab.channels.tags import (
    FIXED,
    NEUTRAL,
    Tags,
    as_tags,
    distinct,
    dry_run,
    filled,
    one_along,
    plain,
    varies,
)


def summed(found: Findings, name: str, left: Tensor, right: Tensor, dims: list[int]) -> Tags:
    """The product of two tensors of tags, summed over dimensions that both have."""
    count = max(left.dim(), right.dim())
    dims = [dim % count - count for dim in dims]
    left, right = _without_shared(found, left, right, dims)
    before = len(found.ties)
    product = plain(combine(found, [as_tags(left), as_tags(right)]))
    found.early += found.ties[before:]
    for dim in dims:
        if varies(product, dim) and not mixes(found, name, product, dim):
            product = filled(FIXED, product.shape)
        else:
            for side in (side for side in (left, right) if varies(side, dim)):
                heads_said(found, side.narrow(dim, 0, 1).unique(), product.size(dim))
        product = one_along(product, dim)
    return as_tags(product)


def _without_shared(found: Findings, left: Tensor, right: Tensor, dims: list[int]) -> tuple:
    """The factors, neutral where one serves many heads of the other and has none of its own, as
    keys and values in multi-query attention: it stays."""
    one, other = (
        [d for d in range(-side.dim(), 0) if d not in dims and varies(side, d)]
        for side in (left, right)
    )
    has_channels = all(len(distinct(side).unique()) > 1 for side in (left, right))
    is_one_sided = has_channels and bool(one or other) and not set(one) & set(other)
    found.has_shared |= is_one_sided
    is_one_sided &= found.keeps_shared
    if found.decide(is_one_sided and (not one or (bool(other) and other < one))):
        found.fix(left, "is one value for many channels")
        return filled(NEUTRAL, left.shape), right
    if found.decide(is_one_sided):
        found.fix(right, "is one value for many channels")
        return left, filled(NEUTRAL, right.shape)
    return left, right


@rule("normalize")
def normalize(found, func, input, p=2.0, dim=1, eps=1e-12, out=None):
    arguments = (input, p, dim, eps, out)
    dry_run(func, arguments, {})
    tags = found.tags(input)
    if out is not None or not isinstance(dim, int):
        return no_rule(found, func, arguments, {})
    if varies(tags, dim % tags.dim()) and not mixes(found, "normalize", tags, dim):
        return as_tags(filled(FIXED, tags.shape))
    return as_tags(tags)


def layer(found: Findings, activation: Tensor, weight: Tensor, read: int) -> Tags:
    """A matrix reads the last dimension of an activation, and writes channels there."""
    found.tie(found.tags(activation), found.axis(weight, read, found.reads))
    written = found.axis(weight, 1 - read, found.writes)
    return as_tags(written.expand(*activation.shape[:-1], -1))


def is_layer(found: Findings, activation: Tensor, weight: Tensor, dim: int) -> bool:
    """Whether a matrix of the model reads an activation that has channels only along `dim`."""
    is_matrix = isinstance(weight, nn.Parameter) and weight.dim() == 2
    if not (is_matrix and found.is_parameter(weight) and isinstance(activation, Tags)):
        return False
    others = [d for d in range(activation.dim()) if d != dim % activation.dim()]
    return not any(varies(activation, d) for d in others)


def operand(found: Findings, tensor: Tensor) -> Tensor:
    """Tags of a factor; a parameter that is not understood as a layer keeps its elements."""
    if found.is_parameter(tensor):
        found.give_up(found.names[id(tensor)], "is a factor of a matrix product")
    return found.tags(tensor)


# --- products ------------------------------------------------------------------------------------


@rule("matmul bmm mm __matmul__")
def matmul(found, func, input, other):
    shape = dry_run(func, (input, other), {}).shape
    has_tags = isinstance(input, Tags) or isinstance(other, Tags)
    if not has_tags or min(input.dim(), other.dim()) < 2:
        return no_rule(found, func, (input, other), {})
    if is_layer(found, input, other, -1):
        return layer(found, input, other, 0)
    left, right = operand(found, input).unsqueeze(-1), operand(found, other).unsqueeze(-3)
    tags = summed(found, operation_name(func), left, right, [max(left.dim(), right.dim()) - 2])
    return as_tags(tags.squeeze(-2).expand(shape))


@rule("addmm")
def addmm(found, func, input, mat1, mat2, *args, **kwargs):
    arguments = (input, mat1, mat2, *args)
    if args or kwargs or not is_layer(found, mat1, mat2, -1) or input.dim() != 1:
        return no_rule(found, func, arguments, kwargs)
    dry_run(func, arguments, kwargs)
    tags = layer(found, mat1, mat2, 0)
    found.carry(input, plain(tags))
    return tags


@rule("einsum")
def einsum(found, func, equation, *operands):
    """Two factors in explicit notation; a matrix of the model among them may be a layer."""
    operands = operands[0] if isinstance(operands[0], list | tuple) else operands
    shape = dry_run(func, (equation, *operands), {}).shape
    given, arrow, result = equation.replace(" ", "").partition("->")
    parts = given.split(",")
    is_known = arrow and "." not in equation and len(operands) == 2
    is_known = is_known and all(len(set(part)) == len(part) for part in parts)
    if not is_known or not any(isinstance(t, Tags) for t in operands):
        return no_rule(found, func, (equation, *operands), {})
    added = sorted(set("".join(parts)) - set(result))
    for (weight, part), (activation, other) in _both_ways(operands, parts):
        read = [d for d, letter in enumerate(part) if letter in added]
        is_sum = len(read) == len(added) == 1 and added[0] in other and len(part) == 2
        if is_sum and part[1 - read[0]] not in other:
            dim = other.index(added[0])
            if is_layer(found, activation, weight, dim):
                tags = layer(found, as_tags(plain(activation).movedim(dim, -1)), weight, read[0])
                order = other.replace(added[0], "") + part[1 - read[0]]
                return as_tags(tags.permute([order.index(letter) for letter in result]))
    order = result + "".join(added)
    sides = []
    for tensor, part in zip(operands, parts, strict=True):
        tags = operand(found, tensor).permute([part.index(c) for c in order if c in part])
        sides.append(tags[tuple(slice(None) if c in part else None for c in order)])
    tags = summed(found, "einsum", *sides, list(range(len(result), len(order))))
    return as_tags(tags.reshape(tags.shape[: len(result)]).expand(shape))


def _both_ways(operands: tuple, parts: list[str]):
    one, other = zip(operands, parts, strict=True)
    return (one, other), (other, one)


# --- attention -----------------------------------------------------------------------------------


def attend(found: Findings, name: str, q: Tensor, k: Tensor, v: Tensor, mask=None) -> tuple:
    """Tags of the scores, and of what comes out, for tags `[..., head, token, channel]`."""
    scores = summed(found, name, q.unsqueeze(-2), k.unsqueeze(-3), [-1])[..., 0]
    if mask is not None:
        scores = combine(found, [as_tags(scores), mask])
    result = summed(found, name, scores.unsqueeze(-1), v.unsqueeze(-3), [-2])
    return scores, result[..., 0, :]


@rule("scaled_dot_product_attention")
def attention(
    found,
    func,
    query,
    key,
    value,
    attn_mask=None,
    dropout_p=0.0,
    is_causal=False,
    scale=None,
    enable_gqa=False,
):
    options = {"scale": scale, "enable_gqa": enable_gqa}
    arguments = (query, key, value, attn_mask, dropout_p, is_causal)
    shape = dry_run(func, arguments, options).shape
    found.step(Step("channels of a head", found.described([query.size(-1)]), []))
    q, k, v = map(found.tags, (query, key, value))
    if enable_gqa:
        k = k.repeat_interleave(q.size(-3) // k.size(-3), -3)
        v = v.repeat_interleave(q.size(-3) // v.size(-3), -3)
    _, result = attend(found, operation_name(func), q, k, v, attn_mask)
    return as_tags(result.expand(shape))


@rule("multi_head_attention_forward", follows="embed_dim_to_check num_heads")
def multi_head(
    found,
    func,
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    **options,
):
    arguments = (query, key, value, embed_dim_to_check, num_heads, in_proj_weight, in_proj_bias)
    arguments += (bias_k, bias_v, add_zero_attn, dropout_p, out_proj_weight, out_proj_bias)
    output, weights = _returned(func, arguments, options)
    if why := _not_understood(bias_k, add_zero_attn, options):
        return no_rule(found, func, arguments, options, why)
    if in_proj_weight is not None:
        written = found.axis(in_proj_weight, 0, found.writes)
        reads = [found.axis(in_proj_weight, 1, found.reads)] * 3
    else:
        matrices = [options[f"{name}_proj_weight"] for name in "qkv"]
        written = torch.cat([found.axis(matrix, 0, found.writes) for matrix in matrices])
        reads = [found.axis(matrix, 1, found.reads) for matrix in matrices]
    for tensor, read in zip((query, key, value), reads, strict=True):
        found.tie(found.tags(tensor), read)
    found.carry(in_proj_bias, written)
    q, k, v = written.view(3, num_heads, 1, -1)
    scores, result = attend(found, func.__name__, q, k, v)
    found.tie(result.flatten(), found.axis(out_proj_weight, 1, found.reads))
    written = found.axis(out_proj_weight, 0, found.writes)
    found.carry(out_proj_bias, written)
    if weights is not None:
        weights = _attention_weights(plain(scores), weights.shape, options)
    return as_tags(written.expand(output.shape)), weights


def _returned(func, arguments: tuple, options: dict) -> tuple[Tensor, Tensor | None]:
    """What attention returns, without values; usual biases change nothing, and take long there."""
    given = list(arguments)
    for place, rows in ((6, 3 * arguments[3]), (12, len(arguments[11]))):
        if given[place] is not None and given[place].shape == (rows,):
            given[place] = None
    return dry_run(func, tuple(given), options)


def _not_understood(bias_k, add_zero_attn: bool, options: dict) -> str:
    mask = options.get("attn_mask")
    if bias_k is not None or add_zero_attn:
        return "enters attention with keys of its own (add_bias_kv or add_zero_attn)"
    if options.get("static_k") is not None or options.get("static_v") is not None:
        return "enters attention with fixed keys or values"
    return "meets a mask for each head" if mask is not None and mask.dim() == 3 else ""


def _attention_weights(heads: Tensor, shape: torch.Size, options: dict) -> Tags:
    """One of each head; or their average, which mixes the heads of whoever uses it."""
    if options.get("average_attn_weights", True):
        average = as_tags(filled(FIXED, shape))
        average.mixes = heads, "is averaged over the heads in the attention weights"
        return average
    return as_tags(heads.expand(shape))
