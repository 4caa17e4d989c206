"""Counting zeros, bytes and milliseconds: what pruning has really bought (notebooks 06, 07)."""

import logging
import zlib
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from prunelab.checks import check_between, check_count, is_number, is_whole, said
from prunelab.checks.tensors import check_model, check_tensor, check_type, memory_of, running_on
from prunelab.engines.formats import (
    bitmap_bytes,
    csr_bytes,
    not_counted,
    plain_attention,
    saved,
    to_csr,
)
from prunelab.masks import effective_weight, kept_weights, prunable_layers, weight_parameter
from prunelab.training import evaluation_mode

PRUNABLE_WEIGHTS = "all prunable weights"
ALL_PARAMETERS = "all parameters"


def check_sparsity(model: nn.Module) -> pd.DataFrame:
    r"""Count the weights each layer keeps, whether it is dense, masked or permanently pruned.

    $$\text{sparsity} = 1 - \text{density} = 1 - \frac{\text{kept}}{\text{total}} \tag{7.1}$$

    A weight is kept if the mask keeps it, or, in a layer without a mask, if it is not zero. The
    last two rows add up the layers over two different totals: the prunable weights, and all
    parameters of the model, biases and normalization included.

    Args:
        model: any network.

    Returns:
        A table with one row a layer and the columns `layer`, `kept`, `total`, `sparsity`, then
        the two rows "all prunable weights" and "all parameters". A model with nothing to prune
        has sparsity 0. Weights that pruning never masks (attention, recurrent layers, embeddings,
        weights computed by `weight_norm`) have rows of their own, "name (not counted)", and count
        only among all parameters.
    """
    layers = prunable_layers(model)
    rows = [(name, int(k.sum()), k.numel()) for name, k in _kept(layers).items()]
    owners = [memory_of(weight_parameter(layer)) for layer in layers.values()]
    distinct = dict(zip(owners, rows, strict=True)).values()  # a shared weight counts once
    kept = sum(row[1] for row in distinct)
    total = sum(row[2] for row in distinct)
    rows += not_counted(model, set(owners))
    parameters = sum({memory_of(p): p.numel() for p in model.parameters()}.values())
    rows += [
        (PRUNABLE_WEIGHTS, kept, total),
        (ALL_PARAMETERS, parameters - (total - kept), parameters),
    ]
    table = pd.DataFrame(rows, columns=["layer", "kept", "total"])
    table["sparsity"] = 1 - table["kept"] / table["total"].clip(lower=1)
    table.loc[table["total"] == 0, "sparsity"] = 0.0
    return table


def total_sparsity(model: nn.Module) -> float:
    """Fraction of the prunable weights that are pruned, equation (7.1) over the whole model."""
    table = check_sparsity(model).set_index("layer")
    return float(table.loc[PRUNABLE_WEIGHTS, "sparsity"])


def binary_entropy(density: float) -> float:
    r"""Bits needed on average to say whether a weight is kept, if any may be.

    $$H(d) = -d \log_2 d - (1 - d) \log_2 (1 - d) \tag{6.2}$$

    Args:
        density: fraction $d$ of weights kept, 0 ≤ density ≤ 1.

    Returns:
        Bits a weight, from 0 to 1.

    Raises:
        ValueError: density outside [0, 1].

    Source: Shannon (1948).
    """
    check_between("density", density, 0, 1)
    if density in (0, 1):
        return 0.0
    return float(-density * np.log2(density) - (1 - density) * np.log2(1 - density))


def bytes_bound(total: int, kept: int) -> float:
    r"""Bytes that positions and float32 values of the kept weights need, however they are stored.

    $$B = \tfrac{1}{8} \big( N \, H(k / N) + 32 \, k \big) \tag{6.3}$$

    for $k$ kept weights of $N$, with $H$ of equation (6.2). It takes positions as random and
    values as incompressible; a file below it has found structure in one or the other.

    Args:
        total: $N$.
        kept: $k$, from 0 to $N$.
    """
    if not (is_whole(total) and is_whole(kept) and 0 <= kept <= total < 2**63):
        raise ValueError(f"kept={said(kept)} must be from 0 to total={said(total)}, whole numbers")
    if total == 0:
        return 0.0
    return (total * binary_entropy(kept / total) + 32 * kept) / 8


