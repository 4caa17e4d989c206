"""Cases of single operations and of ways to split, as in `surgery_cases`."""

import torch
from torch import Tensor, nn
from torch.nn import Linear
from torch.nn import functional as F

from tests.surgery_cases import Net, between, case, conv, image, maps, parameter, rows, tokens

# --- element by element --------------------------------------------------------------------------

between("waves -> a", lambda y: y.sin() + torch.cos(y) * y.atan() - y.sign() / (2 + y.sinc()))
between("where of itself -> a", lambda y: torch.where(y > 0, y, 0.1 * y))
maps("where of two -> a b", lambda m, x: torch.where(m.a(x).isnan(), m.a(x), m.b(x)))
maps("addcmul -> a b", lambda m, x: torch.addcmul(y := m.a(x), y, m.b(x), value=0.5))
between("maximum of two -> a", lambda y: torch.max(y, -y) + torch.min(y, other=y.square()))

# --- over many elements --------------------------------------------------------------------------


def selective(m, x: Tensor) -> Tensor:
    """Softmax between two branches, a share for each channel (selective kernels)."""
    both = torch.stack([m.a(x), m.b(x)], 1)
    inner = F.relu(m.down(both.sum(1).mean((2, 3), keepdim=True)))
    return (both * torch.stack([m.of_a(inner), m.of_b(inner)], 1).softmax(1)).sum(1)


def split_attention(m, x: Tensor) -> Tensor:
    y = m.a(x)
    halves = y.view(y.size(0), 2, y.size(1) // 2, *y.shape[2:])
    inner = F.relu(m.down(halves.sum(1).mean((2, 3), keepdim=True)))
    return (halves * m.up(inner).view(y.size(0), 2, -1, 1, 1).softmax(1)).sum(1)


def channel_attention(m, x: Tensor) -> Tensor:
    y = m.a(x)
    neighbors = m.over(y.mean((2, 3)).unsqueeze(1))
    return y * torch.sigmoid(neighbors).mT.unsqueeze(-1)


def between_maps(name: str, function) -> Net:
    return between(name, lambda y: function(y.flatten(2))[..., None, None])


between_maps("values of max(dim) -> a", lambda y: y.max(2).values - y.min(dim=2)[0])
between_maps("median -> a", lambda y: torch.median(y, dim=-1).values)
between_maps("logsumexp -> a", lambda y: y.logsumexp(2) + torch.norm(y, p=2, dim=2))
between_maps("standard deviation and mean -> a", lambda y: torch.std_mean(y, dim=2)[1])
between("mean along an axis -> a", lambda y: y.mean(axis=(2, 3), keepdims=True))
between("running sum over space -> a", lambda y: y.cumsum(3))
between(
    "unpooling -> a",
    lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2, output_size=y.shape),
)
between(
    "unpooling to a size -> a",
    lambda y: F.max_unpool2d(
        *F.adaptive_max_pool2d(y, y.size(-1) // 2, return_indices=True), 2, output_size=y.shape
    ),
)
between(
    "unpooling lines -> a",
    lambda y: F.max_unpool1d(*F.max_pool1d(y.flatten(2), 2, return_indices=True), 2)[..., None],
)
between("maximum of channels -> nothing", lambda y: y * y.max(1, keepdim=True).values)
between("sum of halves -> a", lambda y: y.unflatten(1, (2, -1)).sum(1), a=conv(3, 16))
between("mean of pairs -> a", lambda y: y.unflatten(1, (-1, 2)).mean(2), a=conv(3, 16))
of_both = {"down": conv(8, 4), "of_a": conv(4, 8), "of_b": conv(4, 8)}
maps("selective kernel -> a b down of_a of_b", selective, **of_both)
maps(
    "split attention -> a down up", split_attention, a=conv(3, 16), down=conv(8, 4), up=conv(4, 16)
)
over = nn.Conv1d(1, 1, 3, padding=1)
maps("convolution over channels -> nothing", channel_attention, over=over)
rows(
    "fixed matrix over tokens -> a",
    lambda m, x: m.graph @ m.a(x),
    graph=nn.Buffer(torch.randn(5, 5)),
)

# --- data movement -------------------------------------------------------------------------------

maps("hstack -> a b", lambda m, x: torch.hstack([m.a(x), m.b(x)]), out=conv(16, 2))
maps("vstack -> a b", lambda m, x: torch.vstack([m.a(x), m.b(x)]))
maps("dstack -> a b", lambda m, x: torch.dstack((m.a(x), m.b(x))))
flat = {"a": Linear(12, 8), "b": Linear(12, 6), "out": Linear(14, 2)}
maps(
    "column_stack -> a b", lambda m, x: torch.column_stack([m.a(x), m.b(x)]), tokens()[:, 0], **flat
)
maps(
    "index_add over space -> a b",
    lambda m, x: m.a(x).index_add(2, torch.tensor([4, 1]), m.b(x)[:, :, :2], alpha=0.5),
)
between("index_add of channels -> nothing", lambda y: y.index_add(1, torch.tensor([1]), y[:, :1]))


class Conv1D(nn.Module):
    """A layer whose matrix is [read, written], and which knows its width by number."""

    def __init__(self, read: int, written: int):
        super().__init__()
        self.nf = written
        self.weight, self.bias = parameter(read, written), parameter(written)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight)
        return y.view(*x.shape[:-1], self.nf)


def two_layers(m, x: Tensor) -> Tensor:
    return m.down(F.gelu(m.up(m.a(x))))


matrices = {"up": Conv1D(8, 16), "down": Conv1D(16, 8), "reads": {"up.weight": 0, "down.weight": 0}}
rows("matrices [read, written] -> a", two_layers, **matrices)

# --- ways to split -------------------------------------------------------------------------------


def dense_halves(m, x: Tensor) -> Tensor:
    """As in C2f: one half goes through a layer, both and its result are read."""
    one, other = m.a(x).chunk(2, 1)
    return torch.cat([one, other, m.c(other)], 1)


class Parts(nn.Module):
    """A layer reads some of the channels, the others pass beside it."""

    def __init__(self, first: int, rest: int):
        super().__init__()
        self.dim_first, self.dim_rest = first, rest
        self.c = conv(first, first, 3)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = x.split([self.dim_first, self.dim_rest], 1)
        return torch.cat([self.c(first), rest], 1)


maps("chunk, one half read -> a c", dense_halves, c=conv(4, 4), out=conv(12, 2))
maps(
    "unequal chunk -> a",
    lambda m, x: torch.cat([i * t for i, t in enumerate(m.a(x).chunk(3, 1))], 1),
)
maps(
    "parts of widths by name -> a n.c",
    lambda m, x: (y := m.a(x)) + m.n(y),
    **{"a": conv(3, 12), "n": Parts(4, 8), "out": conv(12, 2)},
)
case(
    "halves of a sum -> a b c",
    lambda m, x: m.out(torch.cat([m.c(t) for t in (m.a(x) + m.b(x)).chunk(2, 1)], 1)),
    image(),
    **{"a": conv(3, 8), "b": conv(3, 8), "c": conv(4, 4), "out": conv(8, 2)},
)
