"""Pruning before training: what the first weights and their gradients say (notebook 16)."""

import torch
from torch import Tensor, nn

from prunelab.checks import check_count, check_fraction
from prunelab.checks.outputs import check_temperature
from prunelab.checks.tensors import check_tensor
from prunelab.data import Split
from prunelab.engines.gradients import Scores, gradients_at, gradients_of, weights_in, without_masks
from prunelab.pruning import apply_global_pruning


def snip_scores(model: nn.Module, split: Split) -> Scores:
    r"""How much the loss would change, to first order, if a weight were taken away.

    $$s_i = \left| w_i \frac{\partial \mathcal{L}}{\partial w_i} \right| \tag{16.1}$$

    with the loss (0.1) of the given images, in training mode.

    Args:
        model: any network, usually one that has not been trained.
        split: the images and labels that are looked at, such as `data.train[:1000]`.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`; or of `prune_network`, which adds them
        up by channel: a Taylor criterion of absolute values.

    Source: Lee, Ajanthan & Torr (2019), arXiv:1810.02340.
    """
    weights, gradients = gradients_of(model, split)
    return {name: (weights[name] * gradients[name]).detach().abs() for name in weights}


def grasp_scores(model: nn.Module, split: Split, T: float = 200.0) -> Scores:
    r"""How much the gradient would lose of its length, to first order, without a weight.

    $$s_i = w_i \, (H g)_i, \qquad g = \nabla_w \mathcal{L}, \quad H = \nabla_w^2 \mathcal{L}
    \tag{16.2}$$

    where the outputs are divided by the temperature $T$ before the loss (0.1). Below zero is the
    score of a weight without which the gradient would be longer: it goes first.

    Args:
        model, split: as in `snip_scores`.
        T: 200 in the authors' code; it keeps the outputs where the loss is smooth.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`.

    Source: Wang, Zhang & Grosse (2020), arXiv:2002.07376.
    """
    check_temperature(T)
    weights, gradients = gradients_of(model, split, T)
    length = torch.stack([(g.detach() * g).sum() for g in gradients.values()]).sum()
    return {n: (weights[n] * p).detach() for n, p in gradients_at(weights, length).items()}


def synflow_scores(model: nn.Module, example_inputs: Tensor) -> Scores:
    r"""The share of a weight in all paths from inputs to outputs; no image is looked at.

    $$s_i = \frac{\partial R}{\partial |w_i|} \, |w_i|, \qquad
    R = \sum_c f_{|\theta|}(\mathbf{1})_c \tag{16.3}$$

    where all parameters and statistics are replaced by their absolute values and the input is one
    everywhere, in evaluation mode, in float64.

    Args:
        model: any network.
        example_inputs: an input of the right shape; its values do not matter.

    Returns:
        Scores for the `criterion` of `apply_global_pruning`.

    Source: Tanaka et al. (2020), arXiv:2006.05467.
    """
    check_tensor("example_inputs", example_inputs)
    twin = without_masks(model).double().eval()
    for tensor in twin.state_dict().values():
        tensor.abs_()
    weights = weights_in(twin)
    ones = torch.ones_like(example_inputs[:1], dtype=torch.float64)
    flow = twin(ones.to(next(twin.parameters()).device)).sum()
    gradients = gradients_at(weights, flow)
    return {name: (weights[name] * gradients[name]).detach() for name in weights}


def apply_synflow(
    model: nn.Module, sparsity: float, example_inputs: Tensor, rounds: int = 100
) -> nn.Module:
    r"""Prune by `synflow_scores` in many rounds, with scores of what is left in each, in place.

    $$\text{sparsity}_k = 1 - (1 - \text{sparsity})^{k / n}, \qquad k = 1 \dots n \tag{16.4}$$

    Args:
        model: a network, usually one that has not been trained.
        sparsity: fraction of all weights that are pruned in the end, 0 ≤ sparsity < 1.
        example_inputs: as in `synflow_scores`.
        rounds: $n$, 100 in the paper; with one round layers collapse as by other scores.

    Returns:
        The same model, masked.
    """
    check_fraction("sparsity", sparsity)
    check_count("rounds", rounds)
    for i in range(1, rounds + 1):
        scores = synflow_scores(model, example_inputs)
        so_far = 1 - (1 - sparsity) ** (i / rounds)
        apply_global_pruning(model, sparsity=so_far, criterion=scores)
    return model
