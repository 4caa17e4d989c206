"""Cases of attention, as in `surgery_cases`: `rows` from 12 to 16 channels, in four heads of four.

A case is called by what it is and by the layers that are to be narrower once half is cut.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import Embedding, LayerNorm, Linear
from torch.nn import functional as F

from tests.surgery_cases import WORDS, Net, case, parameter, rows

CAUSAL = torch.ones(5, 5).tril().bool()
PADDING = torch.arange(5).expand(2, 5) > torch.tensor([[2], [3]])


class Attention(nn.Module):
    """Self-attention from `width` channels to as many.

    Args:
        split: from the module and its projections, (queries, keys, values) `[B, head, token, 4]`.
        attend: from the module and these three, what comes out, in the shape of the queries.
        join: from the module and that, `[B, token, channel]`.
        numbers: attributes of the module.
    """

    def __init__(
        self,
        split: Callable,
        attend: Callable,
        join: Callable = lambda m, y: y.transpose(1, 2).flatten(2),
        width: int = 16,
        inner: int = 16,
        of_keys: int = 0,
        **numbers,
    ):
        super().__init__()
        self.split, self.attend, self.join = split, attend, join
        for name, number in numbers.items():
            setattr(self, name, number)
        if of_keys:
            self.q, self.k, self.v = (Linear(width, n) for n in (inner, of_keys, of_keys))
        else:
            self.qkv = Linear(width, 3 * inner)
        self.proj = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.q(x), self.k(x), self.v(x)) if hasattr(self, "q") else self.qkv(x)
        return self.proj(self.join(self, self.attend(self, *self.split(self, parts))))


def attention(name: str, split: Callable, attend: Callable, *more, **options) -> Net:
    """A residual stream of 16 channels, written by `a`, beside which attention runs."""
    layers = {"a": Linear(12, 16), "n": Attention(split, attend, *more, **options)}
    return rows(name, lambda m, x: (y := m.a(x)) + m.n(y), **layers, out=Linear(16, 2))


# --- ways to make heads --------------------------------------------------------------------------


def in_heads(t: Tensor, *sizes: int) -> Tensor:
    return t.view(*t.shape[:-1], *sizes).transpose(1, 2)


def chunks(m, qkv):
    return (in_heads(t, m.n_head, -1) for t in qkv.chunk(3, -1))


def chunks_of_four(m, qkv):
    return (in_heads(t, -1, 4) for t in qkv.chunk(3, -1))


def by_number(m, qkv):
    return (in_heads(t, 4, -1) for t in qkv.chunk(3, -1))


def five_dimensions(m, qkv):
    return qkv.view(*qkv.shape[:2], 3, -1, 4).permute(2, 0, 3, 1, 4)


def by_division(m, qkv):
    depth = qkv.shape[-1] // 3 // m.num_heads
    return qkv.reshape(*qkv.shape[:2], 3, m.num_heads, depth).permute(2, 0, 3, 1, 4).unbind(0)


def heads_first(m, qkv):
    return qkv.unflatten(-1, (-1, 3, 4)).permute(3, 0, 2, 1, 4)


def separate(m, parts):
    return (in_heads(t, -1, 4) for t in parts)


def separate_by_attributes(m, parts):
    q, k, v = parts
    return in_heads(q, m.heads, 4), in_heads(k, m.kv_heads, 4), in_heads(v, m.kv_heads, 4)


def one_head(m, qkv):
    return (t[:, None] for t in qkv.chunk(3, -1))


# --- ways to attend ------------------------------------------------------------------------------


def sdpa(m, q, k, v):
    return F.scaled_dot_product_attention(q, k, v)


def causal(m, q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def masked(m, q, k, v):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=~PADDING[:, None, None])


def by_hand(m, q, k, v):
    return (q @ k.mT / math.sqrt(k.size(-1))).softmax(-1) @ v


def by_hand_causal(m, q, k, v):
    scores = torch.matmul(q, k.transpose(-2, -1)) * 4**-0.5
    return F.softmax(scores.masked_fill(~CAUSAL, float("-inf")), dim=-1).matmul(v)


def by_einsum(m, q, k, v):
    weights = torch.einsum("bhid, bhjd -> bhij", q * 0.5, k).softmax(-1)
    return torch.einsum("bhij, bhjd -> bhid", weights, v)


def by_bmm(m, q, k, v):
    one, other, values = (t.reshape(-1, *t.shape[2:]) for t in (q, k, v))
    return torch.bmm(torch.bmm(one, other.mT).softmax(-1), values).view(q.shape)


def with_bias(m, q, k, v):
    return ((q @ k.mT) / 2 + m.bias).softmax(-1) @ v


def grouped(m, q, k, v):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def repeated(m, q, k, v):
    k, v = (t.repeat_interleave(2, 1) for t in (k, v))
    return by_hand(m, q, k, v)


def expanded(m, q, k, v):
    k, v = (t[:, :, None].expand(-1, -1, 2, -1, -1).flatten(1, 2) for t in (k, v))
    return sdpa(m, q, k, v)


def one_for_all(m, q, k, v):
    weights = torch.einsum("bhid, bjd -> bhij", q / 2, k[:, 0]).softmax(-1)
    return torch.einsum("bhij, bjd -> bhid", weights, v[:, 0])


class BiasOfPlaces(nn.Module):
    """What is added to the scores: a number a head for each distance of two places."""

    def __init__(self):
        super().__init__()
        self.table = parameter(9, 4)
        self.bias_shape = (5, 5, 4)
        self.register_buffer("places", torch.arange(5)[:, None] - torch.arange(5) + 4)

    def forward(self):
        return self.table[self.places.flatten()].view(self.bias_shape).permute(2, 0, 1)


def with_bias_of_places(m, q, k, v):
    return ((q @ k.mT) / 2 + m.bias()).softmax(-1) @ v


def of_fewer_places(m, x):
    """Keys and values of a sequence that a layer has shortened, as in pyramids."""
    q, (batch, length, width) = m.q(x), x.shape
    fewer = m.shorter(x.mT).reshape(batch, width, -1).mT
    q, k, v = (in_heads(t, m.num_heads, width // m.num_heads) for t in (q, m.k(fewer), m.v(fewer)))
    return m.proj(sdpa(m, q, k, v).transpose(1, 2).reshape(batch, length, width))


def keys_first(m, q, k, v):
    return (k @ q.mT / 2).softmax(-2).mT @ v


def padded(m, q, k, v):
    return (F.pad(q * m.scale, (1, 0)) @ F.pad(k, (1, 0)).mT).softmax(-1) @ v


def copied(m, q, k, v):
    k, v = (t.expand(-1, m.heads, -1, -1) for t in (k, v))
    return by_hand(m, q, k, v)


def between_channels(m, q, k, v):
    return (((q.mT @ k) / 2).softmax(-1) @ v.mT).mT


def cosine(m, q, k, v):
    return ((F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT) * m.scale).softmax(-1) @ v


def normalized(m, q, k, v):
    return sdpa(m, m.norm(q), m.norm(k), v)


def rotated(m, q, k, v):
    def turn(t: Tensor) -> Tensor:
        angle = torch.arange(5.0)[:, None] * torch.tensor([1.0, 0.1, 1.0, 0.1])
        half = torch.cat([-t[..., 2:], t[..., :2]], -1)
        return t * angle.cos().to(t) + half * angle.sin().to(t)

    return sdpa(m, turn(q), turn(k), v)


def over_heads(m, q, k, v):
    return by_hand(m, q, k, v).softmax(1)


def talking(m, q, k, v):
    """Scores of all heads are mixed by a matrix."""
    scores = (q @ k.mT / 2).movedim(1, -1)
    return m.mix(scores).movedim(-1, 1).softmax(-1) @ v


def by_four(m, y):
    return y.transpose(1, 2).reshape(*y.shape[:1], 5, 16)


ALL = "a n.qkv n.proj"
APART = "a n.q n.k n.v n.proj"
attention(f"heads of chunks, SDPA -> {ALL}", chunks, sdpa, n_head=4)
attention(f"five dimensions, causal -> {ALL}", five_dimensions, causal)
attention(f"heads in front of q, k and v -> {ALL}", heads_first, sdpa)
attention(f"padding masked -> {ALL}", chunks_of_four, masked)
attention(f"heads by hand -> {ALL}", chunks, by_hand, n_head=4)
longest = {"n_head": 4, "max_length": 16, "block_size": 4}
attention(f"a length that equals the width -> {ALL}", chunks, sdpa, **longest)
attention(f"heads by hand, causal -> {ALL}", chunks_of_four, by_hand_causal)
attention(f"head width by division -> {ALL} n", by_division, by_hand, num_heads=4)
attention(f"between channels of a head -> {ALL} n", by_division, between_channels, num_heads=4)
attention(f"heads by einsum -> {ALL}", chunks_of_four, by_einsum)
attention(f"heads folded into the batch -> {ALL}", chunks_of_four, by_bmm)
attention(f"separate q, k and v -> {APART}", separate, sdpa, of_keys=16)
two_of_four = {"of_keys": 8, "heads": 4, "kv_heads": 2}
attention(f"grouped queries -> {APART}", separate, grouped, of_keys=8)
attention(f"grouped queries, repeated -> {APART}", separate, repeated, of_keys=8)
attention(f"grouped queries, expanded -> {APART}", separate, expanded, of_keys=8)
attention(f"grouped, by attributes -> {APART}", separate_by_attributes, grouped, **two_of_four)
attention("one head of keys for all -> a n.q n.proj", separate, grouped, of_keys=4)
attention("one head of keys for all, by hand -> a n.q n.proj", separate, by_hand, of_keys=4)
attention("one head of keys for all, by einsum -> a n.q n.proj", separate, one_for_all, of_keys=4)
name = "one head of keys for two, keys first -> a n.q n.proj"
attention(name, lambda m, parts: (in_heads(t, -1, 8) for t in parts), keys_first, of_keys=8)
attention("one head of keys, copied -> a n.proj", separate, copied, of_keys=4, heads=4)
attention(f"cosine attention -> {ALL}", chunks_of_four, cosine).n.scale = parameter(4, 1, 1)
attention(f"normalized queries -> {ALL}", chunks_of_four, normalized).n.norm = nn.RMSNorm(4)
plain = nn.LayerNorm(4, elementwise_affine=False)
attention(f"normalized without weights -> {ALL}", chunks_of_four, normalized).n.norm = plain
attention(f"rotated queries -> {ALL}", chunks_of_four, rotated)
attention(f"bias of each head -> {ALL}", chunks_of_four, with_bias).n.bias = parameter(1, 4, 5, 5)
attention(f"a zero in front of each head -> {APART}", separate, padded, of_keys=16, scale=0.5)
name = f"a zero in front, channels of each head scaled -> {APART}"
attention(name, separate, padded, of_keys=16).n.scale = parameter(4)
pyramid = Net(of_fewer_places, shorter=nn.Conv1d(12, 12, 2, 2))
pyramid.num_heads = 3
for layer in ("q", "k", "v", "proj"):
    pyramid.add_module(layer, Linear(12, 12))
rows(
    "fewer keys than queries, three heads -> a n n.q n.k n.v n.shorter n.proj",
    lambda m, x: (y := m.a(x)) + m.n(y),
    a=Linear(12, 12),
    n=pyramid,
    out=Linear(12, 2),
)
of_places = f"bias of each head, of a shape -> {ALL}"
attention(of_places, chunks_of_four, with_bias_of_places, bias=BiasOfPlaces())
attention("softmax over heads -> a n.proj", chunks_of_four, over_heads)
attention(f"heads that talk -> {APART} n.mix", separate, talking, of_keys=16).n.mix = Linear(4, 4)
attention("four heads by number -> a n.proj", by_number, by_hand)
attention("width by number -> a n.proj", chunks_of_four, sdpa, by_four)
attention("one head alone -> a n.proj", one_head, by_hand, lambda m, y: y[:, 0])
apart = "one head alone, separate q, k and v -> a n.v n.proj"
attention(
    apart, lambda m, parts: (t[:, None] for t in parts), by_hand, lambda m, y: y[:, 0], of_keys=16
)
attention(f"wider inside -> {ALL}", chunks_of_four, sdpa, inner=24)

# --- layers of torch -----------------------------------------------------------------------------


def self_attention(m, x):
    y = m.a(x)
    return y + m.n(y, y, y)[0]


def cross_attention(m, x):
    return m.n(m.a(x), m.b(x), m.b(x), need_weights=False)[0]


def cross_attention_of_another_width(m, x):
    y = m.b(x)
    return m.n(m.a(x), y, y)[0]


def multi_head(name: str, run: Callable, **options) -> Net:
    options = {"batch_first": True} | options
    layers = {"a": Linear(12, 16), "n": nn.MultiheadAttention(16, 4, **options)}
    return rows(name, run, **layers, b=Linear(12, options.get("kdim", 16)), out=Linear(16, 2))


def masks(m, x):
    y = m.a(x)
    return m.n(y, y, y, key_padding_mask=PADDING, attn_mask=~CAUSAL, is_causal=True)[0]


def mask_of_each_head(m, x):
    y = m.a(x)
    return m.n(y, y, y, attn_mask=~CAUSAL.expand(8, 5, 5))[0]


def weights_used(m, x):
    y, weights = m.n(*[m.a(x)] * 3)
    return y * weights.mean(-1, keepdim=True)


def weights_of_each_head(m, x):
    y, weights = m.n(*[m.a(x)] * 3, average_attn_weights=False)
    return y * weights.sum(1).mean(-1, keepdim=True)


MULTI = "a n n.out_proj"
multi_head(f"MultiheadAttention with residual -> {MULTI}", self_attention)
multi_head(f"MultiheadAttention, batch second -> {MULTI}", self_attention, batch_first=False)
multi_head(f"MultiheadAttention without bias -> {MULTI}", self_attention, bias=False)
multi_head(f"cross-attention -> {MULTI} b", cross_attention)
multi_head(
    f"cross-attention of another width -> {MULTI} b",
    cross_attention_of_another_width,
    kdim=8,
    vdim=8,
)
multi_head("keys of its own -> nothing", self_attention, add_bias_kv=True)
multi_head("zero attention -> nothing", self_attention, add_zero_attn=True)
multi_head(f"causal and padding masks -> {MULTI}", masks)
multi_head("a mask for each head -> nothing", mask_of_each_head)
multi_head("averaged weights are used -> n.out_proj", weights_used)
multi_head("weights of each head are used -> n.out_proj", weights_of_each_head)

LAYER = ("self_attn", "self_attn.out_proj", "linear1", "linear2")


def transformer(name: str, layers: str, run: Callable, n: nn.Module) -> None:
    cut = " ".join(f"n.layers.{i}.{layer}" for i in range(2) for layer in layers.split())
    rows(f"{name} -> a b {cut}", run, a=Linear(12, 16), b=Linear(16, 16), n=n, out=Linear(16, 2))


options = {"dropout": 0.0, "batch_first": True}
first = nn.TransformerEncoderLayer(16, 4, 24, norm_first=True, **options)
encoder = nn.TransformerEncoder(first, 2, enable_nested_tensor=False)
transformer("encoder", " ".join(LAYER), lambda m, x: m.b(m.n(m.a(x))), encoder)
decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 24, **options), 2)
of_decoder = " ".join([*LAYER, "multihead_attn", "multihead_attn.out_proj"])
transformer("decoder", of_decoder, lambda m, x: m.n(m.a(x), m.b(m.a(x)), ~CAUSAL), decoder)

layers = [f"{side}.layers.0.{n}" for side in ("encoder", "decoder") for n in of_decoder.split()]
cut = " ".join(f"n.{n}" for n in layers if not n.startswith("encoder.layers.0.multi"))
whole = nn.Transformer(16, 4, 1, 1, 24, 0.0, batch_first=True)
of_whole = {"a": Linear(12, 16), "b": Linear(12, 16), "n": whole, "out": Linear(16, 2)}
rows(f"Transformer -> a b {cut}", lambda m, x: m.n(m.a(x), m.b(x)), **of_whole)


# --- whole language models -----------------------------------------------------------------------


class GPTBlock(nn.Module):
    def __init__(self, attend: Callable):
        super().__init__()
        self.n_embd, self.n_head, self.attend = 16, 4, attend
        self.norm, self.last_norm = LayerNorm(16), LayerNorm(16)
        self.qkv, self.proj = Linear(16, 48), Linear(16, 16)
        self.up, self.down = Linear(16, 64), Linear(64, 16)

    def forward(self, x: Tensor) -> Tensor:
        size, length, width = x.shape
        heads = (size, length, self.n_head, width // self.n_head)
        q, k, v = (
            t.view(heads).transpose(1, 2) for t in self.qkv(self.norm(x)).split(self.n_embd, 2)
        )
        y = self.attend(self, q, k, v).transpose(1, 2).contiguous().view(size, length, width)
        x = x + self.proj(y)
        return x + self.down(F.gelu(self.up(self.last_norm(x))))


def gpt_attention(m, q, k, v):
    length = q.size(2)
    scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
    scores = scores.masked_fill(m.bias[:, :, :length, :length] == 0, float("-inf"))
    return scores.softmax(-1) @ v


def gpt(m, ids):
    x = m.words(ids) + m.places(torch.arange(ids.size(1)))
    for block in m.blocks:
        x = block(x)
    return m.out(m.norm(x))


for name, attend in (("", causal), (", by hand", gpt_attention)):
    blocks = nn.ModuleList(GPTBlock(attend) for _ in range(2))
    for block in blocks:
        block.register_buffer("bias", torch.ones(1, 1, 8, 8).tril())
    layers = {"words": Embedding(11, 16), "places": Embedding(8, 16), "norm": LayerNorm(16)}
    of_blocks = [f"blocks.{i}.{n}" for i in range(2) for n in ("qkv", "proj", "up", "down")]
    model = case(
        f"language model with tied embeddings{name} -> words places {' '.join(of_blocks)}",
        gpt,
        WORDS,
        {"words.weight": 1},
        **layers,
        blocks=blocks,
        out=Linear(16, 11, bias=False),
    )
    model.out.weight = model.words.weight
