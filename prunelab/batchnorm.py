"""BatchNorm recalibration: statistics that fit the pruned network again (notebook 09)."""

import copy
import warnings

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.optim.swa_utils import update_bn

from prunelab.checks import is_whole, said
from prunelab.checks.tensors import check_model, running_on
from prunelab.training import evaluation_mode


class NoBatchNorm(UserWarning):
    """There is no BatchNorm layer to recalibrate."""


def recalibrate_bn(model: nn.Module, x: Tensor, batch_size: int = 500) -> nn.Module:
    r"""Recompute the running mean and variance of every BatchNorm layer, in place.

    $$\mu = \frac{1}{K} \sum_{k=1}^{K} \mu_k, \qquad
    \sigma^2 = \frac{1}{K} \sum_{k=1}^{K} \sigma_k^2 \tag{9.1}$$

    where $\mu_k$ and $\sigma_k^2$ are mean and (unbiased) variance of what enters the layer in
    batch $k$ of $K$, without dropout. Nothing of the stale statistics is left; ten batches at
    momentum 0.1 would keep 0.9¹⁰ = 35 % of them. Only the statistics change.

    Args:
        model: any network, masked or not.
        x: training images `[N, C, H, W]`, without labels.
        batch_size: images a batch; what is left over is spread over the batches, so that all are
            of one size (±1).

    Returns:
        The same model, on its device, every module in the mode and with the momentum it had.

    Raises:
        ValueError: fewer than 2 images in all or a batch, or a BatchNorm layer without running
            statistics. The model is as it was, and also if `x` does not fit it.

    Warns:
        NoBatchNorm: the model has no such layer and is left as it is.

    Source: `torch.optim.swa_utils.update_bn`; Izmailov et al. (2018), arXiv:1803.05407.
    """
    check_model(model)
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) < 2:
        raise ValueError("x must be a tensor of at least 2 images, such as data.train.x")
    if not is_whole(batch_size) or batch_size < 2:
        raise ValueError(f"batch_size={said(batch_size)} must be at least 2: one has no variance")
    layers = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm)}
    if not layers:
        warnings.warn("model has no BatchNorm layer to recalibrate", NoBatchNorm, stacklevel=2)
        return model
    for name, layer in layers.items():
        if layer.running_mean is None:
            raise ValueError(
                f"layer {name!r} has no running statistics to recalibrate: it was made with "
                "track_running_stats=False and always uses those of the batch"
            )
    device = next(next(iter(layers.values())).buffers()).device
    with running_on("x", x):
        twin = _twin_without_dropout(model, x[:1].to(device))
        update_bn(x.tensor_split(max(1, len(x) // batch_size)), twin, device=device)
    for name, layer in layers.items():
        for buffer, value in twin.get_submodule(name).named_buffers():
            layer.get_buffer(buffer).copy_(value)
    return model


def _twin_without_dropout(model: nn.Module, x: Tensor) -> nn.Module:
    # A pass without gradients leaves masked weights free of the graph: the model can be copied.
    with evaluation_mode(model), torch.no_grad():
        model(x)
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
    return twin
