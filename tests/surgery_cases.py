"""Small networks, a case for every way in which channels can meet, and what is to be cut of each.

A case is called by what it is and by the layers that are to be narrower once half is cut; where it
says "nothing", the cut is to be refused. A new rule gets a case here: `layer` for one layer between
two convolutions, `between` for a function there, `maps` for more, `rows` for layers on tokens.
"""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import BatchNorm2d, Embedding, GroupNorm, LayerNorm, Linear, Parameter
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint


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


def chain(run: Callable | None = None, width: int = 8) -> Net:
    """Two convolutions, `a` and `out`, one after the other or as `run` says."""
    layers = {"a": conv(3, width), "out": conv(width, 2)}
    return Net(run or (lambda m, x: m.out(m.a(x))), **layers)


def parameter(*shape: int) -> Parameter:
    return Parameter(torch.randn(shape))


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7)).double()


def image(channels: int = 3, size: int = 6) -> Tensor:
    return drawn(2, channels, size, size)


def tokens(length: int = 5, width: int = 12) -> Tensor:
    return drawn(2, length, width)


def widths(model: nn.Module) -> dict[str, int]:
    """Output channels of every layer that makes some."""
    names = ("out_channels", "out_features", "embedding_dim", "num_heads", "hidden_size")
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
    model: nn.Module
    inputs: object
    cut: set[str]
    reads: dict[str, int]  # as in `surgery_oracle.reference`

    def build(self) -> nn.Module:
        return copy.deepcopy(self.model)


CASES: dict[str, Case] = {}
WORDS = torch.tensor([[1, 2, 10], [0, 3, 4]])


def case(name: str, run: Callable, inputs, reads: dict | None = None, **layers) -> Net:
    cut = name.split(" -> ")[1]
    assert name not in CASES
    CASES[name] = Case(Net(run, **layers), inputs, set(cut.split()) - {"nothing"}, reads or {})
    return CASES[name].model


def maps(name: str, run: Callable, inputs=None, reads: dict | None = None, **layers) -> Net:
    """Convolutions `a` and `b` from 3 to 8 channels, or others; `out` reads what `run` returns."""

    def forward(m: Net, *args, **kwargs):
        return m.out(run(m, *args, **kwargs))

    layers = {"a": conv(3, 8), "b": conv(3, 8), "out": conv(8, 2)} | layers
    return case(name, forward, image() if inputs is None else inputs, reads, **layers)


def rows(name: str, run: Callable, inputs=None, reads: dict | None = None, **layers) -> Net:
    """A linear layer `a` from 12 to 8, or others; `out` reads what `run` returns."""
    layers = {"a": Linear(12, 8), "out": Linear(8, 2)} | layers
    return maps(name, run, tokens() if inputs is None else inputs, reads, **layers)


def between(name: str, function: Callable, **layers) -> Net:
    return maps(name, lambda m, x: function(m.a(x)), **layers)


def layer(name: str, n: nn.Module) -> Net:
    return maps(name, lambda m, x: m.n(m.a(x)), n=n)


# --- wiring --------------------------------------------------------------------------------------


def gate(m, x):
    x = m.a(x)
    return torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3), keepdim=True))))) * x


def gate_of_linear_layers(m, x):
    x = m.a(x)
    y = torch.sigmoid(m.up(F.relu(m.down(F.adaptive_avg_pool2d(x, 1).flatten(1)))))
    return y[:, :, None, None] * x


def dense_block(m, x):
    y = m.a(x)
    z = m.b(F.relu(y))
    return torch.cat([y, z, m.c(z), y], 1)


def outer_product(m, x):
    return (m.a(x)[:, :, None] * m.b(x)[:, None]).flatten(1)


def two_heads_in_training(m, x):
    return (m.out(m.a(x)), m.aux(m.a(x))) if m.training else m.out(m.a(x))


class Result:
    def __init__(self, y: Tensor):
        self.y = y


