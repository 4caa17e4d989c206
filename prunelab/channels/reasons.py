"""What may go and what stays, in words: refusals, the layers left alone, and the table.

A unit is named by its layers, as the user knows them.
"""

import difflib

import pandas as pd
import torch
from torch import Tensor, nn

from prunelab.channels.plan import CannotCut, Plan
from prunelab.channels.tags import INPUT, RESERVED
from prunelab.checks import said

VECTORS = ("weight", "bias", "running_mean", "running_var", "num_features", "normalized_shape")
VECTORS += ("num_channels",)
ORDINARY = ("is the model's output", "is excluded", RESERVED[INPUT])
"""Reasons to stay that nobody needs to be warned of."""


def layer_of(name: str) -> str:
    """The layer of a parameter; a parameter that a composite module owns counts as itself."""
    owner, _, leaf = name.rpartition(".")
    return owner if leaf in VECTORS else name


# --- given channels of one layer -----------------------------------------------------------------


def units_of(plan: Plan, layer_name: str, channel_indices) -> Tensor:
    """The units that own these output channels, if exactly they can go.

    Raises:
        CannotCut: they can't go.
    """
    layer_name = str(layer_name)
    units = plan.units(*_written_weight(plan, layer_name))
    chosen = _as_indices(channel_indices, layer_name, len(units))
    gone = units[chosen].unique()
    channels = f"channels {said(chosen.tolist())} of {layer_name!r}"
    for unit in gone.tolist():
        if unit in plan.stays:
            raise CannotCut(
                f"{channels} may not go: one of {_touched(plan, unit)}, which go together, "
                f"{plan.stays[unit]}"
            )
    together = torch.isin(units, gone).nonzero().flatten().tolist()
    if missing := sorted(set(together) - set(chosen.tolist())):
        raise CannotCut(
            f"{channels} go only together with its channels {missing}; give all of them or none"
        )
    for name, dims in plan.found.axes.items():
        if any(torch.isin(plan.units(name, dim), gone).all() for dim in dims):
            raise CannotCut(f"{channels} are all that {layer_of(name)!r} has; keep at least one")
    return gone


def _as_indices(channel_indices, layer_name: str, width: int) -> Tensor:
    try:
        chosen = torch.as_tensor(channel_indices).flatten().unique()
    except (TypeError, ValueError, RuntimeError):
        chosen = torch.empty(0)
    if chosen.dtype not in (torch.int32, torch.int64) or not len(chosen):
        raise CannotCut(
            f"channel_indices={said(channel_indices)} must be whole numbers, at least one"
        )
    if chosen.min() < 0 or chosen.max() >= width:
        raise CannotCut(
            f"channel_indices={said(chosen.tolist())}: the channels of {layer_name!r} are "
            f"0 to {width - 1}"
        )
    return chosen


def _written_weight(plan: Plan, layer_name: str) -> tuple[str, int]:
    """The weight whose output channels are those of this layer, and its dimension of them."""
    layer = _layer_named(plan.model, layer_name)
    own = {id(p) for p in layer.parameters(recurse=False)}
    names = [name for name, p in plan.model.named_parameters() if id(p) in own]
    for name in names:
        if name in plan.found.given_up:
            why = plan.found.given_up[name]
            raise CannotCut(f"channels of {layer_name!r} may not go: it {why}")
    written = [(name, dim) for name, dim in plan.found.writes if name in names]
    if len(written) > 1:  # an embedding that shares its weight with a linear layer
        first = 1 if isinstance(layer, nn.Embedding) else 0
        written = [(name, dim) for name, dim in written if dim == first]
    if written:
        return written[0]
    reached = [name for name in names if name in plan.found.axes]
    if reached:
        raise CannotCut(
            f"layer_name={layer_name!r} makes no channels, it only carries them; name one of "
            f"those that write them: {_writers_beside(plan, reached)}"
        )
    if any(layer.children()) or not names:
        raise CannotCut(f"layer_name={layer_name!r} has no weights of its own; name a layer in it")
    raise CannotCut(f"layer_name={layer_name!r} is never reached by the forward")


