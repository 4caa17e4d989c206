"""Cases of recurrent layers, as in `surgery_cases`; `n` has six hidden channels."""

import torch
from torch import Tensor, nn
from torch.nn import Linear

from tests.surgery_cases import Net, parameter, rows


def of_time(name: str, n: nn.Module | None = None, run=None, width: int = 6, **layers) -> Net:
    """Tokens go through a recurrent layer `n`, between linear layers `a` and `b`."""
    layers = {"n": n, "b": Linear(width, 8)} | layers
    return rows(name, run or (lambda m, x: m.b(m.n(m.a(x))[0])), **layers)


def step_by_step(m, x: Tensor) -> Tensor:
    state, states = None, []
    for token in m.a(x).unbind(1):
        state = m.n(token, state)
        states.append(state[0] if isinstance(state, tuple) else state)
    return m.b(torch.stack(states, 1))


def encode_and_decode(m, x: Tensor) -> Tensor:
    _, state = m.encoder(m.a(x))
    return m.b(m.n(m.a(x), state)[0])


def last_state(m, x: Tensor) -> Tensor:
    """The last state of both directions of the upper layer."""
    _, (h, _) = m.n(m.a(x))
    return m.b(torch.cat([h[-2], h[-1]], 1))


def learned_state(m, x: Tensor) -> Tensor:
    return m.b(m.n(m.a(x), m.first.expand(-1, 2, -1).contiguous())[0])


def packed(m, x: Tensor) -> Tensor:
    lengths = torch.tensor([5, 3])
    y = nn.utils.rnn.pack_padded_sequence(m.a(x), lengths, batch_first=True)
    return m.b(nn.utils.rnn.pad_packed_sequence(m.n(y)[0], batch_first=True)[0])


first = {"batch_first": True}
for kind in (nn.RNN, nn.LSTM, nn.GRU):
    name = kind.__name__
    of_time(f"{name} -> a n b", kind(8, 6, **first))
    of_time(f"{name} of two layers -> a n b", kind(8, 6, 2, bias=False))
    both = kind(8, 6, 2, bidirectional=True, **first)
    of_time(f"{name} in both directions -> a n b", both, width=12)
    of_time(f"{name} token by token -> a n b", getattr(nn, f"{name}Cell")(8, 6), step_by_step)
of_time("LSTM of one sentence -> a n b", nn.LSTM(8, 6), lambda m, x: m.b(m.n(m.a(x[0]))[0]))
both = nn.LSTM(8, 6, 2, bidirectional=True, **first)
of_time("last state of LSTM -> a n b", both, last_state, width=12)
pair = {"encoder": nn.LSTM(8, 6, **first), "n": nn.LSTM(8, 6, **first)}
of_time("encoder and decoder -> a encoder n b", run=encode_and_decode, **pair)
of_time(
    "learned first state -> a n b", nn.GRU(8, 6, **first), learned_state, first=parameter(1, 1, 6)
)
of_time("LSTM with proj_size -> b", nn.LSTM(8, 6, proj_size=4, **first), width=4)
of_time("packed LSTM -> nothing", nn.LSTM(8, 6, **first), packed)
