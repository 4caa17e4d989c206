"""Cases of convolutions in groups, as in `surgery_cases`; `g` reads `a` in most of them.

Groups get narrower, all at the same positions; where a group reads or writes one channel, or where
that would tie all channels, whole groups go.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery_cases import Net, conv, grouped, image, maps, parameter, shuffle


def transposed(*widths: int, groups: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(*widths, 2, groups=groups)


def gated(m, x: Tensor) -> Tensor:
    y = m.g(m.a(x))
    return y * torch.sigmoid(m.up(F.relu(m.down(y.mean((2, 3), keepdim=True)))))


def of_both(name: str, run, groups: int, of_h: int, width: int = 8, **layers) -> Net:
    """Two convolutions in groups, `g` and `h`."""
    layers |= {"g": conv(width, width, groups=groups), "h": conv(width, width, groups=of_h)}
    return maps(name, run, a=conv(3, width), out=conv(width, 2), **layers)


grouped("transposed and grouped -> a g", transposed(8, 8, groups=2))
grouped("transposed and grouped, more outputs -> a g", transposed(8, 12, groups=4), 12)
grouped("transposed depthwise -> a g", transposed(8, 8, groups=8))
grouped("transposed depthwise with a multiplier -> a g", transposed(8, 16, groups=8), 16)
grouped("transposed and grouped, one output a group -> a g", transposed(8, 4, groups=4), 4)
maps("grouped reads the image -> g", lambda m, x: m.g(x), image(4), g=conv(4, 8, 3, groups=2))
maps("residual around grouped -> a g", lambda m, x: (y := m.a(x)) + m.g(y), g=conv(8, 8, groups=2))
maps(
    "flat after grouped -> a g",
    lambda m, x: m.g(m.a(x)).flatten(1),
    **{"g": conv(8, 8, groups=2), "out": nn.Linear(288, 2)},
)
maps(
    "gate after grouped -> a down g up",
    gated,
    g=conv(8, 8, groups=2),
    down=conv(8, 4),
    up=conv(4, 8),
)
maps(
    "GroupNorm after grouped -> a g",
    lambda m, x: m.n(m.g(m.a(x))),
    **{"g": conv(8, 8, groups=4), "n": nn.GroupNorm(4, 8)},
)
maps(
    "GroupNorm before grouped -> a g",
    lambda m, x: m.g(m.n(m.a(x))),
    **{"g": conv(8, 8, groups=4), "n": nn.GroupNorm(4, 8)},
)
of_both("grouped twice -> a g h", lambda m, x: m.h(m.g(m.a(x))), 2, 2)
of_both("groups of two widths -> a g h", lambda m, x: m.h(m.g(m.a(x))), 2, 4)
of_both("grouped and shuffled -> a g h", lambda m, x: m.h(shuffle(m.g(m.a(x)), 2)), 2, 2)
of_both("grouped and shuffled unevenly -> a h", lambda m, x: m.h(shuffle(m.g(m.a(x)), 3)), 3, 3, 12)
of_groups = {"reads": {"w": 1}, "w": parameter(8, 2, 1, 1)}
maps("fixed number of groups -> a", lambda m, x: F.conv2d(m.a(x), m.w, groups=4), **of_groups)
of_one = parameter(8, 1, 1, 1)
maps("fixed groups -> nothing", lambda m, x: F.conv2d(m.a(x), m.w, groups=8), w=of_one)
by_width = {"reads": {"w": 0}, "w": parameter(8, 4, 1, 1), "out": conv(16, 2)}
maps(
    "groups by width, transposed -> nothing",
    lambda m, x: F.conv_transpose2d(m.a(x), m.w, groups=x.size(1) + m.a(x).size(1) // 8),
    **by_width,
)
