"""Random networks of the layers that channel surgery knows, wired at random."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (2, 4, 6)


def shuffle(x: Tensor) -> Tensor:
    return x if x.shape[1] % 2 else x.unflatten(1, (2, -1)).transpose(1, 2).flatten(1, 2)


def border(**options) -> Callable:
    return lambda x: F.pad(x, (1, 1, 1, 1), **options)[..., :4, :4]


def product_of_halves(x: Tensor) -> Tensor:
    a, b = x.chunk(2, 1) if x.shape[1] % 2 == 0 else (x, x)
    return a * b


def half_active(x: Tensor, n: int) -> Tensor:
    return torch.cat([F.relu(x[:, :n]), x[:, n:]], 1)


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def conv(read: int, written: int, draw: Callable, groups: int = 1) -> nn.Conv2d:
    k = (1, 3)[draw(2)]
    return nn.Conv2d(read, written, k, padding=k // 2, groups=groups, bias=bool(draw(2)))


NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, LayerNorm2d, Scale, nn.PReLU)
ONE = [  # a layer or a function of a map of a width
    lambda w, draw: (F.relu, torch.sigmoid, F.softplus, F.gelu, torch.tanh)[draw(5)],
    lambda w, draw: (nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))[draw(2)],
    lambda w, draw: shuffle,
    lambda w, draw: (lambda x: x.flip(1), lambda x: x.roll(1, 1), lambda x: x.roll(1, 2))[draw(3)],
    lambda w, draw: border(**({"value": 0.5}, {"mode": "reflect"}, {"mode": "circular"})[draw(3)]),
    lambda w, draw: (lambda x: x.softmax(1), lambda x: x - x.mean(1, keepdim=True))[draw(2)],
    lambda w, draw: (lambda x: x * x[:, :1], lambda x: F.normalize(x, dim=1))[draw(2)],
    lambda w, draw: (product_of_halves, lambda x: x if w % 2 else F.glu(x, 1))[draw(2)],
    lambda w, draw: lambda x: half_active(x, w // 2),
    lambda w, draw: conv(w, WIDTHS[draw(3)], draw),
    lambda w, draw: conv(w, w * (1 + draw(2)), draw, groups=w),
    lambda w, draw: conv(w, WIDTHS[draw(3)], draw, groups=1 if w % 2 else 2),
    lambda w, draw: nn.ConvTranspose2d(w, 2 * WIDTHS[draw(3)], 1, groups=1 if w % 2 else 2),
    lambda w, draw: NORMS[draw(len(NORMS))](w),
    lambda w, draw: nn.GroupNorm(1 if w % 2 else w // 2, w),
]


class Attention(nn.Module):
    """Two heads over pixels; queries of one map, keys and values of another.

    Args:
        kind: nn.MultiheadAttention, products by hand, or SDPA with one head of keys.
    """

    def __init__(self, width: int, other: int, kind: int):
        super().__init__()
        self.kind, self.heads = kind, 2
        if kind == 0:
            options = {"kdim": other, "vdim": other, "batch_first": True}
            self.layer = nn.MultiheadAttention(width, 2, **options)
        else:
            self.q, self.k = nn.Linear(width, 2 * width), nn.Linear(other, (3 - kind) * width)
            self.v, self.proj = nn.Linear(other, (3 - kind) * width), nn.Linear(2 * width, width)
        self.depth = width

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rows, keys = x.flatten(2).mT, y.flatten(2).mT
        if self.kind == 0:
            return self.layer(rows, keys, keys)[0].mT.unflatten(2, (4, 4))
        q = self.q(rows).unflatten(2, (self.heads, -1)).transpose(1, 2)
        k, v = (p(keys).unflatten(2, (-1, self.depth)).transpose(1, 2) for p in (self.k, self.v))
        if self.kind == 1:
            z = (q @ k.mT / k.size(-1) ** 0.5).softmax(-1) @ v
        else:
            z = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        return self.proj(z.transpose(1, 2).flatten(2)).mT.unflatten(2, (4, 4))


def with_another(maps: list[Tensor], of: int, draw: Callable) -> tuple:
    """A map of two maps made before, or of one that is used twice; with its layers."""
    width, other = maps[of].shape[1], draw(len(maps))
    as_wide = [i for i, x in enumerate(maps) if x.shape[1] == width]
    twin = as_wide[draw(len(as_wide))]
    inner = nn.Sequential(nn.Conv2d(width, 4, 1), nn.ReLU(), nn.Conv2d(4, width, 1), nn.Sigmoid())
    attention = None
    if width % 2 == 0:
        attention = Attention(width, maps[other].shape[1], draw(3))
    return [
        (nn.Conv2d(width, width, 1), lambda m, maps: m(F.relu(m(maps[of])))),
        (inner, lambda m, maps: maps[of] * m(maps[of].mean((2, 3), keepdim=True))),
        (None, lambda m, maps: maps[of] + maps[twin]),
        (None, lambda m, maps: maps[of] * maps[twin]),
        (None, lambda m, maps: torch.cat([maps[of], maps[other]], 1)),
        (conv(maps[other].shape[1], width, draw), lambda m, maps: maps[of] + m(maps[other])),
        (attention, lambda m, maps: m(maps[of], maps[other]) if m else maps[of]),
        (attention, lambda m, maps: maps[of] + m(maps[of], maps[other]) if m else maps[of]),
    ][draw(8)]


class Step(nn.Module):
    """Makes a map of the maps made before."""

    def __init__(self, layer: Callable | None, run: Callable):
        super().__init__()
        self.layer, self.run = layer, run

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.run(self.layer, maps)


class RandomNetwork(nn.Module):
    """Each step reads maps made before it; the head reads the last one, or the last two.

    Args:
        draw: from a number n to a number below n.
    """

    def __init__(self, draw: Callable[[int], int]):
        super().__init__()
        first = Step(conv(3, WIDTHS[draw(3)], draw), lambda m, maps: m(maps[0]))
        self.steps = nn.ModuleList([first])
        maps = self.maps(torch.zeros(2, 3, 4, 4))
        for _ in range(1 + draw(6)):
            of, kind = len(maps) - 1 - draw(min(3, len(maps))), draw(len(ONE) + 8)
            if kind < len(ONE):
                layer, run = ONE[kind](maps[of].shape[1], draw), lambda m, maps, of=of: m(maps[of])
            else:
                layer, run = with_another(maps, of, draw)
            self.steps.append(Step(layer, run))
            maps.append(self.steps[-1](maps))
        self.reads = [len(maps) - 1, draw(len(maps))][: 1 + draw(2)]
        self.flat = bool(draw(2))
        width = sum(maps[of].shape[1] for of in self.reads)
        self.head = nn.Linear(width * 16 if self.flat else width, 2)

    def maps(self, x: Tensor) -> list[Tensor]:
        maps = [x]
        for step in self.steps:
            maps.append(step(maps))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        y = torch.cat([maps[of] for of in self.reads], 1)
        return self.head(y.flatten(1) if self.flat else y.mean((2, 3)))