between("chain -> a", F.relu)
maps("no bias -> a", lambda m, x: m.a(x), a=conv(3, 8, 3, bias=False), out=conv(8, 2, 3))
between("sigmoid of what is cut -> a", torch.sigmoid)
maps("residual -> a b", lambda m, x: torch.sigmoid(m.b(m.a(x)) + m.a(x)), b=conv(8, 8))
projection = {"a": conv(3, 6), "b": conv(6, 8, 3), "n": BatchNorm2d(8), "p": conv(6, 8)}
maps("projection -> a b p", lambda m, x: F.relu(m.n(m.b(m.a(x))) + m.p(m.a(x))), **projection)
maps("input added -> nothing", lambda m, x: m.a(x) + x, a=conv(3, 3), out=conv(3, 2))
maps("product of branches -> a b", lambda m, x: m.a(x) * m.b(x))
maps("maximum of branches -> a b", lambda m, x: torch.maximum(m.a(x), m.b(x)))
maps("concatenation -> a b", lambda m, x: torch.cat([m.a(x), m.b(x)], 1), out=conv(16, 2))
maps("concatenation, input -> a", lambda m, x: torch.cat([x, m.a(x)], 1), out=conv(11, 2))
between("concatenation with itself -> a", lambda y: torch.cat([y, -y], 1), out=conv(16, 2))
maps("concatenation over space -> a b", lambda m, x: torch.cat([m.a(x), m.b(x)], 2))
maps("dense block -> a b c", dense_block, b=conv(8, 6), c=conv(6, 4), out=conv(26, 2))
maps("stack and mean -> a", lambda m, x: torch.stack([m.a(x), m.a(2 * x)]).mean(0))
maps("stack and sum of two -> a b", lambda m, x: torch.stack([m.a(x), m.b(x)]).sum(0))
maps("module used twice -> a b", lambda m, x: m.b(F.relu(m.b(m.a(x)))), b=conv(8, 8))
maps("module on two inputs -> a", lambda m, x, y: m.a(x) - m.a(y), (image(), image() ** 2))
outer = {"a": Linear(12, 4), "b": Linear(12, 6), "out": Linear(24, 2)}
rows("outer product of branches -> nothing", outer_product, tokens()[:, 0], **outer)
maps("spatial gate -> a", lambda m, x: (y := m.a(x)) * m.one(y).sigmoid(), one=conv(8, 1, 3))
maps("one channel -> a b", lambda m, x: m.b(m.one(m.a(x))), one=conv(8, 1), b=conv(1, 8))
maps("squeeze-excite -> a down up", gate, down=conv(8, 4), up=conv(4, 8))
linear = {"down": Linear(8, 4), "up": Linear(4, 8)}
maps("squeeze-excite, linear -> a down up", gate_of_linear_layers, **linear)
listed = maps("module in a plain list -> a", lambda m, x: m.layers[0](x))
listed.layers = [listed.a]
maps("layer that is never reached -> a", lambda m, x: m.a(x), idle=conv(8, 8))
heads = {"a": conv(3, 8), "aux": conv(8, 3), "out": conv(8, 2)}
case("auxiliary head in training -> a", two_heads_in_training, image(), **heads)
maps("mixed in evaluation -> nothing", lambda m, x: m.a(x) if m.training else m.a(x).softmax(1))
case(
    "dict, tuple and object outputs -> a",
    lambda m, x: {"y": (m.out(m.a(x)), [Result(Result(m.b(x)))])},
    image(),
    **{"a": conv(3, 8), "b": conv(3, 8), "out": conv(8, 2)},
)
maps("dict input -> a", lambda m, x, scale: m.a(x) * scale, {"x": image(), "scale": 2.0})
maps("dict as argument -> a", lambda m, batch: m.a(batch["x"]), ({"x": image()},))

# --- convolutions --------------------------------------------------------------------------------


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def grouped(name: str, g: nn.Module, out: int = 8) -> None:
    maps(name, lambda m, x: F.relu(m.g(m.a(x))), g=g, out=conv(out, 2))


