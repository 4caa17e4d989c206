"""Numbers by which modules say how wide they are: attributes such as `num_heads` or `hidden_dim`,
and the sizes in a tuple such as `bias_shape`.

A forward that reshapes to such a number needs it to follow the width. An equal number may mean
something else, a length for example: so its name must say a width, or heads. Whether it was right
to let it follow is decided by the rehearsal.
"""

from collections.abc import Iterable

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
    """Whole numbers among the attributes."""
    return {name: value for name, value in _attributes(module) if type(value) is int and value > 1}


def shapes(module: nn.Module) -> dict[tuple[str, int], int]:
    """Whole numbers in tuples that are called a shape, by name and place."""
    tuples = [(n, v) for n, v in _attributes(module) if "shape" in n.lower() and type(v) is tuple]
    sizes = {(n, place): size for n, shape in tuples for place, size in enumerate(shape)}
    return {place: size for place, size in sizes.items() if type(size) is int and size > 1}


def _attributes(module: nn.Module) -> Iterable[tuple[str, object]]:
    """All of a module; none of a layer of torch, which has others, and which `cut` knows."""
    is_layer = type(module).__module__.startswith("torch.nn.") and not any(module.children())
    return () if is_layer else vars(module).items()


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
    widths = {(n, 0): v for n, v in numbers(module).items() if is_width(n) and "head" not in n}
    widths |= shapes(module)
    for tags in tree_leaves(result) if widths else ():
        if not isinstance(tags, Tags):
            continue
        for dim, size in enumerate(tags.shape):
            equal = [
                (f"{name}.{n}", place) for (n, place), width in widths.items() if width == size
            ]
            new = [(key, place) for key, place in equal if place not in found.said.get(key, {})]
            channels = channels_along(plain(tags), dim) if new else None
            for key, place in new if channels is not None else ():
                found.said.setdefault(key, {})[place] = channels


def heads_said(found: Findings, heads: Tensor, depth: int) -> None:
    """The running module attends with these heads: its numbers of them follow, and it may take the
    channels that it is given, and as many that its layers write, to be in proportion.

    Args:
        heads: a tag of each head.
        depth: channels of a head.
    """
    if not found.running or len(heads) == 1 or heads.min() <= FIXED:
        return
    name, module, inputs = found.running[-1]
    width = len(heads) * depth
    for n, number in numbers(module).items():
        if number == len(heads) and is_heads(n):
            found.axes.setdefault(f"{name}.{n}", {0: heads})
        elif number == width and is_width(n):
            found.axes.setdefault(f"{name}.{n}", {0: heads.repeat_interleave(depth)})
    given = [channels_along(plain(t), t.dim() - 1) for t in inputs if t.dim()]
    given += [found.axes[w][dim] for w, dim in found.writes if w.startswith(f"{name}.")]
    for channels in given:
        if channels is not None and len(channels) == width:
            found.paces.append((channels, heads))
