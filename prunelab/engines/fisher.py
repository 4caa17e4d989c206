"""Fisher scores: how much the loss depends on each channel, from gradients (notebook 05)."""

import torch
from torch import nn
from torch.nn import functional as F

from prunelab.checks import check_count
from prunelab.checks.tensors import check_model, check_split
from prunelab.data import Split
from prunelab.engines.gradients import Scores, gradients_at, weights_in, without_masks


def fisher_scores(model: nn.Module, split: Split, batch_size: int = 64) -> Scores:
    r"""How far the loss moves with a channel: squares of what its weights and gradients make.

    $$s_j = \sum_b \Big( \sum_{i \in j} w_i \frac{\partial \mathcal{L}_b}{\partial w_i} \Big)^2$$

    for output channel $j$ with the weights $w_i$, and the loss $\mathcal{L}_b$ (0.1) of batch $b$,
    in evaluation mode: over the statistics of a batch BatchNorm undoes every change of a filter's
    length, and the sums in brackets would be zero. `prune_network` adds $s_j$ up over the channels
    that go together; Liu et al. add up before they square, and divide by the memory that a channel
    takes. Each weight of a channel is given an equal part of $s_j$.

    Args:
        model: any network, usually a trained one.
        split: the images and labels that are looked at.
        batch_size: images whose mean loss is one term. Fewer are nearer to the Fisher information,
            which has a term for every image, and take longer.

    Returns:
        Scores for the `criterion` of `prune_network`.

    Source: Molchanov et al. (2019), arXiv:1906.10771; Liu et al. (2021), arXiv:2108.00708.
    """
    check_model(model)
    check_split("split", split)
    check_count("batch_size", batch_size)
    if len(split) == 0:
        raise ValueError("split is empty; give at least one image")
    sums: Scores = {}
    twin = without_masks(model).eval()
    layers, device = dict(twin.named_modules()), next(twin.parameters()).device
    for start in range(0, len(split), int(batch_size)):
        batch, weights = split[start : start + int(batch_size)], weights_in(twin)
        loss = F.cross_entropy(twin(batch.x.to(device)), batch.y.to(device))
        gradients = gradients_at(weights, loss)
        for name, weight in weights.items():
            dim = 1 if getattr(layers[name], "transposed", False) else 0
            others = [d for d in range(weight.dim()) if d != dim]
            moved = (weight * gradients[name]).detach().sum(dim=others, keepdim=True).square()
            part = moved.expand_as(weight) * (weight.size(dim) / weight.numel())
            sums[name] = sums.get(name, torch.zeros_like(part)) + part
    return sums