grouped("depthwise -> a g", conv(8, 8, 3, groups=8))
grouped("depthwise with a multiplier -> a g", conv(8, 16, 3, groups=8), 16)
grouped("grouped -> a g", conv(8, 8, 3, groups=4))
grouped("two groups -> a g", conv(8, 8, groups=2))
grouped("grouped with more outputs -> a g", conv(8, 12, groups=4), 12)
grouped("grouped with one output a group -> a g", conv(8, 4, groups=4), 4)
grouped("transposed -> a g", nn.ConvTranspose2d(8, 8, 2, stride=2))
one = {"a": nn.Conv1d(12, 8, 2), "out": nn.Conv1d(8, 2, 1)}
rows("one-dimensional -> a", lambda m, x: F.max_pool1d(m.a(x), 2), tokens().mT, **one)
three = {"a": nn.Conv3d(3, 8, 2), "out": nn.Conv3d(8, 2, 1)}
volume = image()[:, :, None].expand(-1, -1, 4, -1, -1)
maps("three-dimensional -> a", lambda m, x: F.avg_pool3d(m.a(x), 2), volume, **three)
maps("without a batch dimension -> a", lambda m, x: F.max_pool2d(m.a(x), 2), image()[0])
maps(
    "functional with a parameter of the model -> a",
    lambda m, x: F.conv2d(m.a(x), m.w, m.bias),
    **{"reads": {"w": 1}, "w": parameter(8, 8, 1, 1), "bias": parameter(8)},
)
maps("reflected border -> a", lambda m, x: m.a(x), a=conv(3, 8, 3, padding_mode="reflect"))
maps("circular border -> a", lambda m, x: m.a(x), out=conv(8, 2, 3, padding_mode="circular"))

# --- data movement -------------------------------------------------------------------------------


def product(a: Tensor, b: Tensor) -> Tensor:
    return a * b


def transpose_in_place(m, x):
    y = m.a(x)
    y.transpose_(1, 2)
    return y


def narrow_differently(y):
    return torch.cat([F.relu(y.narrow(1, 0, 4)), y.narrow(1, 4, y.size(1) - 4)], 1)


def pool_channels_and_space(y):
    return F.max_pool2d(y.flatten(2), 3, 1, 1).unflatten(2, (6, 6))


def write_slice(y):
    y = y.clone()
    y[:, :3] = 1.0
    return y


def write_into_zeros(y):
    zeros = torch.zeros_like(y)
    zeros[:, 2:] = y[:, 2:]
    return zeros


def scale_slice(y):
    y = y.clone()
    y[:, :3].mul_(2)
    return y


