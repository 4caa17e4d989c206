"""What holds a zero, seen in twelve weights; and file sizes beside their bound (notebook 06)."""

import copy

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.masks import make_pruning_permanent
from prunelab.pruning import apply_global_pruning


def small_layer_through_step(seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A layer of twelve weights with half of them pruned, before and after one step of SGD.

    It is trained twice, masked and made permanent, to bring its outputs for eight random inputs
    nearer to zero.

    Returns:
        The three tensors of the masked layer and the weight of the permanent one, before and
        after, by a name for each.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        masked = apply_global_pruning(nn.Sequential(nn.Linear(4, 3)), sparsity=0.5)
        inputs = torch.randn(8, 4)
    permanent = make_pruning_permanent(copy.deepcopy(masked))
    before = _tensors(masked, permanent)
    for network in (masked, permanent):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
        network(inputs).square().mean().backward()
        optimizer.step()
        network(inputs)  # a masked layer computes its weight anew
    return before, _tensors(masked, permanent)


def _tensors(masked: nn.Module, permanent: nn.Module) -> dict[str, Tensor]:
    layer = masked.get_submodule("0")
    shown = {
        "weight_orig": layer.get_parameter("weight_orig"),
        "× weight_mask": layer.get_buffer("weight_mask"),
        "= weight": layer.weight,
        "permanent: weight": permanent.get_submodule("0").weight,
    }
    return {name: tensor.detach().clone() for name, tensor in shown.items()}


def times_the_bound(table: pd.DataFrame) -> pd.DataFrame:
    """The compact formats of `bytes_on_disk`, as multiples of the entropy bound.

    Args:
        table: `bytes_on_disk` at several sparsities, with a column `sparsity`.

    Returns:
        The rows of "permanent, zlib", "CSR" and "bitmap", with the columns `density` and `times`.
    """
    bound = table[table["format"] == "entropy bound"].set_index("sparsity")["bytes"]
    compact = table[table["format"].isin(["permanent, zlib", "CSR", "bitmap"])]
    times = compact["bytes"] / compact["sparsity"].map(bound)
    return compact.assign(density=1 - compact["sparsity"], times=times)
