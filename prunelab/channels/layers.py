"""Rules of layers with weights, and of normalization."""

import torch
from torch import Tensor

from prunelab.channels.findings import Findings, Step
from prunelab.channels.rules import mixes, no_rule, rule
from prunelab.channels.tags import FIXED, along, as_tags, dry_run, filled, varies

# --- layers with weights -------------------------------------------------------------------------


@rule("linear")
def linear(found, func, input, weight, bias=None):
    shape = dry_run(func, (input, weight, bias), {}).shape
    written = found.axis(weight, 0, found.writes)
    found.tie(found.tags(input), found.axis(weight, 1, found.reads))
    found.carry(bias, written)
    return as_tags(written.expand(shape))


@rule("conv1d conv2d conv3d", follows="groups")
def convolution(found, func, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    arguments = (input, weight, bias, stride, padding, dilation, groups)
    shape = dry_run(func, arguments, {}).shape
    tags, channel = found.tags(input), input.dim() - weight.dim() + 1
    written = found.axis(weight, 0, found.writes)
    if groups == 1:
        found.tie(tags, along(found.axis(weight, 1, found.reads), channel, tags.dim()))
    else:
        of_groups = tags.movedim(channel, -1).unflatten(-1, (groups, -1))
        outputs = written.view(groups, -1)
        if in_whole_groups(found, weight, weight.size(1), outputs.size(1)):
            found.tie(outputs, outputs[:, :1])
            found.tie(of_groups, outputs[:, :1])
        else:
            found.tie(outputs, outputs[:1])
            found.tie(of_groups, found.axis(weight, 1, found.reads))
    found.carry(bias, written)
    return as_tags(along(written, channel, len(shape)).expand(shape))


def in_whole_groups(found: Findings, weight: Tensor, read: int, written: int) -> bool:
    """Whether a group goes as a whole, its inputs with its outputs; else each group keeps its
    place, and all lose the same positions.

    Args:
        read, written: how many channels a group reads and writes.
    """
    name = found.names.get(id(weight), "")
    is_whole = found.decide(min(read, written) == 1 or name in found.whole_groups)
    if not is_whole:
        found.narrowed_groups.add(name)
    return is_whole


@rule("conv_transpose1d conv_transpose2d conv_transpose3d", follows="groups")
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
    shape = dry_run(func, arguments, {}).shape
    tags, channel = found.tags(input), input.dim() - weight.dim() + 1
    of_groups = tags.movedim(channel, -1).unflatten(-1, (groups, -1))
    read, width = weight.size(0) // groups, weight.size(1)
    if groups > 1 and in_whole_groups(found, weight, read, width):
        inputs = found.axis(weight, 0, found.writes).view(groups, -1)
        found.tie(inputs, inputs[:, :1])
        written = inputs[:, :1].expand(-1, width).flatten()
    else:  # the weights of all groups lie side by side, so that one cut goes through all
        inputs = found.axis(weight, 0, found.reads).view(groups, -1)
        found.tie(inputs, inputs[:1])
        written = found.axis(weight, 1, found.writes).repeat(groups)
    found.tie(of_groups, inputs)
    found.carry(bias, written)
    return as_tags(along(written, channel, len(shape)).expand(shape))


@rule("embedding")
def embedding(found, func, input, weight, padding_idx=None, max_norm=None, *args, **kwargs):
    if max_norm is not None:
        return no_rule(found, func, (input, weight, padding_idx, max_norm, *args), kwargs)
    written = found.axis(weight, 1, found.writes)
    return as_tags(written.expand(*input.shape, -1))


# --- normalization -------------------------------------------------------------------------------


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
        is_head = mixes(found, func.__name__, tags, tags.dim() - 1)
        return as_tags(tags if is_head else filled(FIXED, tags.shape))
    if weight is None or not is_whole:
        return no_rule(found, func, (input, normalized_shape, weight, bias), {})
    found.carry(weight, tags)
    if isinstance(bias, Tensor):  # for rms_norm it is the number eps
        found.carry(bias, tags)
    return as_tags(tags)


@rule("group_norm", follows="num_groups")
def group_norm(found, func, input, num_groups, weight=None, bias=None, *args, **kwargs):
    tags = found.tags(input)
    if weight is None:
        return no_rule(found, func, (input, num_groups), {})
    groups = tags.unflatten(1, (num_groups, -1))
    found.step(Step("groups", found.described(groups.size(2)), []))
    found.tie(groups, groups[:, :, :1])  # a group goes as a whole
    for vector in (weight, bias):
        if vector is not None:
            found.tie(along(found.axis(vector, 0), 1, tags.dim()), tags)
    return as_tags(tags)