between("flatten -> a", lambda y: y.flatten(1), out=Linear(288, 4))
fc = {"fc": Linear(288, 10), "out": Linear(10, 4)}
maps("flatten, two linear layers -> a fc", lambda m, x: m.fc(m.a(x).flatten(1)), **fc)
between("mean, linear -> a", lambda y: y.mean(dim=(-2, -1)), out=Linear(8, 4))
last = {"n": LayerNorm(8), "out": Linear(8, 2)}
maps("channels last by permute -> a", lambda m, x: m.n(m.a(x).permute(0, 2, 3, 1)), **last)
rows("transposed by .T -> a", lambda m, x: m.a(x).T.T, tokens()[:, 0])
short = {"a": Linear(12, 5), "out": Linear(5, 2)}
rows("transposed in place -> nothing", transpose_in_place, **short)
between("chunk gate -> a", lambda y: product(*y.chunk(2, 1)), a=conv(3, 16))
between("GLU -> a", lambda y: F.glu(y, 1), a=conv(3, 16))
between("GLU over space -> a", lambda y: F.glu(y, 2))
between("unpacked -> a", lambda y: product(*y.unflatten(1, (2, -1)).unbind(1)), a=conv(3, 16))
between("iterated -> a", lambda y: torch.stack([2 * image for image in y]))
maps("cat, then chunk -> a b", lambda m, x: product(*torch.cat([m.a(x), m.b(x)], 1).chunk(2, 1)))
maps(
    "concatenation, then uneven split -> nothing",
    lambda m, x: torch.cat([m.a(x), m.b(x)], 1).split([6, 10], 1)[0],
    out=conv(6, 2),
)
between("split by number -> nothing", lambda y: product(*y.split(8, 1)), a=conv(3, 16))
between("split by width -> a", lambda y: product(*y.split(y.shape[1] // 2, 1)), a=conv(3, 16))
between("slice by number -> nothing", lambda y: y[:, :8], a=conv(3, 12))
between("slices differ -> nothing", lambda y: torch.cat([F.relu(y[:, :4]), y[:, 4:]], 1))
between("narrow treated differently -> nothing", narrow_differently)
between("negative padding -> nothing", lambda y: F.pad(y, (0, 0, 0, 0, 0, -4)), a=conv(3, 12))
between("one channel times all -> nothing", lambda y: y * y[:, 3:4])
between("first channel times all -> a", lambda y: y * y[:, :1])
order = nn.Buffer(torch.tensor([3, 1, 0, 2, 7, 6, 5, 4]))
maps("channels by an index buffer -> nothing", lambda m, x: m.a(x)[:, m.order], order=order)
between("flipped -> a", lambda y: y.flip(1))
between("flipped and added -> a", lambda y: y + y.flip(1))
between("rolled -> a", lambda y: y.roll(3, 2))
between("rolled channels -> nothing", lambda y: y + y.roll(1, 1))
between("repeated -> a", lambda y: y.repeat(1, 2, 1, 1), out=conv(16, 2))
between("interleaved -> a", lambda y: torch.repeat_interleave(y, 2, dim=1), out=conv(16, 2))
between("channel shuffle -> nothing", lambda y: shuffle(y, 2))
between("pixel shuffle -> a", lambda y: F.pixel_shuffle(y, 2), a=conv(3, 32))
between("pixel unshuffle -> a", lambda y: F.pixel_unshuffle(y, 2), out=conv(32, 2))
between("hard-coded view -> nothing", lambda y: y.view(-1, 8, 36).mean(2)[:, :, None, None])
between("zero padding -> a", lambda y: F.max_pool2d(F.pad(y, (1, 1, 1, 1)), 2))
between("constant padding -> a", lambda y: F.relu(F.pad(y, (1, 0), value=1.5)))
between("reflected padding -> a", lambda y: F.pad(y, (2, 2, 1, 1), mode="reflect"))
maps(
    "padded channels -> nothing",
    lambda m, x: m.n(m.b(x) + F.pad(m.a(x), (0, 0, 0, 0, 0, 4))),
    **{"a": conv(3, 4), "n": BatchNorm2d(8)},
)
wider = Linear(10, 2)
rows("reflected channels -> nothing", lambda m, x: F.pad(m.a(x), (1, 1), "reflect"), out=wider)
between("written in place -> nothing", write_slice)
between("written in place into zeros -> nothing", write_into_zeros)
between("scaled in place -> nothing", scale_slice)
maps("in-place -> a b", lambda m, x: F.relu(m.a(x), inplace=True).clone().add_(m.b(x)).sigmoid_())

# --- over many elements --------------------------------------------------------------------------

between("softmax over channels -> nothing", lambda y: y.softmax(1))
between("softmax over space -> a", lambda y: y.flatten(2).softmax(2).unflatten(2, (6, 6)))
between("normalized channels -> nothing", lambda y: F.normalize(y, dim=1))
between("mean over channels -> nothing", lambda y: y - y.mean(1, keepdim=True))
between("maximum over channels -> nothing", lambda y: y / (1 + y.amax(1, keepdim=True).abs()))
rows("pooling over tokens and channels -> nothing", lambda m, x: F.avg_pool2d(m.a(x), 3, 1, 1))
rows("pooling channels -> nothing", lambda m, x: F.avg_pool1d(m.a(x), 3, 1, 1), tokens()[:, 0])
between("pooling over channels and space -> nothing", pool_channels_and_space)
between("interpolated -> a", lambda y: F.interpolate(y, scale_factor=2, mode="bilinear"))
between("divided by the width -> nothing", lambda y: y / y.shape[1])
maps("last divided by its width -> a", lambda m, x: (y := m.b(m.a(x))) / y.size(1), b=conv(8, 8))
case(
    "output divided by a width -> a",
    lambda m, x: m.out(y := m.b(m.a(x))) / y.size(1),
    image(),
    **{"a": conv(3, 8), "b": conv(8, 8), "out": conv(8, 2)},
)
between("divided by a tensor -> nothing", lambda y: y / torch.tensor(y.shape[1]).sqrt())
between("path depends on width -> nothing", lambda y: F.relu(y) if y.shape[1] > 6 else y.sigmoid())
maps(
    "sum of copies -> nothing",
    lambda m, x: (y := m.a(x)) + m.one(x).expand(-1, y.size(1), -1, -1).sum(1, True),
    one=conv(3, 1),
)
between("mean by width -> nothing", lambda y: F.pad(y, (0, y.size(1))).mean(3, keepdim=True))
between("softmax by width -> nothing", lambda y: F.pad(y, (0, y.size(1))).softmax(3)[..., :1])

# --- normalization and parameters of channels ----------------------------------------------------


class Buffered(nn.Module):
    """Adds a constant to every channel."""

    def __init__(self, *shape: int):
        super().__init__()
        self.register_buffer("constant", torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.constant


def class_token(m, x):
    return torch.cat([m.token.expand(2, -1, -1), m.a(x)], 1).add(m.position)[:, 0]


layer("BatchNorm -> a", BatchNorm2d(8))
layer("BatchNorm without weights -> a", BatchNorm2d(8, affine=False))
layer("BatchNorm without statistics -> a", BatchNorm2d(8, track_running_stats=False))
layer("BatchNorm with neither -> a", BatchNorm2d(8, affine=False, track_running_stats=False))
layer("InstanceNorm -> a", nn.InstanceNorm2d(8, affine=True))
layer("InstanceNorm without weights -> a", nn.InstanceNorm2d(8))
layer("GroupNorm -> a", GroupNorm(4, 8))
layer("GroupNorm of one group -> a", GroupNorm(1, 8))
layer("GroupNorm of one group without weights -> a", GroupNorm(1, 8, affine=False))
layer("GroupNorm of two groups -> a", GroupNorm(2, 8))
layer("GroupNorm without weights -> nothing", GroupNorm(4, 8, affine=False))
layer("LayerNorm over a map -> a", LayerNorm([8, 6, 6]))
weightless = LayerNorm(8, elementwise_affine=False)
rows("LayerNorm without weights -> a", lambda m, x: m.n(m.a(x)), n=weightless)
rows("RMSNorm -> a", lambda m, x: m.n(m.a(x)), n=nn.RMSNorm(8))
rows(
    "LayerNorm of fixed shape -> nothing",
    lambda m, x: F.layer_norm(m.a(x), (8,), m.s),
    s=parameter(8),
)
between("local response norm -> nothing", lambda y: F.local_response_norm(y, 3))
layer("PReLU -> a", nn.PReLU(8))
layer("PReLU of one slope -> a", nn.PReLU())
maps("scale of shape [C, 1, 1] -> a", lambda m, x: m.a(x) * m.s, s=parameter(8, 1, 1))
rows("scale of shape [C] -> a", lambda m, x: m.a(x) * m.s + m.s, s=parameter(8))
maps("spatial parameter -> a", lambda m, x: m.a(x) * m.s, s=parameter(1, 1, 6, 6))
maps("one slope for all -> a", lambda m, x: m.a(x) * m.s, s=parameter(1))
layer("constant buffer of channels -> a", Buffered(1, 8, 1, 1))
mask = nn.Buffer(torch.arange(8).view(1, 8, 1, 1) % 3 > 0)
maps("boolean buffer of channels -> nothing", lambda m, x: m.a(x) * m.mask, mask=mask)
rows("position embedding -> a", lambda m, x: F.gelu(m.a(x) + m.s), s=parameter(1, 5, 8))
positions = {"token": parameter(1, 1, 8), "position": parameter(1, 6, 8)}
rows("class token -> a", class_token, **positions)
between("own tensor of ones -> nothing", lambda y: y * torch.ones(1, 8, 1, 1).to(y))
maps("weight's own norm -> nothing", lambda m, x: m.b(x) + m.a(x) / m.a.weight.norm())
maps("data of a weight -> nothing", lambda m, x: m.a(x) / m.a.weight.data.abs().sum())

# --- autograd, types, words ----------------------------------------------------------------------


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


def same_dtype(m, x):
    y = m.a(x)
    assert y.dtype == m.a.weight.dtype
    assert y.is_floating_point()
    return y + torch.zeros((), dtype=y.dtype, device=y.device)


def tied_head(m, ids):
    h = m.a(ids)
    return m.norm(h + m.c(F.relu(m.b(h))))


maps("data of an activation -> a b", lambda m, x: m.a(x) + m.b(x).data)
maps("detached -> a b", lambda m, x: m.a(x) + m.b(x).detach())
maps("frozen -> a", lambda m, x: m.a(x)).a.weight.requires_grad = False
between("own autograd function -> a", Swish.apply)
maps("checkpointed -> a", lambda m, x: checkpoint(m.a, x, use_reentrant=False))
maps("uses x.dtype -> a", same_dtype)
layer("dropout -> a", nn.Sequential(nn.Dropout2d(), nn.Dropout()))
reads, of_ids = Linear(8, 6), Embedding(11, 8)
rows("embedding -> a b", lambda m, x: m.b(m.a(x)), WORDS, a=of_ids, b=reads, out=Linear(6, 2))
clipped = Embedding(11, 8, max_norm=1.0)
rows("embedding of limited norm -> nothing", lambda m, x: m.a(x), WORDS, a=clipped)
tied = rows(
    "embedding and head share a weight -> a b c",
    tied_head,
    WORDS,
    {"a.weight": 1},
    **{"a": Embedding(11, 8), "b": Linear(8, 6), "c": Linear(6, 8), "norm": LayerNorm(8)},
    out=Linear(8, 11, bias=False),
)
tied.out.weight = tied.a.weight
case(
    "embedding as the head's matrix -> nothing",
    lambda m, ids: m.a(m.words(ids)) @ m.words.weight.T,
    WORDS,
    **{"words": Embedding(11, 8), "a": Linear(8, 8)},
)

# --- layers that are not understood --------------------------------------------------------------


def attention(m, x):
    x = m.a(x)
    q, k, v = m.qkv(x).chunk(3, dim=-1)
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    return x + m.proj(weights @ v)


def self_attention(m, x):
    x = m.a(x)
    return m.up(m.n(x, x, x)[0])


layer("weight_norm -> nothing", parametrizations.weight_norm(conv(8, 8)))
maps("standardized weight -> nothing", lambda m, x: F.conv2d(x, m.a.weight - m.a.weight.mean()))
added = {"up": parameter(8, 2), "down": parameter(2, 12)}
rows("low rank added -> nothing", lambda m, x: F.linear(x, m.a.weight + m.up @ m.down), **added)
listed = maps("parameter in a plain list -> nothing", lambda m, x: F.conv2d(m.a(x), m.hidden[0]))
listed.hidden = [Parameter(torch.randn(8, 8, 1, 1, dtype=torch.float64))]
two = {"b": Linear(12, 8), "two": nn.Bilinear(8, 8, 8)}
rows("bilinear -> nothing", lambda m, x: m.two(m.a(x), m.b(x)), **two)
of_einsum = {"reads": {"w": 1}, "w": parameter(8, 8)}
rows("einsum -> a", lambda m, x: torch.einsum("nlc,dc->nld", m.a(x), m.w), **of_einsum)
rows("attention by hand -> a proj", attention, qkv=Linear(8, 24), proj=Linear(8, 8))
heads = {"n": nn.MultiheadAttention(8, 2, batch_first=True), "up": Linear(8, 16)}
rows("MultiheadAttention -> a n n.out_proj up", self_attention, **heads, out=Linear(16, 2))
encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
cut = "a n.self_attn n.self_attn.out_proj n.linear1 n.linear2"
rows(f"TransformerEncoderLayer -> {cut}", lambda m, x: m.n(m.a(x)), n=encoder)
