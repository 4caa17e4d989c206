"""Filters: their norms, pruning them by masks, and penalties that shrink weights (notebook 10)."""

import torch
from torch import Tensor, nn

from prunelab.checks import check_choice, check_fraction, check_seed
from prunelab.checks.tensors import check_numbers
from prunelab.masks import (
    effective_weight,
    kept_weights,
    masked_weight,
    prunable_layers,
    set_mask,
)
from prunelab.pruning import layers_to_prune, lowest


def filter_norms(weights: Tensor, criterion: str = "l1") -> Tensor:
    r"""Score of each filter of a convolution by the norm of its weights.

    $$s_j = \|W_j\|_p = \Big(\sum_i |w_{j,i}|^p\Big)^{1/p} \tag{10.1}$$

    for the weights $W_j$ that make output channel $j$, with $p$ = 1 ("l1") or 2 ("l2"). On single
    weights both norms are $|w|$; on filters they can disagree.

    Args:
        weights: one layer's weights `[filters, ...]`.
        criterion: "l1" or "l2".

    Returns:
        A score for each filter `[filters]`, float64.

    Raises:
        ValueError: an unknown criterion.

    Source: Li et al. (2017), arXiv:1608.08710.
    """
    check_choice("criterion", criterion, ("l1", "l2"))
    check_numbers("weights", weights, dimensions=1)
    order = 1 if criterion == "l1" else 2
    return torch.linalg.vector_norm(weights.detach().double().flatten(1), order, dim=1)


def apply_filter_pruning(
    model: nn.Module,
    ratio: float,
    *,
    criterion: str = "l1",
    exclude: str | tuple[str, ...] = (),
    seed: int = 0,
) -> nn.Module:
    r"""Mask whole filters of every convolution, those of the lowest norm (10.1), in place.

    Each layer loses round(ratio · filters) of its filters. A masked filter keeps its place: the
    network gets neither smaller nor faster, and a BatchNorm layer behind it still sends out a
    constant. Removing it for good is the business of channel surgery.

    Args:
        model: any network with convolutions; linear and transposed convolution layers are left
            alone.
        ratio: fraction of each layer's filters that are to be masked, 0 ≤ ratio < 1.
        criterion: "l1" or "l2" (10.1), or "random" (uniform scores).
        exclude: names of layers to leave as they are; a name also covers the layers inside it.
        seed: draws the scores of the "random" criterion.

    Returns:
        The same model, now masked.

    Raises:
        ValueError: a ratio out of range, an unknown criterion or layer, no convolution, a weight
            that is NaN or infinite, a layer that would lose every filter or has lost more
            already. The model is as it was.

    Source: Li et al. (2017), arXiv:1608.08710.
    """
    check_fraction("ratio", ratio)
    check_choice("criterion", criterion, ("l1", "l2", "random"))
    check_seed(seed)
    layers = layers_to_prune(model, exclude, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    generator = torch.Generator().manual_seed(int(seed))
    masks = {}
    for name, layer in layers.items():
        weight = effective_weight(layer)
        if criterion == "random":
            scores = torch.rand(len(weight), generator=generator).to(weight.device)
        else:
            scores = filter_norms(weight, criterion)
        masks[name] = _without_lowest_filters(name, scores, kept_weights(layer), ratio)
    for name, layer in layers.items():
        set_mask(layer, masks[name])
    return model


def _without_lowest_filters(name: str, scores: Tensor, kept: Tensor, ratio: float) -> Tensor:
    gone = ~kept.flatten(1).any(dim=1)
    count = round(ratio * len(scores))
    if not gone.sum() <= count < len(scores):
        raise ValueError(
            f"ratio={ratio} would mask {count} of the {len(scores)} filters of layer {name!r}, "
            f"of which {gone.sum()} are masked already; at least one must stay"
        )
    keep = ~lowest(scores.masked_fill(gone, -torch.inf), count)
    return kept & keep.view(-1, *[1] * (kept.ndim - 1))


def weight_penalty(model: nn.Module, criterion: str) -> Tensor:
    r"""A penalty on the weights, to be added to the loss in training.

    $$R_1 = \sum_i |w_i|, \qquad R_2 = \tfrac{1}{2} \sum_i w_i^2 \tag{10.2}$$

    over the weights of all convolution and linear layers. The gradient of $R_1$ has the same size
    for every weight and drives small ones to zero; that of $R_2$ shrinks along with the weight.

    Args:
        model: any network; in a masked one, masked weights count as zero.
        criterion: "l1" ($R_1$) or "l2" ($R_2$).

    Returns:
        A scalar with gradient.

    Raises:
        ValueError: an unknown criterion.

    Source: Han et al. (2015), arXiv:1506.02626, section 3.1.
    """
    check_choice("criterion", criterion, ("l1", "l2"))
    weights = [masked_weight(layer) for layer in prunable_layers(model).values()]
    if criterion == "l1":
        return sum(weight.abs().sum() for weight in weights)  # type: ignore[return-value]
    return sum(weight.square().sum() for weight in weights) / 2  # type: ignore[return-value]
