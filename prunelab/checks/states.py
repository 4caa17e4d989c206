"""What a state or the masks must be that a model is rewound to."""

import torch
from torch import Tensor, nn

from prunelab.checks import said
from prunelab.checks.tensors import check_mask, check_own_weights, check_tensor, check_type
from prunelab.masks import get_masks, kept_weights, prunable_layers, weight_parameter

State = dict[str, Tensor]
CHANCE_ZEROS = 1e-4
"""Up to this share, zeros are taken for chance: now and then a random draw is exactly 0."""


def check_entries(initial_state_dict) -> None:
    """Refuse what is no dictionary of tensors, with a TypeError."""
    check_type("initial_state_dict", initial_state_dict, dict, "a dictionary, as of snapshot()")
    for name, value in initial_state_dict.items():
        check_type("a name in initial_state_dict", name, str, "a text")
        check_tensor(f"initial_state_dict[{said(name)}]", value)


def check_alike(a: nn.Module, b: nn.Module) -> None:
    """Refuse networks of different architectures or masks, with a ValueError."""
    shapes = [{name: t.shape for name, t in m.state_dict().items()} for m in (a, b)]
    if shapes[0] != shapes[1]:
        raise ValueError("a and b are of different architectures, or one of them has no masks")
    masks_a, masks_b = get_masks(a), get_masks(b)
    if not all(torch.equal(masks_a[name], masks_b[name]) for name in masks_a):
        raise ValueError("a and b have different masks; the line between them has neither's")


def check_state(now: State, earlier: State) -> None:
    """Refuse a state of other names or shapes, or one that goes along, with a ValueError."""
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


def check_nothing_revives(model: nn.Module, earlier: State) -> None:
    """Refuse to bring zeros without a mask back to life, with a ValueError."""
    masked = get_masks(model)
    for name, layer in prunable_layers(model).items():
        before = earlier[f"{name}.weight".lstrip(".")].to(kept_weights(layer).device)
        revived = before[~kept_weights(layer)].count_nonzero()
        if name not in masked and revived > CHANCE_ZEROS * before.numel():
            raise ValueError(
                f"layer {name!r} has zeros but no mask, and rewinding would revive them; rewind "
                "before make_pruning_permanent, or give mask_dict ({} to revive them)"
            )


def checked_masks(model: nn.Module, layers: dict[str, nn.Module], mask_dict: State) -> State:
    """The masks by layer name, if each fits its layer.

    Raises:
        TypeError: no dictionary of tensors.
        ValueError: an unknown layer, a mask that does not fit, a weight that is shared.
    """
    check_type("mask_dict", mask_dict, dict, "a dictionary, as get_masks gives")
    masks = {str(name).removesuffix(".weight"): mask for name, mask in mask_dict.items()}
    for name, mask in masks.items():
        if name not in layers:
            raise ValueError(f"mask_dict has {said(name)}, which is none of {', '.join(layers)}")
        check_mask(f"mask_dict[{said(name)}]", mask, kept_weights(layers[name]).shape)
    check_own_weights(model, {name: weight_parameter(layers[name]) for name in masks})
    return masks
