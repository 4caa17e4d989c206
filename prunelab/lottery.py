"""Lottery tickets: prune, rewind, train again, with exact savings (notebooks 11 and 14).

The method alone. `prunelab.engines` trains the networks, thousands of times, at a fraction of the
time that `fit` takes.
"""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.checks import check_choice, check_fraction, check_seed, is_whole, said
from prunelab.checks.tables import check_table
from prunelab.checks.tensors import check_mask, check_type
from prunelab.pruning import apply_global_pruning, layers_to_prune, lowest
from prunelab.rewinding import State


def prune_round(model: nn.Module, rates: dict[str, float]) -> nn.Module:
    r"""One round of pruning, in place: every layer loses a share of the weights it still has.

    $$N_l \leftarrow N_l - \operatorname{round}(p_l N_l) \tag{11.1}$$

    where layer $l$ has $N_l$ weights left and $p_l$ is its rate; those of the lowest magnitude
    go, chosen by equation (1.2). After $n$ rounds about $(1 - p_l)^n$ of the layer is kept.

    Args:
        model: a trained network, masked or not.
        rates: the rate of every convolution and linear layer, by name, 0 ≤ rate < 1.

    Returns:
        The same model, masked.

    Raises:
        ValueError: a layer without a rate, a rate without a layer, or a rate out of range.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 1.
    """
    layers = layers_to_prune(model)
    check_type("rates", rates, dict, "a dictionary")
    if rates.keys() != layers.keys():
        raise ValueError(
            f"rates are for {', '.join(map(str, rates))}; the layers are {', '.join(layers)}"
        )
    for name, rate in rates.items():
        check_fraction(f"rates[{name!r}]", rate)
    for rate in sorted(set(rates.values())):
        others = tuple(name for name in layers if rates[name] != rate)
        apply_global_pruning(model, rate, scope="layerwise", exclude=others)
    return model


def early_stop(history: pd.DataFrame) -> int:
    r"""The step at which validation loss was lowest, read after training has ended.

    $$t^* = \min \arg\min_t \mathcal{L}_\text{valid}(t) \tag{11.2}$$

    over the steps $t$ at which it was measured; the earliest of equals.

    Args:
        history: what `fit` returns, or the history of `fit_masked`.

    Raises:
        ValueError: no finite loss of the validation images.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 2.
    """
    check_table("history", history, needs=("split",), numbers=("step", "loss"))
    valid = history[history["split"] == "valid"]
    finite = valid[valid["loss"].abs() < float("inf")]
    if finite.empty:
        raise ValueError("history has no finite validation loss; try a smaller learning rate")
    return int(finite["step"].iloc[finite["loss"].argmin()])


def random_masks(masks: State, seed: int) -> State:
    """Masks that keep as many weights of every layer, at random places.

    Args:
        masks: by layer name, as `get_masks` gives them.
        seed: draws the places, on the CPU.
    """
    check_type("masks", masks, dict, "a dictionary")
    for name, mask in masks.items():
        check_mask(f"masks[{name!r}]", mask, getattr(mask, "shape", torch.Size()))
    check_seed(seed)
    generator = torch.Generator().manual_seed(int(seed))
    return {
        name: mask.flatten()[
            torch.randperm(mask.numel(), generator=generator).to(mask.device)
        ].view_as(mask)
        for name, mask in masks.items()
    }


SUPERMASK_SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "large final": lambda initial, trained: trained.abs(),
    "large final, same sign": lambda initial, trained: initial.sign() * trained,
    "magnitude increase": lambda initial, trained: trained.abs() - initial.abs(),
}


def supermask(
    initial: State,
    trained: State,
    keep: dict[str, int],
    criterion: str = "large final, same sign",
) -> State:
    r"""Masks that make a network good before it is trained, from what training did to it.

    $$s_i = |w_{T,i}|, \qquad s_i = \operatorname{sign}(w_{0,i})\, w_{T,i}, \qquad
    s_i = |w_{T,i}| - |w_{0,i}| \tag{14.1}$$

    for "large final", "large final, same sign" and "magnitude increase", with weights $w_0$ before
    and $w_T$ after training. Equation (1.2) prunes the lowest of each layer. The authors score all
    weights that changed their sign 0; here, where any of them are kept, it is the smallest.

    Args:
        initial, trained: a `snapshot` before and after training.
        keep: how many weights to keep of each layer, by its name.
        criterion: one of the three.

    Returns:
        A mask for each layer in `keep`, True where a weight is kept.

    Raises:
        ValueError: an unknown criterion, or more weights than the layer has.

    Source: Zhou et al. (2019), arXiv:1905.01067.
    """
    check_choice("criterion", criterion, tuple(SUPERMASK_SCORES))
    for argument, value in (("initial", initial), ("trained", trained), ("keep", keep)):
        check_type(argument, value, dict, "a dictionary")
    masks = {}
    for name, count in keep.items():
        key = f"{name}.weight"
        weights = [state[key] for state in (initial, trained) if state.get(key) is not None]
        if len(weights) < 2 or weights[0].shape != weights[1].shape:
            raise ValueError(f"keep has {name!r}; initial and trained must have its weights alike")
        scores = SUPERMASK_SCORES[criterion](*weights)
        if not is_whole(count) or not 0 <= count <= scores.numel():
            raise ValueError(
                f"keep[{name!r}]={said(count)} must be from 0 to its {scores.numel()} weights"
            )
        masks[name] = ~lowest(scores.flatten(), scores.numel() - count).view_as(scores)
    return masks
