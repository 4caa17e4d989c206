"""BatchNorm as a part of the layer before it (notebook 15)."""

import copy
from collections import Counter

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from prunelab.checks.tensors import check_model, first_line, running_on
from prunelab.masks import computes_its_weight
from prunelab.shipping.needs import check_unmasked

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def fold_batchnorm(model: nn.Module, example) -> nn.Module:
    r"""A copy for inference in which BatchNorm is part of the layer before it.

    In evaluation mode BatchNorm multiplies each channel $c$ by a constant and adds another one. A
    convolution or linear layer can do both itself:

    $$w'_c = \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} \, w_c, \qquad
    b'_c = \beta_c + \frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} \, (b_c - \mu_c) \tag{15.1}$$

    for the weights $w_c$ that make channel $c$, with $b_c$ = 0 where there was no bias. It is done
    wherever BatchNorm alone reads what such a layer makes; any other BatchNorm stays as it is.

    Args:
        model: a network whose forward `torch.fx` can trace, without masks.
        example: what it takes: a tensor, or a tuple of them.

    Returns:
        A new network in evaluation mode with `nn.Identity` in the place of what was folded;
        `model` is left as it is.

    Raises:
        ValueError: masks that would be lost, a forward that can't be traced or does not run on
            `example`.

    Source: `torch.nn.utils.fusion.fuse_conv_bn_weights`; Jacob et al. (2018), arXiv:1712.05877,
    section 3.2.
    """
    check_model(model)
    check_unmasked(model)
    copied = copy.deepcopy(model).eval()
    for layer, norm in _pairs(copied, example):
        conv, bn = copied.get_submodule(layer), copied.get_submodule(norm)
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight,
            conv.bias,
            bn.running_mean,
            bn.running_var,
            bn.eps,
            bn.weight,
            bn.bias,
            transpose=type(conv) in TRANSPOSED,
        )
        parent, _, name = norm.rpartition(".")
        setattr(copied.get_submodule(parent), name, nn.Identity())
    return copied.eval()


def _pairs(model: nn.Module, example) -> list[tuple[str, str]]:
    """Names of each layer and the BatchNorm that reads it, where nothing else does."""
    try:
        graph = fx.Tracer().trace(model)
    except Exception as error:
        raise ValueError(
            f"model can't be traced by torch.fx: {first_line(error)}; leave it unfolded, "
            "to_onnx folds by itself"
        ) from error
    dimensions = _dimensions(model, example)
    calls = [node for node in graph.nodes if node.op == "call_module"]
    modules = {node: model.get_submodule(node.target) for node in calls}
    used = Counter(map(id, modules.values()))
    elsewhere = {node.target.rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    pairs = []
    for node in calls:
        before = node.args[0] if node.args else None
        if before not in modules or len(before.users) > 1 or before.target in elsewhere:
            continue
        layer, norm = modules[before], modules[node]
        if used[id(layer)] == used[id(norm)] == 1 and _fits(layer, norm, dimensions):
            pairs.append((before.target, node.target))
    return pairs


def _fits(layer: nn.Module, norm: nn.Module, dimensions: dict[nn.Module, int]) -> bool:
    """Whether the channels that the norm scales are those that the layer makes."""
    if type(norm) not in NORMS or norm.running_mean is None or computes_its_weight(layer):
        return False
    if any(module._forward_hooks or module._forward_pre_hooks for module in (layer, norm)):
        return False  # they would see other numbers
    if type(layer) is nn.Linear:  # it makes the last dimension, the norm scales the second
        return dimensions.get(norm) == 2
    return type(layer) in CONVOLUTIONS or (type(layer) in TRANSPOSED and layer.groups == 1)


def _dimensions(model: nn.Module, example) -> dict[nn.Module, int]:
    """Of what enters each BatchNorm layer."""
    found: dict[nn.Module, int] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[norm] = inputs[0].dim()

    norms = [module for module in model.modules() if type(module) in NORMS]
    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    inputs = example if isinstance(example, tuple) else (example,)
    with running_on("example", example), torch.no_grad():
        model(*inputs)
    for handle in handles:
        handle.remove()
    return found
