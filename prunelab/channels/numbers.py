"""Numbers by which modules say how wide they are: attributes such as `num_heads` or `hidden_dim`.

A forward that reshapes to such a number needs it to follow the width. Nothing proves that an equal
number is meant: it follows on trial, and the rehearsal decides.
"""

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prunelab.channels.findings import Findings
from prunelab.channels.tags import FIXED, Tags, plain, varies

WIDTHS = ("dim", "size", "width", "d_", "scale")
"""Parts of names for widths, and not for the number of heads."""


def numbers(module: nn.Module) -> dict[str, int]:
    """Whole numbers among the attributes; layers of torch have others, which `cut` knows."""
    is_layer = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    return {} if is_layer else {n: v for n, v in vars(module).items() if type(v) is int and v > 1}


def is_width(name: str) -> bool:
    return any(part in name for part in WIDTHS)


def channels_along(tags: Tensor, dim: int) -> Tensor | None:
    """The channels side by side along a dimension, if it has no other entries."""
    if not varies(tags, dim):
        return None
    tags = tags.movedim(dim, -1)
    tags = tags[(0,) * (tags.dim() - 1)]
    is_one_each = len(tags.unique()) == len(tags) and tags.min() > FIXED
    return tags if is_one_each else None


def widths_said(found: Findings, result) -> None:
    """Remember numbers of the running module that equal a width of these activations."""
    name, module, _ = found.running[-1] if found.running else ("", nn.Module(), ())
    of_module = numbers(module)
    for tags in tree_leaves(result) if of_module else ():
        if not isinstance(tags, Tags):
            continue
        for dim, size in enumerate(tags.shape):
            equal = [n for n, number in of_module.items() if number == size]
            keys = [f"{name}.{n}" for n in equal if not ("head" in n and is_width(n))]
            new = [key for key in keys if key not in found.said]
            channels = channels_along(plain(tags), dim) if new else None
            if channels is not None:
                found.said |= dict.fromkeys(new, channels)


def heads_said(found: Findings, heads: Tensor, depth: int) -> None:
    """The heads of the running module: its numbers of them follow.

    Args:
        heads: a tag of each head.
        depth: channels of a head.
    """
    if not found.running or heads.min() <= FIXED:
        return
    name, module, inputs = found.running[-1]
    of_module = numbers(module)
    width = len(heads) * depth
    counts = [n for n, v in of_module.items() if v == len(heads) and not is_width(n)]
    for key in [f"{name}.{n}" for n in counts if "head" in n] or [f"{name}.{n}" for n in counts]:
        found.axes.setdefault(key, {0: heads})
    for n, number in of_module.items():
        if number == width > len(heads):
            found.axes.setdefault(f"{name}.{n}", {0: heads.repeat_interleave(depth)})
    for tags in inputs:
        channels = channels_along(plain(tags), tags.dim() - 1) if tags.dim() else None
        if channels is not None and len(channels) == width:
            found.paces.append((channels, heads))
