"""Pruning before training: what the first weights and their gradients say (notebook 16)."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks import check_count, check_fraction, check_seed, is_number, said
from prunelab.checks.tensors import check_model, check_split, check_tensor
from prunelab.data import Split
from prunelab.masks import effective_weight, make_pruning_permanent, masked_weight, set_mask
from prunelab.pruning import apply_global_pruning, layers_to_prune, lowest

Scores = dict[str, Tensor]
"""A score for each weight of a layer, by the layer's name; the lowest are pruned first."""


def snip_scores(model: nn.Module, split: Split) -> Scores:
    r"""How much the loss would change, to first order, if a weight were taken away.

    $$s_i = \left| w_i \frac{\partial \mathcal{L}}{\partial w_i} \right| \tag{16.1}$$

    with the loss (0.1) of the given images, in training mode.

    Args:
        model: any network, usually one that has not been trained.
        split: the images and labels that are looked at, such as `data.train[:1000]`.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`.

    Source: Lee, Ajanthan & Torr (2019), arXiv:1810.02340.
    """
    weights, gradients = gradients_of(model, split)
    return {name: (weights[name] * gradients[name]).detach().abs() for name in weights}


def grasp_scores(model: nn.Module, split: Split, temperature: float = 200.0) -> Scores:
    r"""How much the gradient would lose of its length, to first order, without a weight.

    $$s_i = w_i \, (H g)_i, \qquad g = \nabla_w \mathcal{L}, \quad H = \nabla_w^2 \mathcal{L}
    \tag{16.2}$$

    where the network's outputs are divided by the temperature before the loss (0.1). A score below
    zero belongs to a weight without which the gradient would be longer: it goes first.

    Args:
        model, split: as in `snip_scores`.
        temperature: 200 in the authors' code; it keeps the outputs where the loss is smooth.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`.

    Source: Wang, Zhang & Grosse (2020), arXiv:2002.07376.
    """
    if not is_number(temperature) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature={said(temperature)} must be a number above 0")
    weights, gradients = gradients_of(model, split, temperature)
    length = torch.stack([(g.detach() * g).sum() for g in gradients.values()]).sum()
    products = _gradients_at(weights, length)
    return {name: (weights[name] * products[name]).detach() for name in weights}


def synflow_scores(model: nn.Module, example_inputs: Tensor) -> Scores:
    r"""The share of a weight in all paths from inputs to outputs; no image is looked at.

    $$s_i = \frac{\partial R}{\partial |w_i|} \, |w_i|, \qquad
    R = \sum_c f_{|\theta|}(\mathbf{1})_c \tag{16.3}$$

    where all parameters and statistics are replaced by their absolute values and the input is one
    everywhere, in evaluation mode, in float64.

    Args:
        model: any network.
        example_inputs: an input of the right shape; its values do not matter.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`.

    Source: Tanaka et al. (2020), arXiv:2006.05467.
    """
    check_tensor("example_inputs", example_inputs)
    twin = _twin(model).double().eval()
    for tensor in twin.state_dict().values():
        tensor.abs_()
    weights = _weights(twin)
    ones = torch.ones_like(example_inputs[:1], dtype=torch.float64)
    flow = twin(ones.to(next(twin.parameters()).device)).sum()
    gradients = _gradients_at(weights, flow)
    return {name: (weights[name] * gradients[name]).detach() for name in weights}


def apply_synflow(
    model: nn.Module, sparsity: float, example_inputs: Tensor, rounds: int = 100
) -> nn.Module:
    r"""Prune by `synflow_scores` in many rounds, with scores of what is left in each, in place.

    $$\text{sparsity}_k = 1 - (1 - \text{sparsity})^{k / n}, \qquad k = 1 \dots n \tag{16.4}$$

    Args:
        model: a network, usually one that has not been trained.
        sparsity: fraction of all weights that are pruned in the end, 0 ≤ sparsity < 1.
        example_inputs: as in `synflow_scores`.
        rounds: $n$, 100 in the paper; with one round layers collapse as by other scores.

    Returns:
        The same model, masked.
    """
    check_fraction("sparsity", sparsity)
    check_count("rounds", rounds)
    for i in range(1, rounds + 1):
        scores = synflow_scores(model, example_inputs)
        so_far = 1 - (1 - sparsity) ** (i / rounds)
        apply_global_pruning(model, sparsity=so_far, criterion=scores)
    return model


