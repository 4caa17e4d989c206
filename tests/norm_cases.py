"""Cases of normalization without weights of its own, as in `surgery_cases`.

What averages over channels averages over those that are left; so does the reference, by `ByHand`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.surgery_cases import Net, maps, parameter, rows


class ByHand(nn.Module):
    """A function that normalizes along a dimension.

    Attributes:
        averages: the weight whose output channels they are.
        kept: of the reference, the channels to average over.
    """

    def __init__(self, function: Callable, dim: int = -1, of: str = "a.weight"):
        super().__init__()
        self.function, self.dim, self.averages, self.kept = function, dim, of, None

    def forward(self, x: Tensor) -> Tensor:
        if self.kept is None:
            return self.function(x)
        y = self.function(x.index_select(self.dim, self.kept))
        return torch.zeros_like(x).index_copy(self.dim, self.kept, y)


def by_hand(name: str, function: Callable) -> Net:
    """Tokens are normalized by a function, then scaled."""
    norm = {"n": ByHand(function), "g": parameter(8), "h": parameter(8)}
    return rows(name, lambda m, x: m.n(m.a(x)) * m.g + m.h, **norm)


def over_maps(name: str, function: Callable) -> Net:
    norm = {"n": ByHand(function, 1), "g": parameter(8, 1, 1)}
    return maps(name, lambda m, x: m.g * m.n(m.a(x)), **norm)


def mean(x: Tensor) -> Tensor:
    return x.mean(-1, keepdim=True)


def of_squares(x: Tensor) -> Tensor:
    variance = x.to(torch.float64).pow(2).mean(-1, keepdim=True)
    return x * torch.rsqrt(variance + 1e-6)


def channels_first(x: Tensor) -> Tensor:
    center = x.mean(1, keepdim=True)
    variance = (x - center).pow(2).mean(1, keepdim=True)
    return (x - center) / torch.sqrt(variance + 1e-6)


def response(x: Tensor) -> Tensor:
    """Global response normalization: the norm of a map, relative to that of all maps."""
    norms = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
    return x + x * (norms / (norms.mean(1, keepdim=True) + 1e-6))


class OwnNorm(nn.Module):
    """LayerNorm that knows its width as a shape."""

    def __init__(self, width: int):
        super().__init__()
        self.weight, self.bias = parameter(width), parameter(width)
        self.normalized_shape, self.eps = (width,), 1e-6

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


rows("own LayerNorm -> a", lambda m, x: m.n(m.a(x)), n=OwnNorm(8))
by_hand("functional LayerNorm -> a", lambda x: F.layer_norm(x, (x.size(-1),)))
by_hand("functional RMSNorm -> a", lambda x: F.rms_norm(x, x.shape[-1:]))
by_hand("root of mean squares by hand -> a", of_squares)
by_hand(
    "mean and deviation by hand -> a", lambda x: (x - mean(x)) / (x.std(-1, keepdim=True) + 1e-5)
)
by_hand(
    "mean and variance by hand -> a",
    lambda x: (x - mean(x)) * (x.var(-1, keepdim=True) + 1e-5) ** -0.5,
)
over_maps("LayerNorm of maps by hand -> a", channels_first)
over_maps("global response norm -> a", response)
over_maps("GroupNorm of one group by function -> a", lambda x: F.group_norm(x, 1))
by_hand("centered only -> nothing", lambda x: x - mean(x))
by_hand("divided by a deviation only -> nothing", lambda x: x / x.std(-1, keepdim=True))
by_hand("a mean that is a gate -> nothing", lambda x: x * mean(x).sigmoid())
by_hand("a mean that is added to -> nothing", lambda x: x / (1 + mean(x * x)).sqrt())
by_hand("a root of the mean that is read -> nothing", lambda x: x + mean(x * x).sqrt())
rows(
    "normalized by the mean of others -> nothing",
    lambda m, x: m.a(x) * (mean(m.b(x).square()) + 1e-5).rsqrt() + m.b(x),
    b=nn.Linear(12, 8),
)
