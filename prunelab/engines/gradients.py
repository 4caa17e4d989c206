"""Gradients of a loss at all weights of a network, also at those that are pruned."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks.tensors import check_model, check_split
from prunelab.data import Split
from prunelab.masks import make_pruning_permanent, masked_weight
from prunelab.pruning import layers_to_prune

Scores = dict[str, Tensor]
"""A number for each weight of a layer, by the layer's name."""


def without_masks(model: nn.Module) -> nn.Module:
    """A copy without masks, whose pruned weights are zeros that can have a gradient."""
    check_model(model)
    twin = make_pruning_permanent(copy.deepcopy(model))
    return twin.requires_grad_(True)


def weights_in(twin: nn.Module) -> Scores:
    return {name: masked_weight(layer) for name, layer in layers_to_prune(twin).items()}


def gradients_of(model: nn.Module, split: Split, temperature: float = 1.0) -> tuple[Scores, Scores]:
    """All weights of a copy in training mode, and the loss's gradient at them, pruned ones too."""
    check_split("split", split)
    if len(split) == 0:
        raise ValueError("split is empty; give at least one image")
    twin = without_masks(model).train()
    weights = weights_in(twin)
    device = next(twin.parameters()).device
    outputs = twin(split.x.to(device)) / temperature
    loss = F.cross_entropy(outputs, split.y.to(device))
    return weights, gradients_at(weights, loss, create_graph=True)


def gradients_at(weights: Scores, value: Tensor, create_graph: bool = False) -> Scores:
    """The gradient at each weight; zeros where the value does not depend on it."""
    gradients = torch.autograd.grad(
        value,
        [*weights.values()],
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(weights, gradients, strict=True))