def erk_densities(model: nn.Module, density: float) -> dict[str, float]:
    r"""The density of each layer by the Erdős–Rényi kernel: small layers keep a larger share.

    $$d_l = \min\Big(1,\; \varepsilon \,
    \frac{n^\text{in}_l + n^\text{out}_l + \sum_i k_{l,i}}
    {n^\text{in}_l \, n^\text{out}_l \prod_i k_{l,i}} \Big) \tag{16.5}$$

    for $n$ channels and a kernel of sides $k_i$, with $\varepsilon$ such that the whole network
    has the density asked for.

    Args:
        model: any network.
        density: fraction of all prunable weights that are kept, 0 < density ≤ 1.

    Returns:
        A density for each layer, by its name.

    Source: Evci et al. (2020), arXiv:1911.11134.
    """
    if not is_number(density) or not 0 < density <= 1:
        raise ValueError(f"density={said(density)} must be above 0 and at most 1")
    layers = layers_to_prune(model)
    shapes = {name: effective_weight(layer).shape for name, layer in layers.items()}
    raw = {name: sum(shape) / shape.numel() for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        budget = density * sum(shape.numel() for shape in shapes.values())
        budget -= sum(shapes[name].numel() for name in whole)
        rest = sum(sum(shape) for name, shape in shapes.items() if name not in whole)
        epsilon = budget / rest if rest else 0.0
        full = {name for name in raw if name not in whole and epsilon * raw[name] > 1}
        if not full:
            return {name: 1.0 if name in whole else epsilon * raw[name] for name in raw}
        whole |= full


def apply_erk(model: nn.Module, density: float, seed: int = 0) -> nn.Module:
    """Mask weights at random places, each layer at its density (16.5), in place."""
    check_seed(seed)
    densities = erk_densities(model, density)
    generator = torch.Generator().manual_seed(int(seed))
    for name, layer in layers_to_prune(model).items():
        weight = effective_weight(layer)
        count = weight.numel() - round(densities[name] * weight.numel())
        gone = lowest(torch.rand(weight.numel(), generator=generator), count)
        set_mask(layer, ~gone.view(weight.shape).to(weight.device))
    return model


def _twin(model: nn.Module) -> nn.Module:
    """A copy without masks, whose pruned weights are zeros that can have a gradient."""
    check_model(model)
    twin = make_pruning_permanent(copy.deepcopy(model))
    return twin.requires_grad_(True)


def _weights(twin: nn.Module) -> Scores:
    return {name: masked_weight(layer) for name, layer in layers_to_prune(twin).items()}


def gradients_of(model: nn.Module, split: Split, temperature: float = 1.0) -> tuple[Scores, Scores]:
    """All weights of a copy in training mode, and the loss's gradient at them, pruned ones too."""
    check_split("split", split)
    if len(split) == 0:
        raise ValueError("split is empty; give at least one image")
    twin = _twin(model).train()
    weights = _weights(twin)
    device = next(twin.parameters()).device
    outputs = twin(split.x.to(device)) / temperature
    loss = F.cross_entropy(outputs, split.y.to(device))
    return weights, _gradients_at(weights, loss, create_graph=True)


def _gradients_at(weights: Scores, value: Tensor, create_graph: bool = False) -> Scores:
    """The gradient at each weight; zeros where the value does not depend on it."""
    gradients = torch.autograd.grad(
        value,
        [*weights.values()],
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(weights, gradients, strict=True))
