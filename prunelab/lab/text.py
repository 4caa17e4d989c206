"""What is seen of a transformer in notebook 17: its text, and what flows through it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks import check_count, is_number, said
from prunelab.checks.tensors import check_model, running_on
from prunelab.masks import effective_weight, refresh, weight_parameter
from prunelab.seeds import seeded
from prunelab.training import evaluation_mode
from prunelab.transformer import bits


@torch.no_grad()
def continued(
    model: nn.Module,
    text: str,
    characters: tuple[str, ...],
    length: int = 200,
    temperature: float = 0.8,
    seed: int = 0,
) -> str:
    """What the network writes after a text, one drawn character after the other.

    Args:
        model: a `char_gpt`.
        text: what to go on from.
        characters: the one of every number, as in `load_data("cpython").classes`.
        length: how many to write.
        temperature: below 1, the likely ones come more often than they should.
        seed: draws the characters.

    Raises:
        ValueError: an empty text, or one with a character that is not among them.
    """
    check_model(model)
    check_count("length", length, 0)
    if not is_number(temperature) or temperature <= 0:
        raise ValueError(f"temperature={said(temperature)} must be greater than 0")
    if not text or set(text) - set(characters):
        raise ValueError(f"text={said(text)} must be some of the {len(characters)} characters")
    context = model.get_parameter("positions.weight").shape[0]
    device = model.get_parameter("positions.weight").device
    written = [characters.index(character) for character in text]
    with evaluation_mode(model), seeded(seed):
        for _ in range(length):
            x = torch.tensor([written[-context:]], device=device)
            chances = (model(x)[0, :, -1] / temperature).softmax(dim=0).cpu()
            written.append(int(chances.multinomial(1)))
    return "".join(characters[number] for number in written[len(text) :])


@torch.no_grad()
def surprise(model: nn.Module, text: str, characters: tuple[str, ...]) -> list[float]:
    """How many bits each character of a text but the first costs, by those before it.

    Args:
        model: a `char_gpt`.
        text: at most one character longer than what the network can look at.
        characters: as in `continued`.
    """
    check_model(model)
    numbers = torch.tensor([[characters.index(character) for character in text]])
    with evaluation_mode(model):
        scores = model(numbers[:, :-1])
    losses = F.cross_entropy(scores, numbers[:, 1:], reduction="none")
    return [bits(loss) for loss in losses[0].tolist()]


@torch.no_grad()
def block_influence(model: nn.Module, x: Tensor, names: tuple[str, ...]) -> dict[str, float]:
    r"""How far each of some modules turns what flows through it.

    $$I = 1 - \frac{1}{N} \sum_{t=1}^{N} \frac{h_t^\top y_t}{\|h_t\| \, \|y_t\|}$$

    for the vectors $h_t$ that enter at the $N$ positions, and $y_t$ that leave. A module that
    changes no direction has influence 0, and looks as if it could be left out.

    Args:
        model: any network.
        x: a batch of inputs, such as blocks of the training text.
        names: modules that give back what they get in the same shape, such as "blocks.0".

    Source: Men et al. (2024), arXiv:2403.03853.
    """
    check_model(model)
    found: dict[str, float] = {}

    def of(name: str):
        def hook(module, inputs, output):
            cosine = F.cosine_similarity(inputs[0].double(), output.double(), dim=-1)
            found[name] = 1 - cosine.mean().item()

        return hook

    handles = [model.get_submodule(name).register_forward_hook(of(name)) for name in names]
    try:
        with evaluation_mode(model), running_on("x", x):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return found


def with_outliers(model: nn.Module, factor: float, share: float, seed: int = 0) -> nn.Module:
    """The same function with other numbers: some inputs of the linear layers are larger, in place.

    A share of the channels that leave each normalization is multiplied by the factor, and the
    weights that read them are divided by it. Large models have such channels from their training.

    Args:
        model: a `char_gpt` without masks.
        factor: how many times as large.
        share: of the channels.
        seed: draws which.
    """
    generator = torch.Generator().manual_seed(int(seed))
    for half in (half for block in model.get_submodule("blocks") for half in block):
        (reader,) = [m for n, m in half.named_children() if n in ("qkv", "up")]
        width = half.norm.weight.numel()
        chosen = torch.randperm(width, generator=generator)[: round(share * width)]
        with torch.no_grad():
            half.norm.weight[chosen] *= factor
            half.norm.bias[chosen] *= factor
            reader.weight[:, chosen] /= factor
    return model


def rounded_weights(model: nn.Module, width: int = 8) -> nn.Module:
    r"""Round the weights of the linear layers to whole multiples of a step a row, in place.

    $$w_{ij} \leftarrow \Delta_i \operatorname{round}(w_{ij} / \Delta_i), \qquad
    \Delta_i = \frac{\max_j |w_{ij}|}{2^{b - 1} - 1}$$

    A weight that is zero stays zero. Inputs are not rounded.
    """
    for layer in (layer for layer in model.modules() if isinstance(layer, nn.Linear)):
        weights = weight_parameter(layer).data
        step = effective_weight(layer).detach().abs().amax(dim=1, keepdim=True)
        step = torch.where(step > 0, step, 1.0) / (2 ** (width - 1) - 1)
        weights.copy_((weights / step).round() * step)
    refresh(model)
    return model


def input_spread(gram: Tensor) -> dict[str, float]:
    """How unequal the inputs of a layer are: largest ‖x‖ over the median, and spread of log10 ‖x‖.

    Args:
        gram: of `input_grams`. Inputs that are always zero do not count.
    """
    sizes = gram.diagonal().sqrt()
    sizes = sizes[sizes > 0]
    return {
        "largest": (sizes.max() / sizes.median()).item(),
        "spread": sizes.log10().std().item(),
    }