def _layer_named(model: nn.Module, layer_name: str) -> nn.Module:
    modules = dict(model.named_modules())
    if layer_name in modules:
        return modules[layer_name]
    close = difflib.get_close_matches(layer_name, modules, n=3)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "see named_modules()"
    raise CannotCut(f"layer_name={said(layer_name)} is no layer of the model; {hint}")


def _writers_beside(plan: Plan, names: list[str]) -> list[str]:
    """The layers that write the channels of these parameters."""
    axes = plan.found.axes
    carried = torch.cat([plan.units(n, dim).flatten() for n in names for dim in axes[n]])
    return [
        layer_of(w) for w, d in plan.found.writes if torch.isin(plan.units(w, d), carried).any()
    ]


def _touched(plan: Plan, unit: int) -> list[str]:
    """The layers that a unit runs through."""
    names = [
        layer_of(name)
        for name, dims in plan.found.axes.items()
        if any((plan.units(name, dim) == unit).any() for dim in dims)
    ]
    return list(dict.fromkeys(names))


# --- the whole network ---------------------------------------------------------------------------


def left_alone(plan: Plan) -> dict[str, str]:
    """Layers that keep all channels, with the reason; not those that write the output."""
    reasons = {layer_of(weight): why for weight, why in plan.found.given_up.items()}
    for weight, dim in plan.found.writes:
        units = plan.units(weight, dim).tolist()
        all_stay = len(units) > 1 and all(unit in plan.stays for unit in units)
        if all_stay and plan.stays[units[0]] not in ORDINARY:
            reasons.setdefault(layer_of(weight), plan.stays[units[0]])
    return reasons


def nothing_cut(plan: Plan) -> str:
    """Why nothing in the network can be cut."""
    reasons = left_alone(plan)
    if not reasons:
        firsts = {layer_of(w): plan.units(w, d)[:1].tolist() for w, d in plan.found.writes}
        reasons = {layer: plan.stays.get(*units, "stays") for layer, units in firsts.items()}
    listed = [f"{layer or 'the model'}: {why}" for layer, why in reasons.items()][:5]
    none = "its forward calls no convolution, linear or embedding layer"
    return f"nothing in this network can be cut. {'; '.join(listed) or none}"


def said_left_alone(plan: Plan) -> str:
    """A warning that names layers left alone, or nothing."""
    names = list(left_alone(plan))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    listed = f"left as they are: {', '.join(names[:5])}{more}"
    return f"{listed}; channel_groups(model, example_inputs) says why" if names else ""


def said_never_reached(plan: Plan, small: nn.Module) -> str:
    """A warning that names layers which the example never reached, and which may read or write what
    has been cut; or nothing."""
    parameters = dict(plan.model.named_parameters())
    cuts = [(name, d) for name, dims in small.kept_channels.items() for d in dims]
    widths = {parameters[name].size(d) for name, d in cuts if name in parameters}
    names = [
        layer_of(name)
        for name, p in parameters.items()
        if name not in plan.found.reached
        and any(size % width == 0 for size in p.shape for width in widths if width > 1)
    ]
    listed = f"with these example_inputs, and left whole: {', '.join(dict.fromkeys(names))}"
    return (
        f"never reached {listed}; where they read channels that were cut they no longer fit"
        if names
        else ""
    )


def table(plan: Plan) -> pd.DataFrame:
    """Every channel of every layer: unit, group, and why it stays."""
    group_of = {u: i for i, g in enumerate(plan.groups(), 1) for u in g.units.tolist()}
    rows, seen = [], set()
    for name, dims in plan.found.axes.items():
        layer = layer_of(name)
        for dim in dims:
            role = "writes" if (name, dim) in plan.found.writes else "carries"
            role = "reads" if (name, dim) in plan.found.reads else role
            is_bias = role == "carries" and (layer, "writes") in seen
            if is_bias or (layer, role) in seen:  # BatchNorm has four vectors
                continue
            seen.add((layer, role))
            units = plan.units(name, dim).flatten().tolist()
            rows += [
                (layer, role, i, u, group_of.get(u, 0), plan.stays.get(u, ""))
                for i, u in enumerate(units)
            ]
    return pd.DataFrame(rows, columns=["layer", "role", "channel", "unit", "group", "stays"])
