"""Training that is sparse throughout: densities of layers, and a mask that moves (notebook 16)."""

import math

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.checks import check_choice, check_count, check_fraction, check_seed, is_number, said
from prunelab.checks.tensors import check_model
from prunelab.data import Data, Split
from prunelab.engines.gradients import gradients_of
from prunelab.masks import effective_weight, get_masks, kept_weights, set_mask, weight_parameter
from prunelab.pruning import layers_to_prune, lowest
from prunelab.training import fit, shuffled_batches


def erk_densities(model: nn.Module, density: float) -> dict[str, float]:
    r"""The density of each layer by the Erdős–Rényi kernel: small layers keep a larger share.

    $$d_l = \min\Big(1,\; \varepsilon \,
    \frac{n^\text{in}_l + n^\text{out}_l + \sum_i k_{l,i}}
    {n^\text{in}_l \, n^\text{out}_l \prod_i k_{l,i}} \Big) \tag{16.5}$$

    for $n$ channels and a kernel of sides $k_i$, with $\varepsilon$ such that the whole network
    has the density asked for.

    Args:
        model: any network.
        density: fraction of all prunable weights that are kept, 0 < density ≤ 1.

    Returns:
        A density for each layer, by its name.

    Source: Evci et al. (2020), arXiv:1911.11134.
    """
    if not is_number(density) or not 0 < density <= 1:
        raise ValueError(f"density={said(density)} must be above 0 and at most 1")
    layers = layers_to_prune(model)
    shapes = {name: effective_weight(layer).shape for name, layer in layers.items()}
    raw = {name: sum(shape) / shape.numel() for name, shape in shapes.items()}
    whole: set[str] = set()
    while True:
        budget = density * sum(shape.numel() for shape in shapes.values())
        budget -= sum(shapes[name].numel() for name in whole)
        rest = sum(sum(shape) for name, shape in shapes.items() if name not in whole)
        epsilon = budget / rest if rest else 0.0
        full = {name for name in raw if name not in whole and epsilon * raw[name] > 1}
        if not full:
            return {name: 1.0 if name in whole else epsilon * raw[name] for name in raw}
        whole |= full


def apply_erk(model: nn.Module, density: float, seed: int = 0) -> nn.Module:
    """Mask weights at random places, each layer at its density (16.5), in place."""
    check_seed(seed)
    densities = erk_densities(model, density)
    generator = torch.Generator().manual_seed(int(seed))
    for name, layer in layers_to_prune(model).items():
        weight = effective_weight(layer)
        count = weight.numel() - round(densities[name] * weight.numel())
        gone = lowest(torch.rand(weight.numel(), generator=generator), count)
        set_mask(layer, ~gone.view(weight.shape).to(weight.device))
    return model


def regrow(layer: nn.Module, share: float, wish: Tensor) -> Tensor:
    r"""Drop a layer's smallest weights and let as many others grow, from zero, in place.

    $$\text{drop the } k \text{ lowest } |w_i| \text{ of those kept}, \qquad
    \text{grow the } k \text{ highest } u_i \text{ of the others}, \qquad
    k = \operatorname{round}(\text{share} \cdot \text{kept}) \tag{16.6}$$

    but no more than there are others. What is dropped cannot grow in the same step.

    Args:
        layer: a masked layer.
        share: of the weights it keeps.
        wish: $u$, in the weight's shape: $|\partial \mathcal{L} / \partial w|$ for RigL, random
            numbers for SET.

    Returns:
        True where a weight has grown.

    Source: Evci et al. (2020), arXiv:1911.11134 (RigL); Mocanu et al. (2018), arXiv:1707.04780
    (SET).
    """
    check_fraction("share", share)
    kept, weight = kept_weights(layer), effective_weight(layer)
    if wish.shape != weight.shape:
        raise ValueError(f"wish {tuple(wish.shape)} must have the weight's {tuple(weight.shape)}")
    count = min(round(share * int(kept.sum())), int((~kept).sum()))
    smallest = lowest(weight.abs().masked_fill(~kept, torch.inf).flatten(), count)
    least_wished = -wish.detach().masked_fill(kept, -torch.inf).flatten()
    grown = lowest(least_wished, count).view(kept.shape)
    parameter = weight_parameter(layer)
    assert parameter is not None  # a layer with a mask has a weight of its own
    parameter.data[grown] = 0.0
    set_mask(layer, (kept & ~smallest.view(kept.shape)) | grown)
    return grown


def fit_sparse(
    model: nn.Module,
    data: Data,
    *,
    steps: int,
    optimizer: torch.optim.Optimizer,
    every: int = 100,
    share: float = 0.3,
    until: float = 0.75,
    grow: str = "gradient",
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
    seed: int = 0,
    **fit_options,
) -> pd.DataFrame:
    r"""Train a masked network whose mask moves: `regrow` once in `every` steps, in place.

    $$\text{share}_t = \frac{\text{share}}{2} \Big(1 + \cos \frac{\pi t}{T}\Big), \qquad
    T = \text{until} \cdot \text{steps} \tag{16.7}$$

    Args:
        model: a masked network, such as `apply_erk` gives.
        data, steps, optimizer, seed: as `fit` takes them.
        every: steps between two moves of the mask; the last comes before step $T$.
        share: of each layer's weights that move at first.
        until: the share of the training after which the mask stays.
        grow: "gradient" (RigL: the gradient of one batch) or "random" (SET).
        scheduler: a scheduler of the optimizer, or None.
        **fit_options: passed on to `fit`.

    Returns:
        The history, as `fit` gives it.

    Source: Evci et al. (2020), arXiv:1911.11134; Mocanu et al. (2018), arXiv:1707.04780.
    """
    check_model(model)
    check_choice("grow", grow, ("gradient", "random"))
    check_count("steps", steps)
    check_count("every", every)
    check_fraction("share", share)
    check_fraction("until", until)
    if not get_masks(model):
        raise ValueError("model has no mask to move; give it one first, with apply_erk")
    histories, done = [], 0
    size = fit_options.get("batch_size", 128)
    while done < steps:
        part = min(every, steps - done)
        how = {"optimizer": optimizer, "scheduler": scheduler, "seed": 1000 * seed + done}
        history = fit(model, data, steps=part, **how, **fit_options)
        new = history[history["step"] > 0] if done else history
        histories.append(new.assign(step=new["step"] + done))
        if history["step"].max() < part:  # stopped by hand
            break
        done += part
        if done < until * steps:
            now = share / 2 * (1 + math.cos(math.pi * done / (until * steps)))
            index = next(shuffled_batches(len(data.train), size, seed=1000 * seed + done))
            _move(model, optimizer, now, grow, data.train[index], seed=1000 * seed + done)
    return pd.concat(histories, ignore_index=True)


def _move(model, optimizer, share: float, grow: str, batch: Split, seed: int) -> None:
    """Regrow every masked layer; weights that grow have no momentum."""
    generator = torch.Generator().manual_seed(seed)
    _, gradients = gradients_of(model, batch)
    for name in get_masks(model):
        layer = model.get_submodule(name)
        wish = gradients[name].abs()
        if grow == "random":
            wish = torch.rand(wish.shape, generator=generator).to(wish.device)
        grown = regrow(layer, share, wish)
        state = optimizer.state.get(weight_parameter(layer), {})
        for value in state.values():
            if isinstance(value, Tensor) and value.shape == grown.shape:
                value[grown] = 0.0
