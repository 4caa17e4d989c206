"""Networks in which the width enters the computation in some other way than as a dimension.

In each, layer `b` writes the eight channels `y` that the trap gets; `a` before it has no trap. What
is cut must compute what it must; else it is refused or left alone.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.surgery import prune_channels, prune_network
from tests.surgery_cases import Net, conv, image
from tests.surgery_oracle import cut_or_refuse, randomize


def rows(y):
    """Channels last, one row an image: [B, T, C]."""
    return y.flatten(2).mT


def maps(y):
    return y.mT.unflatten(2, (8, 8))


def branch(y):
    return y.mT if y.size(1) > 6 else y


def written(y):
    buffer = torch.zeros(2, 1, 1, 1).to(y)
    buffer.add_(y.sum((1, 2, 3), keepdim=True))
    return y * buffer


def out_argument(y):
    buffer = torch.zeros(2, 1, 8, 8).to(y)
    with torch.no_grad():
        torch.sum(y, 1, keepdim=True, out=buffer)
    return y + buffer


def late(m, y):
    z = m.out(y)
    return z * 2 if m.training and y.size(1) > 6 else z


def pool(size, **options):
    return lambda y: F.avg_pool2d(F.pad(y, (8, 8, 8, 8)), size(y), 1, **options)


def one(y, value):
    """One value for all channels, as a tensor."""
    return y * value.to(y)


def swap(y):
    z = torch.sigmoid(y)
    pair = [y, z] if y.size(1) > 6 else [z, y]
    return pair[0] - 2 * pair[1]


def flat(y, move):
    return move(y.flatten(1))


OF_CHANNELS = {  # a function of y
    "instance_norm over channels": lambda y: maps(F.instance_norm(rows(y))),
    "batch_norm of rows": lambda y: maps(F.batch_norm(rows(y), None, None, training=True)),
    "batch_norm of folded channels": lambda y: F.batch_norm(
        y.reshape(-1, 1, 8, 8), None, None, training=True
    ).view(y.shape),
    "eps of batch_norm": lambda y: F.batch_norm(y, None, None, training=True, eps=1 / y.size(1)),
    "group_norm without weights": lambda y: F.group_norm(y, y.size(1) // 2),
    "new_full": lambda y: one(y, y.new_zeros(1).cpu().new_full((1, 1, 8, 8), y.size(1))),
    "torch.full": lambda y: one(y, torch.full((8, 8), y.size(1))),
    "full_like of a slice": lambda y: y * torch.full_like(y[:, :1], y.size(1)),
    "linspace": lambda y: one(y, torch.linspace(0, y.size(1), 8)),
    "arange by the width": lambda y: one(y, torch.arange(8) % y.size(1)),
    "array": lambda y: y * np.full((1, 1, 8, 8), y.size(1)),
    "array of channels": lambda y: y * np.arange(y.size(1)).reshape(1, -1, 1, 1),
    "list of numbers": lambda y: one(y, torch.tensor([y.size(1)] * 8)),
    "mask by the width": lambda y: y.where(torch.arange(8) < y.size(1) // 2, 0.0),
    "where over channels": lambda y: torch.where(
        (torch.arange(y.size(1)) < y.size(1) // 2).view(1, -1, 1, 1), y, -y
    ),
    "stride of a pool": lambda y: F.max_pool2d(y, 2, y.size(1) // 4),
    "kernel of a pool": pool(lambda y: y.size(1) - 1),
    "divisor of a pool": pool(lambda y: 3, divisor_override=None, count_include_pad=False),
    "divisor by width": lambda y: F.avg_pool2d(y, 3, 1, 1, divisor_override=y.size(1)),
    "size of adaptive pooling": lambda y: F.adaptive_avg_pool2d(y, (y.size(1), 4)),
    "size of interpolation": lambda y: F.interpolate(y, size=(y.size(1), y.size(1))),
    "padded by width": lambda y: F.pad(y, (0, y.size(1))),
    "padded with width": lambda y: F.pad(y, (1, 1), value=y.size(1)),
    "reflected by width": lambda y: F.pad(y, (0, y.size(1) - 2, 0, 0), mode="reflect"),
    "as_strided": lambda y: y.contiguous().as_strided((2, 8, 8, 8), (y.stride(0), 64, 8, 1)),
    "times a stride": lambda y: y * y.stride(0) / 100,
    "rolled by width": lambda y: y.roll(y.size(1) // 2, 2),
    "flipped along a dimension by width": lambda y: y.flip(1 + y.size(1) // 4 // 2 + 1),
    "transposed by width": lambda y: y.transpose(-1, -2 + (y.size(1) < 6)),
    "row by width": lambda y: y * y[:, :, y.size(1) - 2][:, :, None],
    "rows up to width": lambda y: y[:, :, : y.size(1)],
    "narrowed by width": lambda y: y.narrow(2, y.size(1) // 2, 3),
    "image by width": lambda y: y + list(y)[y.size(1) % 8 // 4],
    "index by width": lambda y: y.index_select(2, torch.arange(8) % y.size(1)),
    "step through pixels": lambda y: flat(y, lambda z: z[:, ::65])[:, :, None, None],
    "step of pixels by width": lambda y: flat(y, lambda z: z[:, y.size(1) :: 64])[..., None, None],
    "first pixels of each": lambda y: flat(y, lambda z: z[:, ::64])[:, :, None, None],
    "divided by root of width": lambda y: y / math.sqrt(y.size(1)),
    "dropout by width": lambda y: F.dropout(y, 1 / y.size(1) ** 8),
    "leaky slope by width": lambda y: F.leaky_relu(y, 1 / y.size(1)),
    "mean of all": lambda y: y - y.mean(),
    "mean over channels and space": lambda y: y / (1 + y.square().mean((1, 2, 3), keepdim=True)),
    "std over channels": lambda y: y / y.std(1, keepdim=True),
    "correction by width": lambda y: y * y.var(3, correction=8 - y.size(1), keepdim=True),
    "cumulative sum": lambda y: y.cumsum(1),
    "sorted channels": lambda y: y.sort(1).values,
    "best channels": lambda y: y.topk(y.size(1), 1).values,
    "channel of the greatest": lambda y: y * y.argmax(1, keepdim=True),
    "weights of ones": lambda y: F.conv2d(y, torch.ones(8, y.size(1), 1, 1).to(y) / y.size(1)),
    "einsum with a number": lambda y: torch.einsum("bchw,bchw->bhw", y, y)[:, None] / y.size(1) * y,
    "Fourier over channels": lambda y: torch.fft.fft(y.double(), dim=1).real,
    "table of positions": lambda y: y + torch.arange(y.size(1)).view(1, -1, 1, 1).to(y).sin(),
    "branch": lambda y: F.relu(y) if y.size(1) > 6 else y,
    "branch to an attribute": branch,
    "branch by contiguity": lambda y: y * y.numel() if y.is_contiguous() else y,
    "operands by width": swap,
    "added to by width": lambda y: torch.add(y, y.mean(3, keepdim=True), alpha=y.size(1)),
    "power by width": lambda y: y.abs() ** (y.size(1) / 8),
    "written into a tensor": written,
    "out=": out_argument,
    "loop over channels": lambda y: y * sum(y[:, i : i + 1] for i in range(y.size(1))),
    "groups of two": lambda y: y.unflatten(1, (-1, 2)).mean(2).repeat_interleave(2, 1),
}
OF_MODEL = {  # a function of the model and y, whose results are the outputs
    "late branch in training": late,
    "width returned": lambda m, y: (m.out(y), y.size(1)),
    "tensor of the width returned": lambda m, y: (m.out(y), torch.full((2,), y.size(1)).double()),
    "parameter by width": lambda m, y: m.out(y * m.scales[y.size(1) // 4 - 1]),
    "width from a module": lambda m, y: m.out(y) / m.b.out_channels,
    "width from __init__": lambda m, y: m.out(y) / m.width,
    "tensor from __init__": lambda m, y: m.out(y * m.cached),
    "buffer of channels": lambda m, y: m.out(y * m.order),
    "sum of a weight's list": lambda m, y: m.out(y) / sum(m.b.bias.tolist()),
    "weight scaled by width": lambda m, y: F.conv2d(y, m.out.weight / m.out.weight.size(1)),
}


def build(name: str) -> Net:
    def run(m, x):
        y = m.b(F.relu(m.a(x)))
        return m.out(OF_CHANNELS[name](y)) if name in OF_CHANNELS else OF_MODEL[name](m, y)

    model = Net(run, a=conv(3, 8), b=conv(8, 8), out=conv(8, 2))
    model.register_buffer("order", torch.arange(8.0).view(8, 1, 1))
    model.scales = nn.ParameterList([torch.ones(1), torch.ones(1)])
    randomize(model)
    model.width, model.cached = 8, torch.arange(1.0, 9).view(8, 1, 1).double()
    return model


@pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")
@pytest.mark.parametrize("name", [*OF_CHANNELS, *OF_MODEL])
def test_a_width_that_is_no_dimension_is_seen(name):
    model, x = build(name), image(size=8)
    cut_or_refuse(prune_network, model, 0.5, x, criterion="random")
    for channels in ([0], [7], [2, 3, 4, 5]):
        cut_or_refuse(prune_channels, model, "b", channels, x)
