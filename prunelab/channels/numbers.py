"""Numbers by which modules say how wide they are: attributes such as `num_heads` or `hidden_dim`.

A forward that reshapes to such a number needs it to follow the width. An equal number may mean
something else, a length for example: so its name must say a width, or heads. Whether it was right
to let it follow is decided by the rehearsal.
"""

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prunelab.channels.findings import Findings
from prunelab.channels.tags import FIXED, Tags, plain, varies

WIDTHS = ("dim", "emb", "width", "channel", "feature", "hidden", "inner", "model", "planes")
WIDTHS += ("split_size", "head_size", "d_k", "d_v")
"""Parts of names that say a width."""
WHOLE_NAMES = ("nf", "nx")
"""Names that say a width."""
HEADS = ("h", "nh", "n_h")
"""Names for the number of heads, beside those in which "head" occurs."""


def numbers(module: nn.Module) -> dict[str, int]:
    """Whole numbers among the attributes; layers of torch have others, which `cut` knows."""
    is_layer = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    return {} if is_layer else {n: v for n, v in vars(module).items() if type(v) is int and v > 1}


def is_width(name: str) -> bool:
    return name in WHOLE_NAMES or any(part in name.lower() for part in WIDTHS)


def is_heads(name: str) -> bool:
    return not is_width(name) and ("head" in name.lower() or name.lower() in HEADS)


def channels_along(tags: Tensor, dim: int) -> Tensor | None:
    """The channels side by side along a dimension, if there are several and each comes once."""
    if not varies(tags, dim):
        return None
    tags = tags.movedim(dim, -1)
    tags = tags[(0,) * (tags.dim() - 1)]
    is_one_each = len(tags.unique()) == len(tags) and tags.min() > FIXED
    return tags if is_one_each else None


def widths_said(found: Findings, result) -> None:
    """Remember numbers of the running module that equal a width of these activations."""
    name, module, _ = found.running[-1] if found.running else ("", nn.Module(), ())
    widths = {n: v for n, v in numbers(module).items() if is_width(n) and "head" not in n}
    for tags in tree_leaves(result) if widths else ():
        if not isinstance(tags, Tags):
            continue
        for dim, size in enumerate(tags.shape):
            keys = [f"{name}.{n}" for n, width in widths.items() if width == size]
            new = [key for key in keys if key not in found.said]
            channels = channels_along(plain(tags), dim) if new else None
            if channels is not None:
                found.said |= dict.fromkeys(new, channels)


def heads_said(found: Findings, heads: Tensor, depth: int) -> None:
    """The running module attends with these heads: its numbers of them follow.

    Args:
        heads: a tag of each head.
        depth: channels of a head.
    """
    if not found.running or heads.min() <= FIXED:
        return
    name, module, inputs = found.running[-1]
    width = len(heads) * depth
    for n, number in numbers(module).items():
        if number == len(heads) and is_heads(n):
            found.axes.setdefault(f"{name}.{n}", {0: heads})
        elif number == width and is_width(n):
            found.axes.setdefault(f"{name}.{n}", {0: heads.repeat_interleave(depth)})
    for tags in inputs:
        channels = channels_along(plain(tags), tags.dim() - 1) if tags.dim() else None
        if channels is not None and len(channels) == width:
            found.paces.append((channels, heads))
