"""Narrows the tensors of a network, and what its modules say of their widths.

Nothing is known here of ties or groups: which indices stay along which dimension is given.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from prunelab.channels.tags import kept_along, known_copies

Kept = dict[str, dict[int, Tensor]]
"""Indices to keep, for every parameter or buffer and every dimension of it that loses some."""


def kept_indices(axes: dict[str, dict[int | None, Tensor]], gone: Tensor) -> Kept:
    """What is left of every parameter.

    Args:
        axes: the tags of each parameter by dimension, as in `Findings`.
        gone: for each tag, whether it goes.
    """
    kept: Kept = {}
    for name, dims in axes.items():
        for dim, tags in dims.items():
            is_gone = gone[tags]
            for d in range(is_gone.dim()) if is_gone.any() else ():
                indices = kept_along(is_gone, d)
                if 0 < len(indices) < is_gone.size(d):
                    kept.setdefault(name, {})[d if dim is None else dim] = indices
    return kept


def cut(model: nn.Module, kept: Kept) -> nn.Module:
    """A copy of the model with only the kept indices of every parameter and buffer."""
    small_tensors: dict[int, Tensor] = {}
    tensors = [*model.named_parameters(), *model.named_buffers()]
    for name, tensor in tensors:
        new = tensor.detach()
        for dim, indices in kept.get(name, {}).items():
            new = new.index_select(dim, indices.to(new.device))
        if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            new = new.contiguous(memory_format=torch.channels_last)
        new = new if kept.get(name) else new.clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        small_tensors[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
    small = copy.deepcopy(model, small_tensors | known_copies(model))
    names = {id(small_tensors[id(tensor)]): name for name, tensor in tensors}
    for module in small.modules():
        if not is_parametrized(module):  # to ask for its weight may change it, and it is never cut
            weight = getattr(module, "weight", None)
            match_attributes(module, kept.get(names.get(id(weight), ""), {}))
    for name in kept.keys() - dict(tensors).keys():  # a number of a module, or several in a tuple
        owner, _, attribute = name.rpartition(".")
        whole = getattr(model.get_submodule(owner), attribute)
        sizes = list(whole) if isinstance(whole, tuple) else [whole]
        for place, indices in kept[name].items():
            sizes[place] = len(torch.arange(sizes[place])[indices.cpu()])
        left = tuple(sizes) if isinstance(whole, tuple) else sizes[0]
        setattr(small.get_submodule(owner), attribute, left)
    return small


def match_attributes(module: nn.Module, kept: dict[int, Tensor]) -> None:
    """Make what a module says of its widths agree with its tensors.

    Args:
        kept: the indices that are left of its weight.
    """
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.batchnorm._NormBase):
        vector = weight if weight is not None else module.running_mean
        if vector is not None:
            module.num_features = len(vector)
    if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is None:
        module.kdim, module.vdim = module.k_proj_weight.shape[1], module.v_proj_weight.shape[1]
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        end = "_l0" if isinstance(module, nn.RNNBase) else ""
        module.input_size = getattr(module, f"weight_ih{end}").size(1)
        if not getattr(module, "proj_size", 0):
            module.hidden_size = getattr(module, f"weight_hh{end}").size(1)
    if not torch.is_tensor(weight):
        return
    if isinstance(module, nn.modules.conv._ConvNd):
        ends = ("out_channels", "in_channels")[:: -1 if module.transposed else 1]
        if 0 in kept:  # groups of which nothing is left
            of_group = getattr(module, ends[0]) // module.groups
            module.groups = len((kept[0] // of_group).unique())
        setattr(module, ends[0], len(weight))
        setattr(module, ends[1], weight.shape[1] * module.groups)
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = weight.shape[1]
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        of_group = module.num_channels // module.num_groups
        module.num_groups = len(weight) // of_group if module.num_groups > 1 else 1
        module.num_channels = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)


def named_tensor(model: nn.Module, name: str) -> Tensor:
    """The parameter or buffer of this name."""
    owner, _, leaf = name.rpartition(".")
    return getattr(model.get_submodule(owner), leaf)


def after(before: Kept, kept: Kept) -> Kept:
    """Kept indices of the first network, if this cut comes after another."""
    both = {name: dict(dims) for name, dims in before.items()}
    for name, dims in kept.items():
        for dim, indices in dims.items():
            earlier = both.setdefault(name, {}).get(dim)
            both[name][dim] = indices if earlier is None else earlier[indices]
    return both
