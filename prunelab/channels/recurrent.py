"""Rules of recurrent layers.

A hidden channel goes from every gate that writes it, stacked in the rows of the weights, and from
all that reads it: the next step, and the next layer. Layers and directions have one width in torch,
so all lose the same positions.
"""

import torch
from torch import Tensor

from prunelab.channels.findings import Findings
from prunelab.channels.rules import no_rule, operation_name, rule
from prunelab.channels.tags import Tags, as_tags, dry_run

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
NUMBERS = "enters a recurrent layer that begins with fixed numbers"


@rule("lstm gru rnn_tanh rnn_relu", follows="hx")
def recurrent(
    found,
    func,
    input,
    hx,
    params,
    has_biases,
    num_layers=1,
    dropout=0.0,
    train=False,
    bidirectional=False,
    batch_first=False,
):
    arguments = (input, hx, params, has_biases, num_layers, dropout, train, bidirectional)
    arguments += (batch_first,)
    states = hx if isinstance(hx, tuple | list) else (hx,)
    if not isinstance(has_biases, bool):
        arguments = arguments[:9]
        return no_rule(found, func, arguments, {}, "enters a recurrent layer as packed sequences")
    if _begin_with_numbers(found, states):
        return no_rule(found, func, arguments, {}, NUMBERS)
    output, *last = dry_run(func, arguments, {})
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    if each != (4 if has_biases else 2):
        return no_rule(found, func, arguments, {}, "enters a recurrent layer with proj_size")
    tags = found.tags(input)
    hidden: list[Tensor] = []
    for first in range(0, len(params), each * directions):
        starts = range(first, first + each * directions, each)
        written = [_hidden(found, func, tags, *params[i : i + each]) for i in starts]
        tags, hidden = torch.cat(written), [*hidden, *written]
    every = torch.stack(hidden)
    found.tie(every, every[0])
    every = every if last[0].dim() == 2 else every[:, None]
    for state in states:
        _begins_with(found, state, every)
    return as_tags(tags.expand(output.shape)), *(as_tags(every.expand(t.shape)) for t in last)


@rule("lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell", follows="hx")
def recurrent_cell(found, func, input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    arguments = (input, hx, w_ih, w_hh, b_ih, b_hh)
    states = hx if isinstance(hx, tuple | list) else (hx,)
    if _begin_with_numbers(found, states):
        return no_rule(found, func, arguments, {}, NUMBERS)
    result = dry_run(func, arguments, {})
    hidden = _hidden(found, func, found.tags(input), w_ih, w_hh, b_ih, b_hh)
    for state in states:
        _begins_with(found, state, hidden)
    if isinstance(result, Tensor):
        return as_tags(hidden.expand(result.shape))
    return tuple(as_tags(hidden.expand(t.shape)) for t in result)


def _begin_with_numbers(found: Findings, states) -> bool:
    plain = [s for s in states if not (isinstance(s, Tags) or found.is_parameter(s))]
    return any(bool(state.any()) for state in plain)


def _hidden(found: Findings, func, tags: Tensor, w_ih, w_hh, *biases) -> Tensor:
    """The channels that one direction of a layer writes."""
    gates = GATES[operation_name(func).split("_")[0]]
    hidden = found.axis(w_hh, 1, found.reads)
    found.tie(tags, found.axis(w_ih, 1, found.reads))
    for weight in (w_ih, w_hh):
        found.tie(found.axis(weight, 0, found.writes).view(gates, -1), hidden)
    for bias in biases:
        if bias is not None:
            found.tie(found.axis(bias, 0).view(gates, -1), hidden)
    return hidden


def _begins_with(found: Findings, state: Tensor, hidden: Tensor) -> None:
    """The first state has the channels of the later ones, if it is not zero."""
    if isinstance(state, Tags) or found.is_parameter(state):
        found.tie(found.tags(state), hidden)
