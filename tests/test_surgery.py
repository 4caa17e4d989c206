"""A cut network computes exactly what it must; what can't be cut is refused and left alone."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from prunelab.surgery import CannotCut, prune_channels, prune_network
from tests.random_graphs import RandomNetwork
from tests.surgery_oracle import assert_exact, assert_unchanged, freeze, randomize

may_leave = pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")


class Net(nn.Module):
    """Some layers, and a function that is their forward."""

    def __init__(self, run: Callable, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, *args, **kwargs):
        return self.run(self, *args, **kwargs)


def conv(read: int, written: int, k: int = 1, **options) -> nn.Conv2d:
    return nn.Conv2d(read, written, k, padding=options.pop("padding", k // 2), **options)


def image(channels: int = 3, size: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, channels, size, size, generator=generator).double()


def tokens(length: int = 5, width: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(2, length, width, generator=generator).double()


def widths(model: nn.Module) -> dict[str, int]:
    """Output channels of every layer that makes some."""
    names = ("out_channels", "out_features", "embedding_dim")
    return {
        name: getattr(layer, attribute)
        for name, layer in model.named_modules()
        for attribute in names
        if hasattr(layer, attribute)
    }


def cut_layers(model: nn.Module, small: nn.Module) -> set[str]:
    before, after = widths(model), widths(small)
    return {name for name in before if after[name] < before[name]}


class Case(NamedTuple):
    """A network, its inputs, and the layers that are to be narrower once half is cut."""

    build: Callable[[], nn.Module]
    cut: str
    inputs: object = image()
    reads: dict = {}  # noqa: RUF012


def net(run: Callable, **layers: Callable) -> Callable[[], nn.Module]:
    return lambda: Net(run, **{name: build() for name, build in layers.items()})


def L(kind: Callable, *args, **options) -> Callable:
    return lambda: kind(*args, **options)


def parameter(*shape: int) -> Callable:
    return lambda: nn.Parameter(torch.randn(shape))


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class Buffered(nn.Module):
    """Adds a constant to every channel."""

    def __init__(self, *shape: int):
        super().__init__()
        self.register_buffer("constant", torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.constant


class Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * s * (1 + x * (1 - s))


class Result:
    def __init__(self, y: Tensor):
        self.y = y


def squeeze_excite(m, x):
    x = m.a(x)
    gate = torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True)))))
    return m.out(gate * x)


def squeeze_excite_linear(m, x):
    x = m.a(x)
    gate = torch.sigmoid(m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1).flatten(1)))))
    return m.out(gate[:, :, None, None] * x)


def attention(m, x):
    x = m.embed(x)
    q, k, v = m.qkv(x).chunk(3, dim=-1)
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    return m.head(x + m.proj(weights @ v))


def path_by_width(m, x):
    x = m.a(x)
    return m.out(F.relu(x) if x.shape[1] > 6 else torch.sigmoid(x))


A = {"a": L(conv, 3, 8), "out": L(conv, 8, 2)}
AB = {**A, "b": L(conv, 3, 8)}
CASES = {
    # --- wiring
    "chain": Case(net(lambda m, x: m.out(F.relu(m.a(x))), **A), "a"),
    "no activation, no bias": Case(
        net(lambda m, x: m.out(m.a(x)), a=L(conv, 3, 8, 3, bias=False), out=L(conv, 8, 2, 3)), "a"
    ),
    "sigmoid of what is cut": Case(net(lambda m, x: m.out(torch.sigmoid(m.a(x))), **A), "a"),
    "residual": Case(
        net(lambda m, x: m.out(torch.sigmoid(m.b(m.a(x)) + m.a(x))), **A, b=L(conv, 8, 8)), "a b"
    ),
    "residual with projection": Case(
        net(
            lambda m, x: m.out(F.relu(m.n(m.b(m.a(x))) + m.p(m.a(x)))),
            a=L(conv, 3, 6),
            b=L(conv, 6, 8, 3),
            n=L(nn.BatchNorm2d, 8),
            p=L(conv, 6, 8),
            out=L(conv, 8, 2),
        ),
        "a b p",
    ),
    "input added": Case(
        net(lambda m, x: m.out(m.a(x) + x), a=L(conv, 3, 3), out=L(conv, 3, 2)), ""
    ),
    "product of branches": Case(net(lambda m, x: m.out(m.a(x) * m.b(x)), **AB), "a b"),
    "maximum of branches": Case(
        net(lambda m, x: m.out(torch.maximum(m.a(x), m.b(x))), **AB), "a b"
    ),
    "concatenation": Case(
        net(lambda m, x: m.out(torch.cat([m.a(x), m.b(x)], 1)), **{**AB, "out": L(conv, 16, 2)}),
        "a b",
    ),
    "concatenation with the input": Case(
        net(lambda m, x: m.out(torch.cat([x, m.a(x)], 1)), a=L(conv, 3, 8), out=L(conv, 11, 2)), "a"
    ),
    "concatenation of a layer with itself": Case(
        net(lambda m, x: m.out(torch.cat([m.a(x), -m.a(x)], 1)), a=A["a"], out=L(conv, 16, 2)), "a"
    ),
    "concatenation over space": Case(
        net(lambda m, x: m.out(torch.cat([m.a(x), m.b(x)], 2)), **AB), "a b"
    ),
    "dense block": Case(
        net(
            lambda m, x: m.out(torch.cat([y := m.a(x), z := m.b(F.relu(y)), m.c(z), y], 1)),
            a=L(conv, 3, 8),
            b=L(conv, 8, 6),
            c=L(conv, 6, 4),
            out=L(conv, 26, 2),
        ),
        "a b c",
    ),
    "stack and mean": Case(
        net(lambda m, x: m.out(torch.stack([m.a(x), m.a(2 * x)]).mean(0)), **A), "a"
    ),
    "stack and sum of two layers": Case(
        net(lambda m, x: m.out(torch.stack([m.a(x), m.b(x)]).sum(0)), **AB), ""
    ),
    "module used twice": Case(
        net(lambda m, x: m.out(m.b(F.relu(m.b(m.a(x))))), **A, b=L(conv, 8, 8)), "a b"
    ),
    "module used on two inputs": Case(
        net(lambda m, x, y: m.out(m.a(x) - m.a(y)), **A), "a", (image(), image() ** 2)
    ),
    "outer product of branches": Case(
        net(
            lambda m, x: m.out((m.a(x)[:, :, None] * m.b(x)[:, None]).flatten(1)),
            a=L(nn.Linear, 12, 4),
            b=L(nn.Linear, 12, 6),
            out=L(nn.Linear, 24, 2),
        ),
        "",
        tokens()[:, 0],
    ),
    "one-channel spatial gate": Case(
        net(
            lambda m, x: m.out((y := m.a(x)) * torch.sigmoid(m.gate(y))),
            **A,
            gate=L(conv, 8, 1, 3),
        ),
        "a",
    ),
    "one channel in the middle": Case(
        net(
            lambda m, x: m.out(m.b(m.one(m.a(x)))),
            **A,
            one=L(conv, 8, 1),
            b=L(conv, 1, 8),
        ),
        "a b",
    ),
    "squeeze-excite": Case(
        net(squeeze_excite, **A, down=L(conv, 8, 4), up=L(conv, 4, 8)), "a down up"
    ),
    "squeeze-excite of linear layers": Case(
        net(squeeze_excite_linear, **A, down=L(nn.Linear, 8, 4), up=L(nn.Linear, 4, 8)), "a down up"
    ),
    "module in a plain list": Case(
        lambda: _with_list(Net(lambda m, x: m.out(m.layers[0](x)), a=A["a"](), out=A["out"]())), "a"
    ),
    "layer that is never reached": Case(
        net(lambda m, x: m.out(m.a(x)), **A, idle=L(conv, 8, 8)), "a"
    ),
    "auxiliary head in training": Case(
        net(
            lambda m, x: (m.out(m.a(x)), m.aux(m.a(x))) if m.training else m.out(m.a(x)),
            **A,
            aux=L(conv, 8, 3),
        ),
        "a",
    ),
    "dict, tuple and object outputs": Case(
        net(
            lambda m, x: {"y": (m.out(m.a(x)), [Result(Result(m.b(x)))])},
            **AB,
        ),
        "a",
    ),
    "dict input": Case(
        net(lambda m, x, scale: m.out(m.a(x) * scale), **A), "a", {"x": image(), "scale": 2.0}
    ),
    "dict as argument": Case(
        net(lambda m, batch: m.out(m.a(batch["x"])), **A), "a", ({"x": image()},)
    ),
    # --- convolutions
    "depthwise": Case(
        net(
            lambda m, x: m.out(F.relu(m.n(m.dw(m.a(x))))),
            **A,
            dw=L(conv, 8, 8, 3, groups=8),
            n=L(nn.BatchNorm2d, 8),
        ),
        "a dw",
    ),
    "depthwise with a multiplier": Case(
        net(
            lambda m, x: m.out(m.dw(m.a(x))),
            a=A["a"],
            dw=L(conv, 8, 16, 3, groups=8),
            out=L(conv, 16, 2),
        ),
        "a dw",
    ),
    "grouped": Case(net(lambda m, x: m.out(m.g(m.a(x))), **A, g=L(conv, 8, 8, 3, groups=4)), "a g"),
    "two groups": Case(net(lambda m, x: m.out(m.g(m.a(x))), **A, g=L(conv, 8, 8, groups=2)), "a g"),
    "grouped with more outputs": Case(
        net(
            lambda m, x: m.out(m.g(m.a(x))),
            a=A["a"],
            g=L(conv, 8, 12, groups=4),
            out=L(conv, 12, 2),
        ),
        "a g",
    ),
    "grouped and shuffled": Case(
        net(
            lambda m, x: m.out(m.h(shuffle(m.g(m.a(x)), 2))),
            **A,
            g=L(conv, 8, 8, groups=2),
            h=L(conv, 8, 8, groups=2),
        ),
        "",
    ),
    "transposed": Case(
        net(
            lambda m, x: m.out(F.relu(m.t(m.a(x)))),
            **A,
            t=L(nn.ConvTranspose2d, 8, 8, 2, stride=2),
        ),
        "a t",
    ),
    "transposed and grouped": Case(
        net(lambda m, x: m.out(m.t(m.a(x))), **A, t=L(nn.ConvTranspose2d, 8, 8, 2, groups=2)), ""
    ),
    "one-dimensional": Case(
        net(
            lambda m, x: m.out(F.max_pool1d(m.a(x), 2)),
            a=L(nn.Conv1d, 12, 8, 2),
            out=L(nn.Conv1d, 8, 2, 1),
        ),
        "a",
        tokens().transpose(1, 2),
    ),
    "three-dimensional": Case(
        net(
            lambda m, x: m.out(F.avg_pool3d(m.a(x), 2)),
            a=L(nn.Conv3d, 3, 8, 2),
            out=L(nn.Conv3d, 8, 2, 1),
        ),
        "a",
        image()[:, :, None].expand(-1, -1, 4, -1, -1),
    ),
    "without a batch dimension": Case(
        net(lambda m, x: m.out(F.max_pool2d(m.a(x), 2)), **A), "a", image()[0]
    ),
    "functional with a parameter of the model": Case(
        net(
            lambda m, x: m.out(F.conv2d(m.a(x), m.w, m.bias)),
            **A,
            w=parameter(8, 8, 1, 1),
            bias=parameter(8),
        ),
        "a",
        reads={"w": 1},
    ),
    "functional with fixed groups": Case(
        net(lambda m, x: m.out(F.conv2d(m.a(x), m.w, groups=8)), **A, w=parameter(8, 1, 1, 1)), ""
    ),
    "reflected border": Case(
        net(lambda m, x: m.out(m.a(x)), a=L(conv, 3, 8, 3, padding_mode="reflect"), out=A["out"]),
        "a",
    ),
    "circular border of what is cut": Case(
        net(lambda m, x: m.out(m.a(x)), a=A["a"], out=L(conv, 8, 2, 3, padding_mode="circular")),
        "a",
    ),
    # --- data movement
    "flatten": Case(
        net(lambda m, x: m.fc(m.a(x).flatten(1)), a=A["a"], fc=L(nn.Linear, 288, 4)), "a"
    ),
    "flatten, two linear layers": Case(
        net(
            lambda m, x: m.fc2(m.fc1(m.a(x).flatten(1))),
            a=A["a"],
            fc1=L(nn.Linear, 288, 10),
            fc2=L(nn.Linear, 10, 4),
        ),
        "a fc1",
    ),
    "mean, linear": Case(
        net(lambda m, x: m.fc(m.a(x).mean(dim=(-2, -1))), a=A["a"], fc=L(nn.Linear, 8, 4)), "a"
    ),
    "channels last by permute": Case(
        net(
            lambda m, x: m.fc(m.n(m.a(x).permute(0, 2, 3, 1))),
            a=A["a"],
            n=L(nn.LayerNorm, 8),
            fc=L(nn.Linear, 8, 2),
        ),
        "a",
    ),
    "transposed by .T": Case(
        net(
            lambda m, x: m.b(m.a(x).T.T),
            a=L(nn.Linear, 12, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "a",
        tokens()[:, 0],
    ),
    "transposed in place": Case(
        net(
            lambda m, x: _then(y := m.a(x), y.transpose_(1, 2), m.b(y)),
            a=L(nn.Linear, 12, 5),
            b=L(nn.Linear, 5, 2),
        ),
        "",
        tokens(),
    ),
    "chunk gate": Case(
        net(
            lambda m, x: m.out((h := m.a(x).chunk(2, 1))[0] * torch.sigmoid(h[1])),
            a=L(conv, 3, 16),
            out=A["out"],
        ),
        "a",
    ),
    "GLU": Case(net(lambda m, x: m.out(F.glu(m.a(x), 1)), a=L(conv, 3, 16), out=A["out"]), "a"),
    "GLU over space": Case(net(lambda m, x: m.out(F.glu(m.a(x), 2)), **A), "a"),
    "unpacked": Case(
        net(
            lambda m, x: m.out(_product(*m.a(x).unflatten(1, (2, -1)).unbind(1))),
            a=L(conv, 3, 16),
            out=A["out"],
        ),
        "a",
    ),
    "iterated": Case(
        net(lambda m, x: m.out(torch.stack([2 * image for image in m.a(x)])), **A), "a"
    ),
    "concatenation, then chunk": Case(
        net(lambda m, x: m.out(_product(*torch.cat([m.a(x), m.b(x)], 1).chunk(2, 1))), **AB),
        "a b",
    ),
    "concatenation, then uneven split": Case(
        net(
            lambda m, x: m.out(torch.cat([m.a(x), m.b(x)], 1).split([6, 10], 1)[0]),
            **{**AB, "out": L(conv, 6, 2)},
        ),
        "",
    ),
    "split by number": Case(
        net(lambda m, x: m.out(_product(*m.a(x).split(8, 1))), a=L(conv, 3, 16), out=A["out"]), ""
    ),
    "split by width": Case(
        net(
            lambda m, x: m.out(_product(*(y := m.a(x)).split(y.shape[1] // 2, 1))),
            a=L(conv, 3, 16),
            out=A["out"],
        ),
        "a",
    ),
    "slice by number": Case(
        net(lambda m, x: m.out(m.a(x)[:, :8]), a=L(conv, 3, 12), out=A["out"]), ""
    ),
    "slices treated differently": Case(
        net(lambda m, x: m.out(torch.cat([F.relu((y := m.a(x))[:, :4]), y[:, 4:]], 1)), **A),
        "",
    ),
    "narrow treated differently": Case(
        net(
            lambda m, x: m.out(
                torch.cat([F.relu((y := m.a(x)).narrow(1, 0, 4)), y.narrow(1, 4, y.size(1) - 4)], 1)
            ),
            **A,
        ),
        "",
    ),
    "crop by negative padding": Case(
        net(
            lambda m, x: m.out(torch.sigmoid(F.pad(m.a(x), (0, 0, 0, 0, 0, -4)))),
            a=L(conv, 3, 12),
            out=A["out"],
        ),
        "",
    ),
    "one channel times all": Case(net(lambda m, x: m.out((y := m.a(x)) * y[:, 3:4]), **A), ""),
    "channels by an index buffer": Case(
        net(
            lambda m, x: m.out(m.a(x)[:, m.order]),
            **A,
            order=lambda: nn.Buffer(torch.tensor([3, 1, 0, 2, 7, 6, 5, 4])),
        ),
        "",
    ),
    "flipped": Case(net(lambda m, x: m.out(m.a(x).flip(1)), **A), "a"),
    "flipped and added": Case(net(lambda m, x: m.out((y := m.a(x)) + y.flip(1)), **A), "a"),
    "rolled": Case(net(lambda m, x: m.out(m.a(x).roll(3, 2)), **A), "a"),
    "rolled channels": Case(net(lambda m, x: m.out((y := m.a(x)) + y.roll(1, 1)), **A), ""),
    "repeated": Case(
        net(lambda m, x: m.out(m.a(x).repeat(1, 2, 1, 1)), a=A["a"], out=L(conv, 16, 2)), "a"
    ),
    "interleaved": Case(
        net(
            lambda m, x: m.out(torch.repeat_interleave(m.a(x), 2, dim=1)),
            a=A["a"],
            out=L(conv, 16, 2),
        ),
        "a",
    ),
    "channel shuffle": Case(net(lambda m, x: m.out(shuffle(m.a(x), 2)), **A), ""),
    "pixel shuffle": Case(
        net(lambda m, x: m.out(F.pixel_shuffle(m.a(x), 2)), a=L(conv, 3, 32), out=A["out"]), "a"
    ),
    "pixel unshuffle": Case(
        net(lambda m, x: m.out(F.pixel_unshuffle(m.a(x), 2)), a=A["a"], out=L(conv, 32, 2)), "a"
    ),
    "hard-coded view": Case(
        net(lambda m, x: m.out(m.a(x).view(-1, 8, 36).mean(2)[:, :, None, None]), **A), ""
    ),
    "zero padding": Case(
        net(lambda m, x: m.out(F.max_pool2d(F.pad(m.a(x), (1, 1, 1, 1)), 2)), **A), "a"
    ),
    "constant padding": Case(
        net(lambda m, x: m.out(F.relu(F.pad(m.a(x), (1, 0), value=1.5))), **A), "a"
    ),
    "reflected padding": Case(
        net(lambda m, x: m.out(F.pad(m.a(x), (2, 2, 1, 1), mode="reflect")), **A), "a"
    ),
    "padded channels": Case(
        net(
            lambda m, x: m.out(m.n(m.b(x) + F.pad(m.a(x), (0, 0, 0, 0, 0, 4)))),
            a=L(conv, 3, 4),
            b=L(conv, 3, 8),
            n=L(nn.BatchNorm2d, 8),
            out=A["out"],
        ),
        "",
    ),
    "reflected channels": Case(
        net(
            lambda m, x: m.out(F.pad(m.a(x), (1, 1), mode="reflect")),
            a=L(nn.Linear, 12, 8),
            out=L(nn.Linear, 10, 2),
        ),
        "",
        tokens(),
    ),
    "written in place": Case(net(lambda m, x: m.out(_write_slice(m.a(x))), **A), ""),
    "written in place into zeros": Case(
        net(lambda m, x: m.out(_write_into_zeros(m.a(x))), **A), ""
    ),
    "scaled in place": Case(net(lambda m, x: m.out(_scale_slice(m.a(x))), **A), ""),
    "in-place activation and addition": Case(
        net(lambda m, x: m.out(F.relu(m.a(x), inplace=True).clone().add_(m.b(x)).sigmoid_()), **AB),
        "a b",
    ),
    # --- normalization and parameters of channels
    "BatchNorm": Case(
        net(lambda m, x: m.out(F.relu(m.n(m.a(x)))), **A, n=L(nn.BatchNorm2d, 8)), "a"
    ),
    "BatchNorm without weights": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.BatchNorm2d, 8, affine=False)), "a"
    ),
    "BatchNorm without statistics": Case(
        net(
            lambda m, x: m.out(m.n(m.a(x))),
            **A,
            n=L(nn.BatchNorm2d, 8, track_running_stats=False),
        ),
        "a",
    ),
    "BatchNorm with neither": Case(
        net(
            lambda m, x: m.out(m.n(m.a(x))),
            **A,
            n=L(nn.BatchNorm2d, 8, affine=False, track_running_stats=False),
        ),
        "a",
    ),
    "InstanceNorm": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.InstanceNorm2d, 8, affine=True)), "a"
    ),
    "InstanceNorm without weights": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.InstanceNorm2d, 8)), "a"
    ),
    "GroupNorm": Case(net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.GroupNorm, 4, 8)), "a"),
    "GroupNorm of one group": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.GroupNorm, 1, 8)), ""
    ),
    "GroupNorm without weights": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.GroupNorm, 4, 8, affine=False)), ""
    ),
    "LayerNorm over a map": Case(
        net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.LayerNorm, [8, 6, 6])), "a"
    ),
    "LayerNorm without weights": Case(
        net(
            lambda m, x: m.b(m.n(m.a(x))),
            a=L(nn.Linear, 12, 8),
            n=L(nn.LayerNorm, 8, elementwise_affine=False),
            b=L(nn.Linear, 8, 2),
        ),
        "",
        tokens(),
    ),
    "RMSNorm": Case(
        net(
            lambda m, x: m.b(m.n(m.a(x))),
            a=L(nn.Linear, 12, 8),
            n=L(nn.RMSNorm, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "a",
        tokens(),
    ),
    "local response norm": Case(net(lambda m, x: m.out(F.local_response_norm(m.a(x), 3)), **A), ""),
    "PReLU": Case(net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.PReLU, 8)), "a"),
    "PReLU of one slope": Case(net(lambda m, x: m.out(m.n(m.a(x))), **A, n=L(nn.PReLU)), "a"),
    "softmax over channels": Case(net(lambda m, x: m.out(m.a(x).softmax(1)), **A), ""),
    "softmax over space": Case(
        net(lambda m, x: m.out(m.a(x).flatten(2).softmax(2).unflatten(2, (6, 6))), **A), "a"
    ),
    "normalized channels": Case(net(lambda m, x: m.out(F.normalize(m.a(x), dim=1)), **A), ""),
    "mean over channels": Case(
        net(lambda m, x: m.out((y := m.a(x)) - y.mean(1, keepdim=True)), **A), ""
    ),
    "maximum over channels": Case(
        net(lambda m, x: m.out((y := m.a(x)) / (1 + y.amax(1, keepdim=True).abs())), **A), ""
    ),
    "pooling over tokens and channels": Case(
        net(
            lambda m, x: m.b(F.avg_pool2d(m.a(x), 3, 1, 1)),
            a=L(nn.Linear, 12, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "",
        tokens(),
    ),
    "pooling over channels": Case(
        net(
            lambda m, x: m.b(F.avg_pool1d(m.a(x), 3, 1, 1)),
            a=L(nn.Linear, 12, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "",
        tokens()[:, 0],
    ),
    "pooling over channels and space": Case(
        net(lambda m, x: m.out(F.max_pool2d(m.a(x).flatten(2), 3, 1, 1).unflatten(2, (6, 6))), **A),
        "",
    ),
    "interpolated": Case(
        net(lambda m, x: m.out(F.interpolate(m.a(x), scale_factor=2, mode="bilinear")), **A), "a"
    ),
    "scale of shape [C, 1, 1]": Case(
        net(lambda m, x: m.out(m.a(x) * m.s), **A, s=parameter(8, 1, 1)), "a"
    ),
    "scale of shape [C]": Case(
        net(
            lambda m, x: m.b(m.a(x) * m.s + m.s),
            a=L(nn.Linear, 12, 8),
            s=parameter(8),
            b=L(nn.Linear, 8, 2),
        ),
        "a",
        tokens(),
    ),
    "spatial parameter": Case(
        net(lambda m, x: m.out(m.a(x) * m.s), **A, s=parameter(1, 1, 6, 6)), "a"
    ),
    "one slope for all": Case(net(lambda m, x: m.out(m.a(x) * m.s), **A, s=parameter(1)), "a"),
    "constant buffer of channels": Case(
        net(lambda m, x: m.out(m.b(m.a(x))), **A, b=L(Buffered, 1, 8, 1, 1)), "a"
    ),
    "boolean buffer of channels": Case(
        net(
            lambda m, x: m.out(m.a(x) * m.mask),
            **A,
            mask=lambda: nn.Buffer(torch.arange(8).view(1, 8, 1, 1) % 3 > 0),
        ),
        "",
    ),
    "position embedding": Case(
        net(
            lambda m, x: m.b(F.gelu(m.a(x) + m.position)),
            a=L(nn.Linear, 12, 8),
            position=parameter(1, 5, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "a",
        tokens(),
    ),
    "class token": Case(
        net(
            lambda m, x: m.b(
                torch.cat([m.token.expand(2, -1, -1), m.a(x)], 1).add(m.position)[:, 0]
            ),
            a=L(nn.Linear, 12, 8),
            token=parameter(1, 1, 8),
            position=parameter(1, 6, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "a",
        tokens(),
    ),
    "own tensor of ones": Case(
        net(lambda m, x: m.out(m.a(x) * torch.ones(1, 8, 1, 1).to(x)), **A), ""
    ),
    "divided by the width": Case(net(lambda m, x: m.out((y := m.a(x)) / y.shape[1]), **A), ""),
    "divided by a tensor of the width": Case(
        net(lambda m, x: m.out((y := m.a(x)) / torch.tensor(y.shape[1]).sqrt()), **A), ""
    ),
    "summed over expanded channels": Case(
        net(
            lambda m, x: m.out(y := m.a(x)) + m.one(x).expand(-1, y.shape[1], -1, -1).sum(1, True),
            **A,
            one=L(conv, 3, 1),
        ),
        "",
    ),
    "path depends on the width": Case(net(path_by_width, **A), ""),
    "weight's own norm": Case(net(lambda m, x: m.out(m.a(x)) / m.a.weight.norm(), **A), ""),
    "data of a weight": Case(
        net(lambda m, x: m.out(m.a(x)) / m.a.weight.data.abs().sum(), **A), ""
    ),
    "data of an activation": Case(net(lambda m, x: m.out(m.a(x) + m.b(x).data), **AB), "a b"),
    "detached": Case(net(lambda m, x: m.out(m.a(x) + m.b(x).detach()), **AB), "a b"),
    "frozen": Case(
        lambda: _freeze(Net(lambda m, x: m.out(m.a(x)), a=A["a"](), out=A["out"]())), "a"
    ),
    "own autograd function": Case(net(lambda m, x: m.out(Swish.apply(m.a(x))), **A), "a"),
    "checkpointed": Case(
        net(
            lambda m, x: m.out(torch.utils.checkpoint.checkpoint(m.a, x, use_reentrant=False)), **A
        ),
        "a",
    ),
    "uses x.dtype": Case(net(lambda m, x: m.out(_same_dtype(m.a(x), m.a.weight)), **A), "a"),
    "dropout and stochastic depth": Case(
        net(
            lambda m, x: m.out(m.d2(m.d1(m.a(x)))),
            **A,
            d1=L(nn.Dropout2d),
            d2=L(nn.Dropout),
        ),
        "a",
    ),
    # --- layers that are not understood
    "weight_norm": Case(
        net(
            lambda m, x: m.out(m.b(m.a(x))),
            **A,
            b=lambda: parametrizations.weight_norm(conv(8, 8)),
        ),
        "",
    ),
    "standardized weight": Case(
        net(lambda m, x: m.out(F.conv2d(x, m.a.weight - m.a.weight.mean())), **A), ""
    ),
    "low-rank addition to a weight": Case(
        net(
            lambda m, x: m.b(F.linear(x, m.a.weight + m.up @ m.down)),
            a=L(nn.Linear, 12, 8),
            up=parameter(8, 2),
            down=parameter(2, 12),
            b=L(nn.Linear, 8, 2),
        ),
        "",
        tokens(),
    ),
    "parameter in a plain list": Case(
        lambda: _with_hidden(
            Net(lambda m, x: m.out(F.conv2d(m.a(x), m.hidden[0])), a=A["a"](), out=A["out"]())
        ),
        "",
    ),
    "bilinear": Case(
        net(
            lambda m, x: m.c(m.two(m.a(x), m.b(x))),
            a=L(nn.Linear, 12, 4),
            b=L(nn.Linear, 12, 4),
            two=L(nn.Bilinear, 4, 4, 6),
            c=L(nn.Linear, 6, 2),
        ),
        "",
        tokens(),
    ),
    "einsum": Case(
        net(
            lambda m, x: m.b(torch.einsum("nlc,dc->nld", m.a(x), m.w)),
            a=L(nn.Linear, 12, 8),
            w=parameter(8, 8),
            b=L(nn.Linear, 8, 2),
        ),
        "",
        tokens(),
    ),
    "LSTM": Case(
        net(
            lambda m, x: m.c(m.b(m.lstm(m.a(x))[0])),
            a=L(nn.Linear, 12, 8),
            lstm=L(nn.LSTM, 8, 6, batch_first=True),
            b=L(nn.Linear, 6, 8),
            c=L(nn.Linear, 8, 2),
        ),
        "b",
        tokens(),
    ),
    "GRU": Case(
        net(
            lambda m, x: m.c(m.b(m.gru(m.a(x))[0])),
            a=L(nn.Linear, 12, 8),
            gru=L(nn.GRU, 8, 6, batch_first=True),
            b=L(nn.Linear, 6, 8),
            c=L(nn.Linear, 8, 2),
        ),
        "b",
        tokens(),
    ),
    "attention by hand": Case(
        net(
            attention,
            embed=L(nn.Linear, 12, 8),
            qkv=L(nn.Linear, 8, 24),
            proj=L(nn.Linear, 8, 8),
            head=L(nn.Linear, 8, 2),
        ),
        "embed proj",
        tokens(),
    ),
    "MultiheadAttention": Case(
        net(
            lambda m, x: m.head(m.up(m.attention(h := m.a(x), h, h)[0])),
            a=L(nn.Linear, 12, 8),
            attention=L(nn.MultiheadAttention, 8, 2, batch_first=True),
            up=L(nn.Linear, 8, 16),
            head=L(nn.Linear, 16, 2),
        ),
        "up",
        tokens(),
    ),
    "TransformerEncoderLayer": Case(
        net(
            lambda m, x: m.head(m.layer(m.a(x))),
            a=L(nn.Linear, 12, 8),
            layer=L(nn.TransformerEncoderLayer, 8, 2, 16, dropout=0.0, batch_first=True),
            head=L(nn.Linear, 8, 2),
        ),
        "layer.linear1",
        tokens(),
    ),
    # --- words
    "embedding": Case(
        net(
            lambda m, ids: m.b(F.gelu(m.a(m.words(ids)))),
            words=L(nn.Embedding, 11, 8),
            a=L(nn.Linear, 8, 6),
            b=L(nn.Linear, 6, 2),
        ),
        "words a",
        torch.tensor([[1, 2, 10], [0, 3, 4]]),
    ),
    "embedding and head share a weight": Case(
        lambda: _tie(
            Net(
                lambda m, ids: m.head(m.norm((h := m.words(ids)) + m.b(F.relu(m.a(h))))),
                words=nn.Embedding(11, 8),
                a=nn.Linear(8, 6),
                b=nn.Linear(6, 8),
                norm=nn.LayerNorm(8),
                head=nn.Linear(8, 11, bias=False),
            )
        ),
        "words a b",
        torch.tensor([[1, 2, 10], [0, 3, 4]]),
        {"words.weight": 1},
    ),
    "embedding as the head's matrix": Case(
        net(
            lambda m, ids: m.a(m.words(ids)) @ m.words.weight.T,
            words=L(nn.Embedding, 11, 8),
            a=L(nn.Linear, 8, 8),
        ),
        "",
        torch.tensor([[1, 2, 10], [0, 3, 4]]),
    ),
}


def _then(*values):
    return values[-1]


def _product(a, b):
    return a * b


def _write_slice(y):
    y = y.clone()
    y[:, :3] = 1.0
    return y


def _write_into_zeros(y):
    zeros = torch.zeros_like(y)
    zeros[:, 2:] = y[:, 2:]
    return zeros


def _scale_slice(y):
    y = y.clone()
    y[:, :3].mul_(2)
    return y


def _same_dtype(y, weight):
    assert y.dtype == weight.dtype
    assert y.is_floating_point()
    return y + torch.zeros((), dtype=y.dtype, device=y.device)


def _freeze(model):
    model.a.weight.requires_grad = False
    return model


def _with_list(model):
    model.layers = [model.a]
    return model


def _with_hidden(model):
    model.hidden = [nn.Parameter(torch.randn(8, 8, 1, 1, dtype=torch.float64))]
    return model


def _tie(model):
    model.head.weight = model.words.weight
    return model


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_cut_or_refused_and_never_wrong(name):
    case = CASES[name]
    model = randomize(case.build())
    before = freeze(model)
    expected = set(case.cut.split())
    if not expected:
        with pytest.raises(CannotCut):
            prune_network(model, 0.5, case.inputs, criterion="random")
    else:
        small = prune_network(model, 0.5, case.inputs, criterion="random")
        assert cut_layers(model, small) == expected
        assert_exact(model, small, case.inputs, case.reads)
    assert_unchanged(model, before)


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_every_single_channel_is_cut_exactly_or_refused(name):
    case = CASES[name]
    model = randomize(case.build())
    for layer, width in widths(model).items():
        for channel in {0, width - 1}:
            try:
                small = prune_channels(model, layer, [channel], case.inputs)
            except CannotCut:
                continue
            assert widths(small)[layer] < width
            assert_exact(model, small, case.inputs, case.reads)


def cut_or_refuse(model: nn.Module, x: Tensor, cut: Callable[[], nn.Module]) -> bool:
    """Whether it was cut; then exactly."""
    before = freeze(model)
    try:
        small = cut()
    except CannotCut:
        small = None
    assert_unchanged(model, before)
    if small is not None:
        assert_exact(model, small, x)
    return small is not None


@may_leave
@settings(max_examples=80)
@given(st.data())
def test_random_networks_are_cut_exactly_or_refused(data):
    def draw(n: int) -> int:
        return data.draw(st.integers(0, n - 1))

    model, x = randomize(RandomNetwork(draw)), image(size=4)
    ratio = data.draw(st.sampled_from([0.3, 0.5, 0.8]))
    cut_or_refuse(model, x, lambda: prune_network(model, ratio, x, criterion="random"))
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    name = data.draw(st.sampled_from(layers))
    width = model.get_submodule(name).out_channels
    channels = data.draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width))
    cut_or_refuse(model, x, lambda: prune_channels(model, name, list(channels), x))


@may_leave
def test_most_random_networks_can_be_cut():
    generator = np.random.default_rng(0)
    cut = 0
    for seed in range(40):
        model = randomize(RandomNetwork(lambda n: int(generator.integers(n))), seed)
        x = image(size=4)
        cut += cut_or_refuse(model, x, lambda m=model, x=x: prune_network(m, 0.5, x))
    assert cut >= 30, cut
