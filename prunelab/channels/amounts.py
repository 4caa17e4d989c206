"""How much goes: a ratio for all layers or for some, or what is to be left of the whole network."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from prunelab.channels.choice import first_half, lowest_units
from prunelab.channels.cut import cut, kept_indices
from prunelab.channels.following import twin
from prunelab.channels.plan import Group, Plan, is_under
from prunelab.channels.reasons import ORDINARY, layer_of
from prunelab.checks import check_choice, check_count, is_number, said
from prunelab.sparsity import count_macs

AMOUNTS = ("parameters", "macs")
HALVINGS = 40
"""After so many, neighboring ratios differ by less than a unit of any network."""


class Amount(NamedTuple):
    """How much is to go, as `prune_network` was told."""

    ratio: float | dict[str, float] | None
    target: dict[str, float] | None
    scope: str
    max_ratio: float | None
    round_to: int | None


def check_amount(amount: Amount) -> None:
    """Raise a ValueError for an argument out of range, or one that another excludes."""
    ratio, target, scope, max_ratio, round_to = amount
    check_choice("scope", scope, ("uniform", "global"))
    if ratio is not None and target is not None:
        raise ValueError(
            f"give one of ratio and target, not ratio={said(ratio)} and target={said(target)}"
        )
    _check_ratio(ratio, scope)
    if target is not None:
        share = next(iter(target.values()), None) if isinstance(target, dict) else None
        is_one = is_number(share) and 0 < share < 1 and len(target) == 1
        if not is_one or next(iter(target)) not in AMOUNTS:
            raise ValueError(
                f'target={said(target)} must be the share to keep, such as {{"parameters": 0.4}} '
                'or {"macs": 0.4}'
            )
    if max_ratio is not None:
        if not is_number(max_ratio) or not 0 < max_ratio < 1:
            raise ValueError(f"max_ratio={said(max_ratio)} must be between 0 and 1")
        if scope != "global":
            raise ValueError(
                f'max_ratio={said(max_ratio)} needs scope="global"; scope="uniform" takes the same '
                "ratio of every group"
            )
        if target is None and (0.5 if ratio is None else ratio) > max_ratio:
            raise ValueError(
                f"max_ratio={max_ratio} must be at least the ratio; give a lower ratio"
            )
    if round_to is not None:
        check_count("round_to", round_to)


def _check_ratio(ratio, scope: str) -> None:
    is_by_name = isinstance(ratio, dict)
    if is_by_name and (not ratio or not all(isinstance(name, str) for name in ratio)):
        raise ValueError(f"ratio={said(ratio)} must have names of layers, each with its ratio")
    if is_by_name and scope != "uniform":
        raise ValueError(
            f'ratio={said(ratio)} by layers needs scope="uniform"; scope="global" finds out itself '
            "how much of each layer goes"
        )
    for name, value in ratio.items() if is_by_name else [("", 0.5 if ratio is None else ratio)]:
        argument = f"ratio[{said(name)}]" if is_by_name else "ratio"
        if not is_number(value) or not 0 <= value < 1:
            raise ValueError(f"{argument}={said(value)} must be from 0 up to, but not including, 1")


def chooser(
    plan: Plan, scores: Tensor, is_relative: bool, amount: Amount
) -> Callable[[list[Group]], list[Tensor]]:
    """A function that chooses of every group the units that go.

    Args:
        scores: of every unit.
        is_relative: whether groups are compared by what scores are relative to their mean.
    """
    ratio, target, scope, max_ratio, round_to = amount

    def choose(groups: list[Group], ratios: list[float]) -> list[Tensor]:
        return lowest_units(
            groups, scores, ratios, scope == "global", is_relative, round_to or 1, max_ratio or 1.0
        )

    def by_ratio(groups: list[Group]) -> list[Tensor]:
        return choose(groups, ratios_of(plan, groups, 0.5 if ratio is None else ratio))

    def by_target(groups: list[Group]) -> list[Tensor]:
        (what, share), *_ = target.items()
        return smallest_cut(
            plan, what, share, lambda ratio: choose(groups, [ratio] * len(groups)), max_ratio
        )

    if isinstance(ratio, dict):
        _check_names(plan, ratio)
    if target and "macs" in target:  # numbers of modules that follow a width do so from here on
        plan.cut_what_can_go(first_half)
    return by_ratio if target is None else by_target


# --- a ratio for each layer ----------------------------------------------------------------------


def _check_names(plan: Plan, ratio: dict[str, float]) -> None:
    """Refuse names of no layers, and of layers none of whose channels may go."""
    for name in ratio:
        written = [(w, d) for w, d in plan.found.writes if not name or is_under(w, name)]
        if not written:
            raise ValueError(
                f"ratio names {said(name)}, which is no layer with output channels; "
                "channel_groups(model, example_inputs) lists them"
            )
        reasons = {plan.stays.get(u) for w, d in written for u in plan.units(w, d).tolist()}
        if name and ratio[name] and reasons <= {*ORDINARY}:
            raise ValueError(
                f"ratio names {said(name)}, whose output channels stay: it "
                f"{' and '.join(sorted(reasons))}; leave it out"
            )


def ratios_of(plan: Plan, groups: list[Group], ratio: float | dict[str, float]) -> list[float]:
    """The ratio of each group: that of its layers which were named, or else of all others.

    Raises:
        ValueError: layers that go together were given different ratios.
    """
    if not isinstance(ratio, dict):
        return [ratio] * len(groups)
    pace_of = torch.full((len(plan.unit),), -1)
    for group in groups:
        pace_of[group.units] = group.pace
    given: dict[int, tuple[str, float]] = {}
    for weight, dim in plan.found.writes:
        names = [name for name in ratio if name and is_under(weight, name)]
        if not names:
            continue
        value, layer = ratio[max(names, key=len)], layer_of(weight)
        for pace in set(pace_of[plan.units(weight, dim)].tolist()) - {-1}:
            other, before = given.setdefault(pace, (layer, value))
            if value != before:
                raise ValueError(
                    f"ratio gives {other!r} {before} and {layer!r} {value}, but their channels go "
                    "together; give both the same, or one of them none"
                )
    return [given.get(group.pace, ("", ratio.get("", 0.0)))[1] for group in groups]


# --- a target ------------------------------------------------------------------------------------


def smallest_cut(
    plan: Plan,
    what: str,
    share: float,
    choose: Callable[[float], list[Tensor]],
    max_ratio: float | None,
) -> list[Tensor]:
    """The units of the smallest ratio that leaves at most this share of the parameters or MACs.

    Raises:
        ValueError: no ratio leaves so little.
    """
    whole, known = amount_left(plan, what, torch.empty(0, dtype=torch.long)), {}

    def left(chosen: list[Tensor]) -> float:
        counts = tuple(map(len, chosen))
        if counts not in known:
            known[counts] = amount_left(plan, what, torch.cat(chosen)) / max(whole, 1)
        return known[counts]

    least = left(choose(1.0))
    if least > share:
        most = "one unit of each group" if max_ratio is None else f"max_ratio={max_ratio}"
        raise ValueError(
            f"target={{{what!r}: {share}}} can't be reached: {least:.3g} of the {what} are left "
            f"with {most}; give a larger share"
        )
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if left(choose(middle)) <= share else (middle, high)
    return choose(high)


class OnArguments(nn.Module):
    """A network that runs on the example it was followed with, whatever it is given."""

    def __init__(self, model: nn.Module, arguments: tuple[tuple, dict]):
        super().__init__()
        self.model, self.arguments = model, arguments

    def forward(self, _):
        positional, named = self.arguments
        return self.model(*positional, **named)


def amount_left(plan: Plan, what: str, units: Tensor) -> int:
    """Parameters, or MACs on the example, once these units are gone."""
    kept = kept_indices(plan.found.axes, torch.isin(plan.unit, units))
    if what == "macs":
        small = OnArguments(twin(cut(plan.model, kept)), plan.arguments)
        return count_macs(small, tree_leaves(plan.arguments)[0])
    return sum(
        math.prod(len(kept.get(name, {}).get(d, range(n))) for d, n in enumerate(p.shape))
        for name, p in plan.model.named_parameters()
    )
