"""Pruning: which weights go (notebook 01)."""

import warnings
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelab.masks import (
    effective_weight,
    kept_weights,
    prunable_layers,
    set_mask,
    weight_parameter,
)


class LayerCollapse(UserWarning):
    """Pruning has left a layer without a single weight."""


def l1_score(weights: Tensor) -> Tensor:
    r"""Score of a weight by its magnitude, the L1 norm of a single number.

    $$s_i = |w_i| \tag{1.3}$$

    Args:
        weights: one layer's weights, any shape.

    Returns:
        A score for each, same shape; the lowest are pruned first.

    Source: Han et al. (2015), arXiv:1506.02626.
    """
    return weights.abs()


def l2_score(weights: Tensor) -> Tensor:
    r"""Score of a weight by its square. It ranks weights exactly as (1.3) does.

    $$s_i = w_i^2 \tag{1.4}$$

    Args:
        weights: one layer's weights, any shape.

    Returns:
        A score for each, same shape, in float64 so that small squares do not vanish.
    """
    return weights.double().square()


def lamp_score(weights: Tensor) -> Tensor:
    r"""Layer-adaptive magnitude: the square as a share of all squares that are not smaller.

    $$s_{\pi(i)} = \frac{w_{\pi(i)}^2}{\sum_{j \ge i} w_{\pi(j)}^2} \tag{1.5}$$

    where $\pi$ sorts the layer's weights by magnitude, smallest first; equal ones stay in order.
    The last one scores 1, in every layer, so no layer is emptied before all are.

    Args:
        weights: one layer's weights, any shape.

    Returns:
        A score for each, same shape, float64; 0 where all weights are 0.

    Source: Lee et al. (2021), arXiv:2010.07611.
    """
    squares, order = weights.double().square().flatten().sort(stable=True)
    not_smaller = squares.flip(0).cumsum(0).flip(0)
    scores = squares / not_smaller.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.empty_like(scores).scatter_(0, order, scores).view_as(weights)


CRITERIA: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": l1_score,
    "l2": l2_score,
    "lamp": lamp_score,
}


def lowest(scores: Tensor, count: int) -> Tensor:
    r"""Mark the `count` lowest scores; among equal scores, those that come first.

    $$\text{pruned} = \{i : s_i < \tau\} \cup \{\text{the first } k - |\{i : s_i < \tau\}|
    \text{ of } \{i : s_i = \tau\}\}, \qquad \tau = s_{(k)} \tag{1.2}$$

    where $k$ is `count` and $s_{(k)}$ the $k$-th smallest score. Comparing with a threshold alone
    would prune too many or too few wherever scores tie.

    Args:
        scores: one dimension, no NaN.
        count: from 0 to `len(scores)`.

    Returns:
        A boolean mask with exactly `count` entries True.
    """
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.kthvalue(count).values
    below, tied = scores < threshold, scores == threshold
    return below | (tied & (tied.cumsum(0) <= count - below.sum()))


