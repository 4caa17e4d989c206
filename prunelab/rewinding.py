"""Rewinding: back to earlier weights under the masks of today (notebooks 03, 11)."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from prunelab.data import Split
from prunelab.masks import (
    get_masks,
    kept_weights,
    make_pruning_permanent,
    prunable_layers,
    set_mask,
)
from prunelab.training import evaluate

State = dict[str, Tensor]
CHANCE_ZEROS = 1e-4
"""Up to this share, zeros are taken for chance: now and then a random draw is exactly 0."""


def snapshot(model: nn.Module) -> State:
    """A copy of all weights and buffers that further training does not touch.

    The names are those of the network without masks, so a snapshot taken before pruning fits
    after it, and the other way round. `model.state_dict()` alone is no copy: it goes along with
    the training.

    Args:
        model: any network, masked or not.
    """
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
        ValueError: names or shapes that do not fit; a state that shares its memory with the
            model, as `state_dict()` without cloning does; zeros without a mask, as
            `make_pruning_permanent` leaves them, that would come back to life (a `mask_dict`, if
            only `{}`, says that this is wanted). The model is as it was.

    Source: Frankle & Carbin (2019), arXiv:1803.03635; iteration k > 0: Frankle et al. (2020),
    arXiv:1912.05671.
    """
    now, earlier = _without_masks(model.state_dict()), _without_masks(initial_state_dict)
    _check_state(now, earlier)
    if mask_dict is None:
        _check_nothing_revives(model, earlier)
    layers = prunable_layers(model)
    masks = {name.removesuffix(".weight"): mask for name, mask in (mask_dict or {}).items()}
    _check_masks(layers, masks)

    with torch.no_grad():
        for name, tensor in now.items():
            tensor.copy_(earlier[name])
    for name, mask in masks.items():
        set_mask(layers[name], mask.to(kept_weights(layers[name]).device))
    _refresh(model)
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
    _refresh(model)
    fresh = make_pruning_permanent(copy.deepcopy(model))
    fresh.to("cpu").to(memory_format=torch.contiguous_format)  # numbers are drawn in memory order
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
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
    if points < 1:
        raise ValueError(f"points={points} must be at least 1")
    _check_alike(a, b)
    _refresh(a)
    between = copy.deepcopy(a)
    errors = []
    for i in range(1, points + 1):
        between.load_state_dict(_interpolate(a.state_dict(), b.state_dict(), i / (points + 1)))
        if repair is not None:
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


@torch.no_grad()
def _refresh(model: nn.Module) -> None:
    """Recompute the masked weights, as the next forward pass would, free of any graph."""
    for layer in model.modules():
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                hook(layer, ())


def _check_alike(a: nn.Module, b: nn.Module) -> None:
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError("a and b are of different architectures, or one of them has no masks")
    masks_a, masks_b = get_masks(a), get_masks(b)
    if not all(torch.equal(masks_a[name], masks_b[name]) for name in masks_a):
        raise ValueError("a and b have different masks; the line between them has neither's")


def _check_state(now: State, earlier: State) -> None:
    wrong = sorted(now.keys() ^ earlier.keys()) or [
        f"{name} {tuple(earlier[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in now.items()
        if tensor.shape != earlier[name].shape
    ]
    if wrong:
        raise ValueError(f"initial_state_dict is of another architecture: {', '.join(wrong)}")
    if any(t.numel() and t.data_ptr() == earlier[name].data_ptr() for name, t in now.items()):
        raise ValueError(
            "initial_state_dict shares its memory with the model and went along with the "
            "training; take snapshot(model) instead of model.state_dict()"
        )


def _check_nothing_revives(model: nn.Module, earlier: State) -> None:
    masked = get_masks(model)
    for name, layer in prunable_layers(model).items():
        before = earlier[f"{name}.weight".lstrip(".")].to(kept_weights(layer).device)
        revived = before[~kept_weights(layer)].count_nonzero()
        if name not in masked and revived > CHANCE_ZEROS * before.numel():
            raise ValueError(
                f"layer {name!r} has zeros but no mask, and rewinding would revive them; rewind "
                "before make_pruning_permanent, or give mask_dict ({} to revive them)"
            )


def _check_masks(layers: dict[str, nn.Module], masks: State) -> None:
    for name, mask in masks.items():
        if name not in layers:
            raise ValueError(f"mask_dict has {name!r}, which is none of {', '.join(layers)}")
        if mask.shape != kept_weights(layers[name]).shape:
            raise ValueError(
                f"mask_dict[{name!r}] {tuple(mask.shape)} does not fit the weights "
                f"{tuple(kept_weights(layers[name]).shape)}"
            )
