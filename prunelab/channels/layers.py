"""Rules of layers with weights."""

from torch import Tensor

from prunelab.channels.findings import Findings
from prunelab.channels.rules import no_rule, rule
from prunelab.channels.tags import along, as_tags, dry_run


@rule("linear")
def linear(found, func, input, weight, bias=None):
    is_usual = bias is None or bias.shape == weight.shape[:1]
    shape = dry_run(func, (input, weight, None if is_usual else bias), {}).shape
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