def apply_global_pruning(
    model: nn.Module,
    amount: float | None = None,
    *,
    sparsity: float | None = None,
    criterion: str = "l1",
    scope: str = "global",
    exclude: str | tuple[str, ...] = (),
    seed: int = 0,
) -> nn.Module:
    r"""Mask the lowest-scoring weights of all convolution and linear layers, in place.

    With $N$ weights in all, $P$ of them pruned before, the number of pruned weights becomes

    $$k = \begin{cases} P + \operatorname{round}\big(\text{amount} \cdot (N - P)\big) \\
    \operatorname{round}(\text{sparsity} \cdot N) \end{cases} \tag{1.1}$$

    and equation (1.2) chooses them: weights pruned before first, then the lowest scores. A weight
    counts as pruned if it is masked, or if it is exactly zero in a layer without a mask, so that
    pruning goes on where it stopped after `make_pruning_permanent` too. Biases and normalization
    layers are never pruned.

    Args:
        model: any network; layers that share one weight must be excluded.
        amount: fraction of the weights *still there* to prune, 0 ≤ amount < 1. Repeated calls
            compound: five times 0.1 gives 1 − 0.9⁵ = 40.95 %.
        sparsity: fraction of *all* weights that are to be pruned afterwards, 0 ≤ sparsity < 1.
            Give one of the two.
        criterion: "l1" (1.3), "l2" (1.4), "lamp" (1.5) or "random" (uniform scores).
        scope: "global" ranks all layers together, with N and P of the whole network; "layerwise"
            applies (1.1) and (1.2) to each layer by itself.
        exclude: names of layers to leave as they are; a name also covers the layers inside it.
        seed: draws the scores of the "random" criterion.

    Returns:
        The same model, now masked. It can be trained, copied, saved and pruned again.

    Raises:
        ValueError: neither or both of `amount` and `sparsity`, a value out of range, an unknown
            criterion, scope or layer, no layer to prune, a weight that is NaN or infinite, less
            sparsity than there is already. The model is as it was.

    Warns:
        LayerCollapse: a layer is left with no weight at all.

    Source: Han et al. (2015), arXiv:1506.02626; global ranking as in `torch.nn.utils.prune`.
    """
    if (amount is None) == (sparsity is None):
        raise ValueError(
            f"give one of amount and sparsity, not amount={amount} and sparsity={sparsity}"
        )
    _check_fraction(*(("amount", amount) if sparsity is None else ("sparsity", sparsity)))
    layers = prunable_layers(model, exclude)
    _check_layers(layers)
    kept = {name: kept_weights(layer) for name, layer in layers.items()}
    scores = _scores(layers, criterion, seed)
    for name in layers:  # what is pruned stays pruned: it is always the lowest
        scores[name] = scores[name].masked_fill(~kept[name], -torch.inf)

    if scope == "global":
        masks = _keep_highest(scores, kept, amount, sparsity)
    elif scope == "layerwise":
        masks = {}
        for name in layers:
            masks |= _keep_highest({name: scores[name]}, {name: kept[name]}, amount, sparsity)
    else:
        raise ValueError(f'scope={scope!r} is unknown; choose "global" or "layerwise"')

    for name, layer in layers.items():
        set_mask(layer, masks[name])
    for name in layers:
        if kept[name].any() and not masks[name].any():
            warnings.warn(
                f"layer {name!r} is left with no weight at all; exclude it, ask for less sparsity, "
                'or use criterion="lamp" or scope="layerwise"',
                LayerCollapse,
                stacklevel=2,
            )
    return model


def _keep_highest(
    scores: dict[str, Tensor],
    kept: dict[str, Tensor],
    amount: float | None,
    sparsity: float | None,
) -> dict[str, Tensor]:
    """Rank the given layers together and return the mask of each: equations (1.1) and (1.2)."""
    total = sum(mask.numel() for mask in kept.values())
    pruned = total - sum(mask.sum().item() for mask in kept.values())
    if sparsity is None:
        count = pruned + round(amount * (total - pruned))
    else:
        count = round(sparsity * total)
        if count < pruned:
            raise ValueError(
                f"sparsity={sparsity} is less than the {pruned / total:.4f} there is already in "
                f"{', '.join(kept)}; pruning never brings a weight back"
            )
    flat = torch.cat([layer_scores.flatten() for layer_scores in scores.values()])
    sizes = [layer_scores.numel() for layer_scores in scores.values()]
    keep = (~lowest(flat, count)).split(sizes)
    return {name: mask.view_as(scores[name]) for name, mask in zip(scores, keep, strict=True)}


def _scores(layers: dict[str, nn.Module], criterion: str, seed: int) -> dict[str, Tensor]:
    if criterion == "random":
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.rand(kept_weights(layer).shape, generator=generator).to(
                effective_weight(layer).device
            )
            for name, layer in layers.items()
        }
    if criterion not in CRITERIA:
        raise ValueError(
            f'criterion={criterion!r} is unknown; choose "l1", "l2", "lamp" or "random"'
        )
    weights = {name: effective_weight(layer) for name, layer in layers.items()}
    return {
        name: CRITERIA[criterion](weight.to(torch.promote_types(weight.dtype, torch.float32)))
        for name, weight in weights.items()
    }


def _check_fraction(name: str, value: float) -> None:
    is_number = isinstance(value, int | float)
    if not is_number or (isinstance(value, int) and value != 0) or not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} must be a fraction, 0 ≤ {name} < 1; write 0.5 for 50 %")


def _check_layers(layers: dict[str, nn.Module]) -> None:
    if not layers:
        raise ValueError("model has no layer to prune: no convolution or linear layer is left")
    owners = Counter(id(weight_parameter(layer)) for layer in layers.values())
    for name, layer in layers.items():
        if owners[id(weight_parameter(layer))] > 1:
            raise ValueError(f"layer {name!r} shares its weight with another; exclude both")
        if not torch.isfinite(effective_weight(layer)).all():
            raise ValueError(
                f"layer {name!r} has a weight that is NaN or infinite and cannot be ranked; "
                "was training stable? try a smaller learning rate"
            )
