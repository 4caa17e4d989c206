"""Rewinding: back to earlier weights under the masks of today (notebooks 03, 11)."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from prunelab.checks import check_count, check_seed
from prunelab.checks.states import (
    State,
    check_alike,
    check_entries,
    check_nothing_revives,
    check_state,
    checked_masks,
)
from prunelab.checks.tensors import calling, check_function, check_model
from prunelab.data import Split
from prunelab.masks import (
    kept_weights,
    make_pruning_permanent,
    prunable_layers,
    refresh,
    set_mask,
)
from prunelab.training import evaluate


def snapshot(model: nn.Module) -> State:
    """A copy of all weights and buffers that further training does not touch.

    The names are those of the network without masks, so a snapshot taken before pruning fits
    after it, and the other way round. `model.state_dict()` alone is no copy: it goes along with
    the training.

    Args:
        model: any network, masked or not.
    """
    check_model(model)
    return {n: tensor.clone() for n, tensor in _without_masks(model.state_dict()).items()}


def weight_rewinding(
    model: nn.Module, initial_state_dict: State, mask_dict: State | None = None
) -> nn.Module:
    r"""Set weights and buffers back to a snapshot, in place, and keep the masks.

    $$w \leftarrow w_k \odot m \tag{3.1}$$

    where $w_k$ are the weights at iteration $k$ (0 is the initialization) and $m$ the masks of
    today. Biases and BatchNorm, its statistics included, go back too. An optimizer has a state of
    its own: make a new one, or its momentum survives.

    Args:
        model: the network to rewind, masked or not.
        initial_state_dict: a `snapshot`, or a cloned `state_dict`, of the same architecture.
        mask_dict: masks by layer name, as `get_masks` gives them ("fc1.weight" for "fc1" works
            too); they take the place of those the layers have. None keeps the model's own.

    Returns:
        The same model, with the same parameter objects, in the mode and on the device it was.

    Raises:
        ValueError: names or shapes that do not fit; masks with values beside 0 and 1, or of a
            layer that shares its weight; a state that shares its memory with the model, as
            `state_dict()` without cloning does; zeros without a mask, as
            `make_pruning_permanent` leaves them, that would come back to life (a `mask_dict`, if
            only `{}`, says that this is wanted). The model is as it was.

    Source: Frankle & Carbin (2019), arXiv:1803.03635; iteration k > 0: Frankle et al. (2020),
    arXiv:1912.05671.
    """
    check_model(model)
    check_entries(initial_state_dict)
    now, earlier = _without_masks(model.state_dict()), _without_masks(initial_state_dict)
    check_state(now, earlier)
    if mask_dict is None:
        check_nothing_revives(model, earlier)
    layers = prunable_layers(model)
    masks = checked_masks(model, layers, {} if mask_dict is None else mask_dict)

    with torch.no_grad():
        for name, tensor in now.items():
            tensor.copy_(earlier[name])
    for name, mask in masks.items():
        set_mask(layers[name], mask.to(kept_weights(layers[name]).device))
    refresh(model)
    return model


def reinitialize(model: nn.Module, seed: int) -> nn.Module:
    """Draw all weights anew, in place, and keep the masks: the random control of a lottery ticket.

    Every module draws as it does when it is built (`reset_parameters`), on the CPU, so that a
    seed gives one network on every device. If the model has a function `initialize_weight`, it
    then fills the weights of convolution and linear layers, and their biases become zero.

    Args:
        model: a network, masked or not.
        seed: draws the weights. The global random state is left alone.

    Returns:
        The same model, with the same parameter objects, in the mode and on the device it was.

    Raises:
        ValueError: a module whose parameters cannot be drawn anew, as it has no
            `reset_parameters`; zeros without a mask (see `weight_rewinding`). The model is as it
            was.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 2.
    """
    check_model(model)
    check_seed(seed)
    refresh(model)
    fresh = make_pruning_permanent(copy.deepcopy(model))
    fresh.to("cpu").to(memory_format=torch.contiguous_format)  # numbers are drawn in memory order
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        for name, module in fresh.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif list(module.parameters(recurse=False)):
                raise ValueError(
                    f"module {name!r} has parameters but no reset_parameters() to draw them anew"
                )
        if hasattr(model, "initialize_weight"):
            for module in fresh.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    model.initialize_weight(module.weight)  # type: ignore[operator]
                    if module.bias is not None:
                        nn.init.zeros_(module.bias)
    return weight_rewinding(model, snapshot(fresh))


@torch.no_grad()
def error_barrier(
    a: nn.Module,
    b: nn.Module,
    split: Split,
    points: int = 9,
    repair: Callable[[nn.Module], object] | None = None,
) -> float:
    r"""How much the error rises on the straight line between two networks.

    $$B = \max_{0 < \lambda < 1} E\big(\lambda w_a + (1 - \lambda) w_b\big)
    - \tfrac{1}{2} \big(E(w_a) + E(w_b)\big) \tag{3.2}$$

    with $E$ the share of images classified wrongly. Two runs from one starting point that differ
    in the order of the images alone, and have no barrier, ended in one basin: training from there
    is called *stable*. Buffers are interpolated too.

    Args:
        a, b: two networks of one architecture, with the same masks if they are masked.
        split: the images, such as `data.test`.
        points: values of $\lambda$ between 0 and 1, evenly spaced.
        repair: called with every network in between before it is evaluated, for instance to
            recalibrate its BatchNorm layers.

    Returns:
        The barrier as a fraction; about 0, or slightly below, where there is none.

    Raises:
        ValueError: another architecture or other masks, or no point.

    Source: Frankle et al. (2020), arXiv:1912.05671.
    """
    check_count("points", points)
    check_model(a, "a")
    check_model(b, "b")
    check_alike(a, b)
    check_function("repair", repair)
    refresh(a)
    between = copy.deepcopy(a)
    errors = []
    for i in range(1, points + 1):
        between.load_state_dict(_interpolate(a.state_dict(), b.state_dict(), i / (points + 1)))
        if repair is not None:
            with calling("repair"):
                repair(between)
        errors.append(1 - evaluate(between, split).accuracy)
    ends = [1 - evaluate(network, split).accuracy for network in (a, b)]
    return max(errors) - sum(ends) / 2


def _interpolate(a: State, b: State, share: float) -> State:
    """`share` of `a` and the rest of `b`; counters, which are no floats, are those of `a`."""
    return {
        name: torch.lerp(b[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in a.items()
    }


def _without_masks(state: State) -> State:
    """The entries of a state dict by the names they have in a network without masks."""
    masks = {name for name in state if name.removesuffix("_mask") + "_orig" in state}
    originals = {mask.removesuffix("_mask") + "_orig" for mask in masks}
    return {
        name.removesuffix("_orig") if name in originals else name: tensor
        for name, tensor in state.items()
        if name not in masks
    }