def bytes_on_disk(model: nn.Module) -> pd.DataFrame:
    """Write a model's prunable weights in every format, and count the bytes.

    Formats: "dense" float32; "masked", which stores `weight_orig` and `weight_mask`;
    "permanent", zeros written out; "permanent, zlib"; "CSR" with 32-bit indices; "bitmap", one
    bit a weight and the kept values; and the "entropy bound" (6.3). All but the bound are really
    written, by `torch.save` or as raw arrays. Biases and normalization cost the same everywhere
    and are left out.

    Args:
        model: any network, dense, masked or permanent. Weights of another type count as float32.

    Returns:
        A table with the columns `format`, `bytes` and `ratio` (dense bytes / bytes).
    """
    layers = prunable_layers(model)
    weights = {name: effective_weight(layer).float().cpu() + 0.0 for name, layer in layers.items()}
    kept = _kept(layers)
    masks = {f"{name}_mask": mask.float() for name, mask in kept.items()}
    dense = saved({name: torch.ones_like(weight) for name, weight in weights.items()})
    permanent = saved(weights)
    sizes = {
        "dense": len(dense),
        "masked": len(saved(weights | masks)),
        "permanent": len(permanent),
        "permanent, zlib": len(zlib.compress(permanent, level=9)),
        "CSR": sum(csr_bytes(weight) for weight in weights.values()),
        "bitmap": sum(bitmap_bytes(weights[name], kept[name]) for name in weights),
        "entropy bound": bytes_bound(
            sum(mask.numel() for mask in kept.values()),
            sum(int(mask.sum()) for mask in kept.values()),
        ),
    }
    table = pd.DataFrame({"format": sizes.keys(), "bytes": sizes.values()})
    table["bytes"] = table["bytes"].round().astype(int)
    table["ratio"] = sizes["dense"] / table["bytes"].clip(lower=1)
    return table


class Latency(NamedTuple):
    """Seconds a forward pass takes: median, and first and third quartile."""

    median: float
    q25: float
    q75: float


def latency(model: nn.Module, x: Tensor, threads: int = 1, min_seconds: float = 0.3) -> Latency:
    """Time a forward pass in evaluation mode without gradients.

    Args:
        model: any module.
        x: a batch of inputs, on the model's device.
        threads: CPU threads to use.
        min_seconds: keep measuring for at least this long.

    Returns:
        Median and quartiles over repeated runs, in seconds; `torch.utils.benchmark` does the
        timing (warm-up, and waiting for the device, included).
    """
    # On import it warns if it finds a CUDA compiler and no GPU. Neither matters here.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch.utils.benchmark import Timer

    check_model(model)
    check_tensor("x", x)
    check_count("threads", threads)
    if not is_number(min_seconds) or min_seconds <= 0:
        raise ValueError(f"min_seconds={said(min_seconds)} must be greater than 0")
    with evaluation_mode(model), torch.no_grad(), running_on("x", x):
        timer = Timer("model(x)", globals={"model": model, "x": x}, num_threads=threads)
        measured = timer.blocked_autorange(min_run_time=min_seconds)
    q25, median, q75 = np.quantile(measured.times, [0.25, 0.5, 0.75])
    return Latency(float(median), float(q25), float(q75))


def count_macs(model: nn.Module, x: Tensor) -> int:
    """Count the multiply–accumulate operations (MACs) of a forward pass in evaluation mode.

    `torch.utils.flop_counter` runs the model on `x` and adds up the floating-point operations of
    its matrix products; one MAC is two of them. Counted are convolutions, linear layers, matrix
    products, and attention as the products it consists of. Biases, normalization, activations and
    pooling are not: they cost memory traffic more than arithmetic. A masked weight is multiplied
    like any other, so pruning with masks changes nothing here.

    Args:
        model: any network without recurrent layers, whose inside the counter does not see.
        x: a batch of inputs, on the model's device; twice the batch, twice the MACs.

    Raises:
        ValueError: a model with recurrent layers, or one that does not run on `x`.
    """
    check_model(model)
    recurrent = [name for name, layer in model.named_modules() if isinstance(layer, nn.RNNBase)]
    if recurrent:
        raise ValueError(f"the MACs of recurrent layers can't be counted: {', '.join(recurrent)}")
    counter = FlopCounterMode(display=False)
    with running_on("x", x), evaluation_mode(model), torch.no_grad(), plain_attention(), counter:
        model(x)
    return counter.get_total_flops() // 2


class CSRLinear(nn.Module):
    r"""A linear layer that stores and multiplies only the weights that are not zero.

    $$y_i = b_i + \sum_{j \in \text{row } i} w_{ij} x_j \tag{7.2}$$

    where row $i$ lists the columns of the kept weights (compressed sparse row format).

    Args:
        linear: a linear layer, masked or not; the sparse copy is for inference only.
    """

    def __init__(self, linear: nn.Linear):
        super().__init__()
        check_type("linear", linear, nn.Linear, "a linear layer")
        check_model(linear, "linear")
        self.register_buffer("weight", to_csr(effective_weight(linear)))
        bias = linear.bias
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """From `[batch, in]` to `[batch, out]`."""
        product = torch.sparse.mm(self.weight, x.T).T
        return product if self.bias is None else product + self.bias


def _kept(layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {name: kept_weights(layer).cpu() for name, layer in layers.items()}
