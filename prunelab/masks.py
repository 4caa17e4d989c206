"""Masks: how pruned weights are kept away, and how they go for good (notebook 06).

Built on `torch.nn.utils.prune`: a masked layer has a parameter `weight_orig` and a buffer
`weight_mask`, and recomputes `weight = weight_orig * weight_mask` before every forward pass.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from prunelab.checks import said
from prunelab.checks.tensors import check_mask, check_model, check_own_weights

PRUNABLE = (nn.modules.conv._ConvNd, nn.Linear)
"""The kinds of layers whose weights can be pruned: every convolution, and linear layers."""

READS_WEIGHT_DIRECTLY = (nn.modules.linear.NonDynamicallyQuantizableLinear,)
"""The output layer inside `nn.MultiheadAttention`: its forward is never called, so a mask on it
would not be applied. It is left alone."""


def make_pruning_permanent(model: nn.Module) -> nn.Module:
    r"""Write the zeros into the weights and take the masks away, in place. The last step of all.

    $$w \leftarrow w_\text{orig} \odot m, \qquad w_\text{orig},\, m \text{ deleted} \tag{6.1}$$

    From here on nothing keeps a zero at zero: training again makes the network dense. Negative
    zeros, which $w_\text{orig} \odot m$ leaves behind, become plain zeros, so that files compress
    as they should. A model without masks is left as it is.

    Args:
        model: a network masked by `apply_global_pruning` or `torch.nn.utils.prune`.

    Returns:
        The same model, with ordinary parameters and the sparsity it had.

    Raises:
        ValueError: a masked weight is that of another layer too, which has not seen the mask. The
            model is as it was.
    """
    check_model(model)
    masked = {name: layer for name, layer in model.named_modules() if is_masked(layer)}
    check_own_weights(model, {name: weight_parameter(layer) for name, layer in masked.items()})
    for layer in model.modules():
        for name in masked_parameters(layer):
            prune.remove(layer, name)
            getattr(layer, name).data.add_(0.0)  # -0.0 + 0.0 is 0.0
    return model


def masked_parameters(layer: nn.Module) -> list[str]:
    """Names of the layer's own parameters that have a mask: "weight", and by torch also "bias"."""
    names = [name.removesuffix("_mask") for name in layer._buffers if name.endswith("_mask")]
    return [name for name in names if f"{name}_orig" in layer._parameters]


def is_masked(layer: nn.Module) -> bool:
    """Whether the layer's weight has a mask."""
    return "weight" in masked_parameters(layer)


def get_masks(model: nn.Module) -> dict[str, Tensor]:
    """The masks of a masked model by layer name: boolean, True where a weight is kept."""
    check_model(model)
    return {
        name: layer.get_buffer("weight_mask").bool()
        for name, layer in model.named_modules()
        if is_masked(layer)
    }


def set_mask(layer: nn.Module, mask: Tensor) -> None:
    """Mask one layer's weight, or replace the mask it has; True or 1 keeps a weight.

    Raises:
        ValueError: a layer that has no weight of its own; a mask of another shape than the weight,
            or with values beside 0 and 1. The layer is as it was.
    """
    check_model(layer, "layer")
    if not isinstance(layer, PRUNABLE) or computes_its_weight(layer):
        raise ValueError(f"layer computes its weight, or cannot be masked: {type(layer).__name__}")
    check_mask("mask", mask, effective_weight(layer).shape)
    if is_masked(layer):
        layer.get_buffer("weight_mask").copy_(mask)
    else:
        _Mask.apply(layer, "weight", mask)
    layer.weight = effective_weight(layer)  # up to date before the next forward, and copyable


class _Mask(prune.CustomFromMask):
    """Torch's mask, with the memory format of the weight kept.

    Where a convolution has one input channel, the product of weight and mask forgets that it is
    channels_last. The convolution of gray images would then leave that format, and with it the
    layers up to the next convolution: a step of training took a third longer.
    """

    def apply_mask(self, module: nn.Module) -> Tensor:
        weight = super().apply_mask(module)
        original = getattr(module, f"{self._tensor_name}_orig")
        if weight.dim() == 4 and weight.stride() != original.stride():
            weight = weight.to(memory_format=torch.channels_last)
        return weight


def masked_weight(layer: nn.Module) -> Tensor:
    """The weight a layer computes with, masked if it has a mask, and with its gradient.

    Unlike `layer.weight` it is right even between `load_state_dict` or an optimizer step and the
    next forward pass.
    """
    if is_masked(layer):
        return layer.get_parameter("weight_orig") * layer.get_buffer("weight_mask")
    return layer.weight  # type: ignore[return-value]  # torch: any attribute may be a Module


def effective_weight(layer: nn.Module) -> Tensor:
    """`masked_weight` without gradient: to be looked at, ranked or copied."""
    return masked_weight(layer).detach()


def kept_weights(layer: nn.Module) -> Tensor:
    """True where a weight is kept: by the mask if there is one, else where it is not zero."""
    if is_masked(layer):
        return layer.get_buffer("weight_mask").bool()
    return effective_weight(layer) != 0


def weight_parameter(layer: nn.Module) -> nn.Parameter | None:
    """The parameter behind a layer's weight, masked or not; None if the weight is computed."""
    return layer._parameters.get("weight_orig" if is_masked(layer) else "weight")


def computes_its_weight(layer: nn.Module) -> bool:
    """Whether the weight is made of other parameters at every pass, as by `weight_norm`."""
    return isinstance(layer, PRUNABLE) and weight_parameter(layer) is None


@torch.no_grad()
def refresh(model: nn.Module) -> None:
    """Recompute the masked weights, as the next forward pass would, free of any graph."""
    for layer in model.modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                hook(layer, ())


def prunable_layers(model: nn.Module, exclude: str | tuple[str, ...] = ()) -> dict[str, nn.Module]:
    """Convolution and linear layers with a weight of their own, by name, but the excluded ones.

    Raises:
        ValueError: a name in `exclude` that is no module of the model.
    """
    layers = convolutions_and_linear_layers(model, exclude)
    return {name: layer for name, layer in layers.items() if not computes_its_weight(layer)}


def convolutions_and_linear_layers(
    model: nn.Module, exclude: str | tuple[str, ...] = ()
) -> dict[str, nn.Module]:
    """`prunable_layers` and those that compute their weight."""
    check_model(model)
    if not isinstance(exclude, str | tuple | list | set):
        raise TypeError(f"exclude={said(exclude)} must be the name of a layer, or several")
    exclude = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    modules = dict(model.named_modules())
    for name in exclude:
        if not isinstance(name, str) or not name or name not in modules:
            known = ", ".join(name for name, m in modules.items() if isinstance(m, PRUNABLE))
            raise ValueError(f"exclude={said(name)} is no layer of model, which has {known}")
    return {
        name: module
        for name, module in modules.items()
        if isinstance(module, PRUNABLE)
        and not isinstance(module, READS_WEIGHT_DIRECTLY)
        and not any(name == other or name.startswith(f"{other}.") for other in exclude)
    }
