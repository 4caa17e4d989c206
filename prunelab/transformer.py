"""A transformer that reads characters, and its loss in bits (notebook 17)."""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks import check_count, is_number, said
from prunelab.seeds import seeded


class Attention(nn.Module):
    r"""Half a block: every position looks at itself and those before it, and adds what it finds.

    $$y_t = h_t + W_o \sum_{s \le t} a_{ts} v_s, \qquad
    a_{ts} = \frac{\exp(q_t^\top k_s / \sqrt{d})}{\sum_{r \le t} \exp(q_t^\top k_r / \sqrt{d})}
    \tag{17.1}$$

    where the layer `qkv` makes query $q_t$, key $k_t$ and value $v_t$ of $d$ numbers from the
    normalized $h_t$. Several heads do this side by side, each with its own part of the numbers.

    Source: Vaswani et al. (2017), arXiv:1706.03762; normalized before, as in GPT-2.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """From `[N, T, width]` to the same shape."""
        parts = self.qkv(self.norm(h)).unflatten(2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each [N, heads, T, width / heads]
        found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return h + self.out(found.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """The other half: two layers that see one position at a time."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        """From `[N, T, width]` to the same shape."""
        return h + self.down(F.gelu(self.up(self.norm(h))))


class CharGPT(nn.Module):
    """Blocks of attention and MLP between characters and scores of the next one."""

    def __init__(self, characters: int, context: int, layers: int, width: int, heads: int):
        super().__init__()
        self.characters = nn.Embedding(characters, width)
        self.positions = nn.Embedding(context, width)
        halves = [
            OrderedDict(attention=Attention(width, heads), mlp=MLP(width)) for _ in range(layers)
        ]
        self.blocks = nn.Sequential(*map(nn.Sequential, halves))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, characters, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """From characters `[N, T]` to scores of the next one `[N, characters, T]`."""
        places = torch.arange(x.shape[1], device=x.device)
        h = self.blocks(self.characters(x) + self.positions(places))
        return self.head(self.norm(h)).transpose(1, 2)


def char_gpt(
    characters: int = 96,
    context: int = 64,
    layers: int = 4,
    width: int = 128,
    heads: int = 4,
    seed: int | None = None,
) -> nn.Module:
    """A GPT small enough to be trained on one core: 821,504 parameters.

    Args:
        characters, context: how many different ones there are, and how many it can look at.
        layers: blocks of attention and MLP.
        width, heads: numbers a position, a multiple of the heads of each attention.
        seed: draws the initial weights. None uses torch's own random state.

    Source: Radford et al. (2019), GPT-2; without dropout, biases of layers and a tied head.
    """
    sizes = {"characters": characters, "context": context, "layers": layers, "width": width}
    for name, size in (*sizes.items(), ("heads", heads)):
        check_count(name, size, most=2**31 - 1)
    if width % heads:
        raise ValueError(f"width={width} must be a multiple of heads={heads}")
    with seeded(seed):
        model = CharGPT(**sizes, heads=heads)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:  # the ends of the 2 · layers residual halves are smaller
                depth = 2 * layers if name.endswith(("out.weight", "down.weight")) else 1
                embeds = name.startswith(("characters", "positions"))
                std = 0.1 if embeds else 1 / math.sqrt(parameter.shape[1] * depth)
                nn.init.normal_(parameter, std=std)
    return model


def bits(loss: float) -> float:
    r"""A cross-entropy in bits a character: how well a text could be compressed by the network.

    $$b = \frac{\mathcal{L}}{\ln 2} = -\frac{1}{N} \sum_{i=1}^{N} \log_2 p_\theta(x_i \mid
    \text{those before it}) \tag{17.2}$$

    Whoever knows nothing needs $\log_2 96 = 6.58$ bits for one of 96 characters.

    Args:
        loss: in nats, as `evaluate` and `fit` give it.
    """
    if not is_number(loss):
        raise ValueError(f"loss={said(loss)} must be a number")
    return float(loss) / math.log(2)
