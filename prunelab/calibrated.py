"""Pruning that looks at a layer's inputs: Wanda, SparseGPT, n of every m weights (notebook 17)."""

import copy

import torch
from torch import Tensor, nn

from prunelab.checks import calibration, check_choice, check_fraction
from prunelab.checks.tensors import running_on
from prunelab.masks import effective_weight, kept_weights, refresh, set_mask, weight_parameter
from prunelab.pruning import l1_score, layers_to_prune, lowest
from prunelab.training import evaluation_mode

CRITERIA = ("l1", "wanda", "sparsegpt")
COLUMNS = 128
"""SparseGPT chooses among the weights of as many columns at a time, as its authors do."""


@torch.no_grad()
def input_grams(model: nn.Module, layers: dict[str, nn.Module], x: Tensor) -> dict[str, Tensor]:
    r"""What linear layers are fed, summed up: all that Wanda and SparseGPT know of the text.

    $$G = \sum_{t=1}^{N} x_t x_t^\top, \qquad \|x_j\|_2 = \sqrt{G_{jj}} \tag{17.3}$$

    for the vectors $x_t$ that enter the layer at the $N$ positions of the calibration text.

    Args:
        model: a network.
        layers: some of its linear layers, by name.
        x: inputs of the network, from training data only.

    Returns:
        $G$ `[in, in]` of each, float64.
    """
    calibration.check_layers(model, layers, x)
    grams: dict[str, Tensor] = {}

    def adding(name: str):
        def hook(layer, inputs):
            rows = inputs[0].detach().flatten(0, -2).double()
            grams[name] = grams.get(name, 0) + rows.T @ rows

        return hook

    handles = [layer.register_forward_pre_hook(adding(name)) for name, layer in layers.items()]
    try:
        with evaluation_mode(model), running_on("x", x):
            for batch in x.split(250):
                model(batch.to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    calibration.check_reached(layers, grams)
    return grams


def wanda_score(weights: Tensor, gram: Tensor) -> Tensor:
    r"""Score of a weight by its magnitude times the size of its input.

    $$s_{ij} = |w_{ij}| \cdot \|x_j\|_2 \tag{17.4}$$

    Args:
        weights: of a linear layer `[out, in]`.
        gram: $G$ of (17.3).

    Returns:
        A score for each, same shape, float64.

    Source: Sun et al. (2024), arXiv:2306.11695.
    """
    calibration.check_gram(gram, weights)
    return weights.double().abs() * gram.diagonal().sqrt()


def n_of_m(scores: Tensor, n: int, m: int) -> Tensor:
    r"""Keep the $n$ highest scores of every $m$ neighbors of a row.

    $$\text{kept} = \{(i, j) : s_{ij} \text{ is among the } n \text{ highest of } s_{i, m g + 1},
    \dots, s_{i, m g + m}\}, \quad g = \lfloor (j - 1) / m \rfloor \tag{17.5}$$

    Of equal scores, those that come first go. With $m$ the length of a row, every row keeps $n$.

    Args:
        scores: `[out, in]`; `in` a multiple of $m$.
        n, m: whole numbers, 0 ≤ n ≤ m.

    Returns:
        True where a weight is kept.

    Source: 2 of 4 is what NVIDIA's Ampere multiplies faster: Mishra et al. (2021),
    arXiv:2104.08378.
    """
    calibration.check_scores(scores)
    calibration.check_pattern((n, m), scores.shape[1])
    groups = scores.unflatten(1, (-1, m))
    ascending = groups.argsort(dim=-1, stable=True)
    kept = torch.ones_like(groups, dtype=torch.bool)
    return kept.scatter_(-1, ascending[..., : m - n], False).flatten(1)


def sparsegpt(
    weights: Tensor,
    gram: Tensor,
    kept: Tensor,
    sparsity: float = 0.5,
    pattern: tuple[int, int] | None = None,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    r"""Prune column after column, and let the columns to the right make up for it.

    Let $U$ be the upper Cholesky factor of $(G + \lambda I)^{-1} = U^\top U$. A weight that goes
    changes those to its right; where it costs least, it goes:

    $$w_{i, k} \leftarrow w_{i, k} - \frac{w_{ij}}{U_{jj}} \, U_{jk} \quad (k \ge j), \qquad
    s_{ij} = \frac{w_{ij}^2}{U_{jj}^2} \tag{17.6}$$

    Both are the optimal brain surgeon's (Hassibi & Stork 1992) for a row of which only the columns
    from $j$ on may change: $s_{ij}$ is what $\|W X - W' X\|^2 + \lambda \|W - W'\|^2$ grows by.

    Args:
        weights, gram: as for `wanda_score`.
        kept: False where a weight is pruned already, and stays so.
        sparsity: share of each layer, and of its columns up to any multiple of 128, that goes;
            the scores of 128 columns are those before the first of them.
        pattern: $(n, m)$ of (17.5) instead.
        damping: $\lambda$ as a share of the mean of the diagonal of $G$.

    Returns:
        The new weights, zero where they are pruned, and the mask; float64 and boolean.

    Source: Frantar & Alistarh (2023), arXiv:2301.00774.
    """
    calibration.check_compensation(weights, gram, kept, sparsity, pattern, damping)
    w, kept = weights.detach().double() * kept, kept.bool().clone()
    rows, columns = w.shape
    width = pattern[1] if pattern else COLUMNS
    size = gram.diagonal().mean().item() or 1.0  # of inputs that are all zero
    ridge = damping * size * torch.eye(columns, dtype=torch.float64, device=w.device)
    factor = torch.linalg.cholesky(torch.linalg.inv(gram + ridge), upper=True)
    for first in range(0, columns, width):
        last = min(first + width, columns)
        scores = (w[:, first:last] / factor.diagonal()[first:last]).square()
        scores = scores.masked_fill(~kept[:, first:last], -torch.inf)
        if pattern:
            kept[:, first:last] &= n_of_m(scores, *pattern)
        else:
            wanted = round(sparsity * rows * last) - int((~kept[:, :first]).sum())
            count = min(max(wanted, int(scores.isinf().sum())), scores.numel())
            kept[:, first:last] = ~lowest(scores.flatten(), count).view_as(scores)
        errors = torch.empty(rows, last - first, dtype=w.dtype, device=w.device)
        for j in range(first, last):
            errors[:, j - first] = torch.where(kept[:, j], 0.0, w[:, j]) / factor[j, j]
            w[:, j:last] -= errors[:, j - first].outer(factor[j, j:last])
        w[:, last:] -= errors @ factor[first:last, last:]  # the same for all columns beyond
    return w * kept, kept


def prune_with_calibration(
    model: nn.Module,
    x: Tensor,
    *,
    sparsity: float = 0.5,
    pattern: tuple[int, int] | None = None,
    criterion: str = "wanda",
    scope: str = "row",
    exclude: str | tuple[str, ...] = (),
) -> nn.Module:
    """Mask the linear layers one after the other, each by the inputs that the pruned ones leave.

    Args:
        model: a network that holds its linear layers in the order in which they compute. (The
            papers go block by block.) What is inside an `nn.MultiheadAttention` stays as it is.
        x: calibration inputs, from training data only.
        sparsity: share of a layer's weights that is to be pruned afterwards.
        pattern: keep n of every m neighbors of a row instead, as in `(2, 4)`.
        criterion: "l1" (1.3), "wanda" (17.4), or "sparsegpt" (17.6), which changes other weights.
        scope: whether scores are ranked in every "row" or in the whole "layer"; SparseGPT ranks
            in every 128 columns, a pattern in every m.
        exclude: names of layers to leave as they are; a name also covers the layers inside it.

    Returns:
        The same model, now masked.

    Raises:
        ValueError: a number out of range, an unknown criterion, scope or layer, a pattern that
            does not divide a row, inputs on which the model does not run. The model is as it was.
    """
    check_fraction("sparsity", sparsity)
    check_choice("criterion", criterion, CRITERIA)
    check_choice("scope", scope, ("row", "layer"))
    layers = layers_to_prune(model, exclude, (nn.Linear,))
    for layer in layers.values() if pattern is not None else ():
        calibration.check_pattern(pattern, effective_weight(layer).shape[1])
    refresh(model)
    twin = copy.deepcopy(model)  # so that nothing is half done if a layer cannot be pruned
    for name in layers:
        layer = twin.get_submodule(name)
        gram = input_grams(twin, {name: layer}, x)[name]
        weights, kept = effective_weight(layer), kept_weights(layer)
        if criterion == "sparsegpt":
            weights, mask = sparsegpt(weights, gram, kept, sparsity, pattern)
            weight_parameter(layer).data.copy_(weights)  # type: ignore[union-attr]  # it has one
        else:
            scores = wanda_score(weights, gram) if criterion == "wanda" else l1_score(weights)
            scores = scores.masked_fill(~kept, -torch.inf)
            mask = kept & _highest(scores, sparsity, pattern, scope)
        set_mask(layer, mask)
    for name, layer in layers.items():
        pruned = twin.get_submodule(name)
        weight_parameter(layer).data.copy_(weight_parameter(pruned))  # type: ignore
        set_mask(layer, kept_weights(pruned))
    return model


def _highest(scores: Tensor, sparsity: float, pattern, scope: str) -> Tensor:
    if scope == "row" or pattern is not None:
        columns = scores.shape[1]
        return n_of_m(scores, *(pattern or (columns - round(sparsity * columns), columns)))
    return ~lowest(scores.flatten(), round(sparsity * scores.numel())).view_as(scores)
