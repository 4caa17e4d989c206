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


FUNCTIONS = {  # of one map
    "activation": (F.relu, torch.sigmoid, F.softplus, F.gelu, torch.tanh),
    "pool": (lambda x: F.max_pool2d(x, 3, 1, 1), lambda x: F.avg_pool2d(x, 3, 1, 1)),
    "shuffle": (shuffle,),
    "reordered": (lambda x: x.flip(1), lambda x: x.roll(1, 1), lambda x: x.roll(1, 2)),
    "border": (border(value=0.5), border(mode="reflect"), border(mode="circular")),
    "mixing": (
        lambda x: x.softmax(1),
        lambda x: x - x.mean(1, keepdim=True),
        lambda x: x * x[:, :1],
        lambda x: F.normalize(x, dim=1),
    ),
}


class Map(nn.Module):
    """One step: layers, and a function of them and of the maps made before."""

    def __init__(self, run: Callable, *layers: nn.Module):
        super().__init__()
        self.run = run
        self.layers = nn.ModuleList(layers)

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.run(self.layers, maps)


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class RandomNetwork(nn.Module):
    """Each step reads maps made before it; the head reads the last one, or the last two.

    Args:
        draw: from a number n to a number below n.
    """

    def __init__(self, draw: Callable[[int], int]):
        super().__init__()
        self.steps, self.widths = nn.ModuleList(), [3]
        self._add(self._conv(0, WIDTHS[draw(3)], draw))
        for _ in range(1 + draw(6)):
            kinds = [*FUNCTIONS, *(name for name in dir(self) if name.startswith("_make_"))]
            kind = kinds[draw(len(kinds))]
            of = len(self.widths) - 1 - draw(min(3, len(self.widths)))
            if kind in FUNCTIONS:
                self._add(self._function(of, FUNCTIONS[kind][draw(len(FUNCTIONS[kind]))]))
            elif step := getattr(self, kind)(of, draw):
                self._add(step)
        self.reads = [len(self.widths) - 1]
        if draw(2):
            self.reads.append(draw(len(self.widths)))
        width = sum(self.widths[of] for of in self.reads)
        self.flat = bool(draw(2))
        self.head = nn.Linear(width * 16 if self.flat else width, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for step in self.steps:
            maps.append(step(maps))
        y = torch.cat([maps[of] for of in self.reads], 1)
        return self.head(y.flatten(1) if self.flat else y.mean((2, 3)))

    def _add(self, made: tuple[int, Map]) -> None:
        width, step = made
        self.steps.append(step)
        self.widths.append(width)

    def extra_repr(self) -> str:
        return f"widths {self.widths}, reads {self.reads}"

    def _conv(self, of: int, width: int, draw, groups: int = 1) -> tuple[int, Map]:
        k = (1, 3)[draw(2)]
        layer = nn.Conv2d(
            self.widths[of], width, k, padding=k // 2, groups=groups, bias=bool(draw(2))
        )
        return width, Map(lambda m, maps: m[0](maps[of]), layer)

    def _layer(self, of: int, layer: nn.Module) -> tuple[int, Map]:
        return self.widths[of], Map(lambda m, maps: m[0](maps[of]), layer)

    def _function(self, of: int, function: Callable, width: int | None = None) -> tuple[int, Map]:
        return width or self.widths[of], Map(lambda m, maps: function(maps[of]))

    def _two(self, of: int, draw) -> tuple[int, int] | None:
        same = [i for i, w in enumerate(self.widths) if w == self.widths[of]]
        return of, same[draw(len(same))]

    def _make_conv(self, of, draw):
        return self._conv(of, WIDTHS[draw(3)], draw)

    def _make_depthwise(self, of, draw):
        width = self.widths[of]
        return self._conv(of, width * (1 + draw(2)), draw, groups=width)

    def _make_grouped(self, of, draw):
        if self.widths[of] % 2 == 0:
            return self._conv(of, WIDTHS[draw(3)], draw, groups=2)
        return None

    def _make_module_twice(self, of, draw):
        width = self.widths[of]
        return width, Map(lambda m, maps: m[0](F.relu(m[0](maps[of]))), nn.Conv2d(width, width, 1))

    def _make_norm(self, of, draw):
        kinds = (nn.BatchNorm2d, nn.InstanceNorm2d, LayerNorm2d, Scale, nn.PReLU)
        return self._layer(of, kinds[draw(len(kinds))](self.widths[of]))

    def _make_group_norm(self, of, draw):
        width = self.widths[of]
        return self._layer(of, nn.GroupNorm(width // 2 if width % 2 == 0 else 1, width))

    def _make_add(self, of, draw):
        a, b = self._two(of, draw)
        return self.widths[of], Map(lambda m, maps: maps[a] + maps[b])

    def _make_residual(self, of, draw):
        width, b = self.widths[of], draw(len(self.widths))
        project = nn.Conv2d(self.widths[b], width, 1)
        return width, Map(lambda m, maps: maps[of] + m[0](maps[b]), project)

    def _make_multiply(self, of, draw):
        a, b = self._two(of, draw)
        return self.widths[of], Map(lambda m, maps: maps[a] * maps[b])

    def _make_concatenation(self, of, draw):
        b = draw(len(self.widths))
        width = self.widths[of] + self.widths[b]
        return width, Map(lambda m, maps: torch.cat([maps[of], maps[b]], 1))

    def _make_gate(self, of, draw):
        width = self.widths[of]

        def gate(m, maps):
            y = maps[of].mean((2, 3), keepdim=True)
            return maps[of] * torch.sigmoid(m[1](F.relu(m[0](y))))

        return width, Map(gate, nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1))

    def _make_chunks(self, of, draw):
        width = self.widths[of]
        if width % 2:
            return None
        if draw(2):
            return self._function(of, lambda x: F.glu(x, 1), width // 2)

        def multiply(x):
            a, b = x.chunk(2, 1)
            return a * b

        return self._function(of, multiply, width // 2)

    def _make_slices(self, of, draw):
        n = self.widths[of] // 2
        return self._function(of, lambda x: torch.cat([F.relu(x[:, :n]), x[:, n:]], 1))
