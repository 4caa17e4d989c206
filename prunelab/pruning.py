"""Pruning: which weights go (notebook 01)."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelab.checks import check_choice, check_count, check_fraction, check_seed, said
from prunelab.checks.tensors import check_numbers, check_own_weights
from prunelab.masks import (
    PRUNABLE,
    computes_its_weight,
    convolutions_and_linear_layers,
    effective_weight,
    kept_weights,
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
    return check_numbers("weights", weights).abs()


def l2_score(weights: Tensor) -> Tensor:
    r"""Score of a weight by its square. It ranks weights exactly as (1.3) does.

    $$s_i = w_i^2 \tag{1.4}$$

    Args:
        weights: one layer's weights, any shape.

    Returns:
        A score for each, same shape, in float64 so that small squares do not vanish.
    """
    return check_numbers("weights", weights).double().square()


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
    squares, order = l2_score(weights).flatten().sort(stable=True)
    not_smaller = squares.flip(0).cumsum(0).flip(0)
    scores = squares / not_smaller.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.empty_like(scores).scatter_(0, order, scores).view_as(weights)


SCORES: dict[str, Callable[[Tensor], Tensor]] = {
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
    check_count("count", count, 0, check_numbers("scores", scores, dimensions=1).numel())
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
    criterion: str | dict[str, Tensor] = "l1",
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
        model: any network. Layers that share their weight with another module, or compute it
            (`weight_norm`), must be excluded.
        amount: fraction of the weights *still there* to prune, 0 ≤ amount < 1. Repeated calls
            compound: five times 0.1 gives 1 − 0.9⁵ = 40.95 %.
        sparsity: fraction of *all* weights that are to be pruned afterwards, 0 ≤ sparsity < 1.
            Give one of the two.
        criterion: "l1" (1.3), "l2" (1.4), "lamp" (1.5) or "random" (uniform scores); or your own
            scores, a tensor in the shape of the weight for each layer by its name.
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
            "give one of amount and sparsity, not "
            f"amount={said(amount)} and sparsity={said(sparsity)}"
        )
    if sparsity is None:
        check_fraction("amount", amount)  # type: ignore[arg-type]  # one of the two is a number
    else:
        check_fraction("sparsity", sparsity)
    if not isinstance(criterion, dict):
        check_choice("criterion", criterion, (*SCORES, "random"))
    check_choice("scope", scope, ("global", "layerwise"))
    check_seed(seed)
    layers = layers_to_prune(model, exclude)
    scores = _scores(layers, criterion, seed)
    kept = {name: kept_weights(layer) for name, layer in layers.items()}
    masks: dict[str, Tensor] = {}
    groups = [list(layers)] if scope == "global" else [[name] for name in layers]
    for group in groups:
        masks |= _keep_highest(group, scores, kept, amount, sparsity)

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


def layers_to_prune(
    model: nn.Module, exclude: str | tuple[str, ...] = (), kinds: tuple[type, ...] = PRUNABLE
) -> dict[str, nn.Module]:
    """The layers of the given kinds by name, after a check that their weights can be ranked.

    Args:
        model: any network.
        exclude: names of layers to leave out; a name also covers the layers inside it.
        kinds: classes of layers, such as `(nn.Conv2d,)`.

    Raises:
        ValueError: an unknown layer, none left, one that shares its weight with another or
            computes it, or a weight that is NaN or infinite.
    """
    layers = convolutions_and_linear_layers(model, exclude)
    layers = {name: layer for name, layer in layers.items() if isinstance(layer, kinds)}
    if not layers:
        wanted = "convolution or linear layer" if kinds is PRUNABLE else "convolution"
        raise ValueError(f"model has no layer to prune: no {wanted} is left")
    for name, layer in layers.items():
        if computes_its_weight(layer):
            raise ValueError(
                f"layer {name!r} computes its weight, as weight_norm does, and cannot be masked; "
                f"remove what computes it, or leave it as it is with exclude={name!r}"
            )
        if not torch.isfinite(effective_weight(layer)).all():
            raise ValueError(
                f"layer {name!r} has a weight that is NaN or infinite and cannot be ranked; "
                "was training stable? try a smaller learning rate"
            )
    check_own_weights(model, {name: weight_parameter(layer) for name, layer in layers.items()})
    return layers


def _keep_highest(
    group: list[str],
    scores: dict[str, Tensor],
    kept: dict[str, Tensor],
    amount: float | None,
    sparsity: float | None,
) -> dict[str, Tensor]:
    """Rank the layers of a group together and return their masks: equations (1.1) and (1.2)."""
    total = sum(kept[name].numel() for name in group)
    pruned = total - sum(kept[name].sum().item() for name in group)
    if sparsity is None:
        count = pruned + round(amount * (total - pruned))  # type: ignore[operator]
    else:
        count = round(sparsity * total)
        if count < pruned:
            raise ValueError(
                f"sparsity={sparsity} is less than the {pruned / total:.4f} there is already in "
                f"{', '.join(group)}; pruning never brings a weight back"
            )
    # what is pruned stays pruned: it is always the lowest
    ranked = [scores[name].masked_fill(~kept[name], -torch.inf).flatten() for name in group]
    keep = (~lowest(torch.cat(ranked), count)).split([len(layer) for layer in ranked])
    return {name: mask.view_as(kept[name]) for name, mask in zip(group, keep, strict=True)}


def _scores(
    layers: dict[str, nn.Module], criterion: str | dict[str, Tensor], seed: int
) -> dict[str, Tensor]:
    if isinstance(criterion, dict):
        return {name: _given_score(name, layer, criterion) for name, layer in layers.items()}
    generator = torch.Generator().manual_seed(int(seed))
    scores = {}
    for name, layer in layers.items():
        weight = effective_weight(layer)
        if criterion == "random":
            scores[name] = torch.rand(weight.shape, generator=generator).to(weight.device)
        else:
            scores[name] = SCORES[criterion](weight)
    return scores


def _given_score(name: str, layer: nn.Module, scores: dict[str, Tensor]) -> Tensor:
    """A layer's scores, on the device of its weight, after a check that they can be ranked."""
    weight = effective_weight(layer)
    if name not in scores:
        known = ", ".join(map(str, scores)) or "no layer"
        raise ValueError(f"criterion has scores of {known}, but none of layer {name!r}")
    given = check_numbers(f"criterion[{name!r}]", scores[name]).detach()
    if given.shape != weight.shape or not given.isfinite().all():
        wrong = "is not finite" if given.shape == weight.shape else f"is {tuple(given.shape)}"
        raise ValueError(f"criterion[{name!r}] {wrong}; give a number for {tuple(weight.shape)}")
    return given.to(weight.device).double()
