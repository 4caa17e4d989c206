"""Scores the units of a network, and chooses the lowest of every group."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from prunelab.channels.cut import named_tensor
from prunelab.channels.plan import Group, Plan
from prunelab.channels.reasons import layer_of
from prunelab.checks import said
from prunelab.checks.tensors import calling, check_numbers
from prunelab.filters import filter_norms
from prunelab.pruning import lowest

Criterion = str | Callable[[Tensor], Tensor] | dict[str, Tensor]
NORMS = ("l1", "l2")
CRITERIA = (*NORMS, "random", "bn_scale")


def check_criterion(criterion: Criterion) -> None:
    """Raise a ValueError for what gives no scores."""
    named = isinstance(criterion, str) and criterion in CRITERIA
    if not (named or callable(criterion) or isinstance(criterion, dict)):
        wanted = f"one of {CRITERIA}, a function, or scores by the names of layers"
        raise ValueError(f"criterion={said(criterion)} must be {wanted}")


def check_relative(relative: bool | None, scope: str) -> None:
    """Raise a ValueError for what says nothing of how groups are compared, or has no use."""
    if not (relative is None or isinstance(relative, bool)):
        raise ValueError(f"relative={said(relative)} must be True, False or None")
    if relative is not None and scope != "global":
        raise ValueError(
            f'relative={relative} needs scope="global"; scope="uniform" compares no groups'
        )


def is_relative(relative: bool | None, criterion: Criterion, scores: Tensor) -> bool:
    """Whether scores are divided by the mean of their group: if not said, norms are.

    Raises:
        ValueError: negative scores, whose mean says nothing of their scale.
    """
    if relative is None:  # norms grow with the weights of a layer, so that layers differ in scale
        return isinstance(criterion, str) and criterion in NORMS
    if relative and scores.min() < 0:
        raise ValueError(
            f"relative=True needs scores of at least 0, but criterion gave {scores.min():.3g}; "
            "add a number to them, or leave relative out"
        )
    return relative


def unit_scores(plan: Plan, criterion: Criterion, seed: int) -> Tensor:
    """Equation (5.3): a score for every unit."""
    scores = torch.zeros(len(plan.unit), dtype=torch.float64)
    if criterion == "random":
        return torch.rand(len(scores), generator=torch.Generator().manual_seed(int(seed)))
    if criterion == "bn_scale":
        return _bn_scales(plan, scores)
    parameters = dict(plan.model.named_parameters(remove_duplicate=False))
    seen = torch.zeros(len(scores), dtype=torch.bool)
    for name, dim in sorted(plan.found.writes, key=lambda written: written[0] not in parameters):
        units = plan.units(name, dim)
        if name not in parameters and seen[units].any():
            continue  # a fixed filter, as of a blur, beside weights that were learned
        seen[units] = True
        weight = named_tensor(plan.model, name).detach().movedim(dim, 0).cpu()
        if isinstance(criterion, dict):
            norms = _added_up(criterion, name, weight, dim)
        elif callable(criterion):
            with calling("criterion"):
                norms = torch.as_tensor(criterion(weight)).double()
        else:
            norms = filter_norms(weight, criterion)
        if norms.shape != weight.shape[:1] or not norms.isfinite().all():
            raise ValueError(
                f"criterion returned {said(norms)} for the weights of {layer_of(name)!r}, "
                f"{tuple(weight.shape)}; needed is a finite score for each of {len(weight)}"
            )
        scores.index_add_(0, units, norms)
    return scores


def _added_up(given: dict[str, Tensor], name: str, weight: Tensor, dim: int) -> Tensor:
    """The scores that were given for the weights of a layer, a sum for each channel."""
    layer = layer_of(name)
    if layer not in given:
        raise ValueError(f"criterion has no scores of the layer {layer!r}; give some")
    scores = check_numbers(f"criterion[{layer!r}]", given[layer]).detach().cpu()
    shape = weight.movedim(0, dim).shape
    if scores.shape != shape:
        raise ValueError(
            f"criterion[{layer!r}] {tuple(scores.shape)} must have the shape of the weights, "
            f"{tuple(shape)}"
        )
    return scores.double().movedim(dim, 0).flatten(1).sum(dim=1)


def _bn_scales(plan: Plan, scores: Tensor) -> Tensor:
    """Add up the scales of BatchNorm; groups without any stay."""
    seen = torch.zeros(len(scores), dtype=torch.bool)
    for name, module in plan.model.named_modules():
        weight = f"{name}.weight"
        is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if is_norm and 0 in plan.found.axes.get(weight, {}):
            units = plan.units(weight, 0)
            scores.index_add_(0, units, module.weight.detach().abs().double().cpu())
            seen[units] = True
    for group in plan.groups():
        plan.keep(group.units[~seen[group.units]], "has no BatchNorm to score it")
    return scores


def lowest_units(
    groups: list[Group],
    scores: Tensor,
    ratios: list[float],
    is_global: bool = False,
    is_relative: bool = False,
    round_to: int = 1,
    most: float = 1.0,
) -> list[Tensor]:
    """The lowest-scoring units of each group; at least one stays.

    Args:
        scores: of every unit of the network.
        ratios: the fraction of each group; in a global choice, one for all.
        is_global: whether groups share one ranking.
        is_relative: whether they are ranked by scores relative to the mean of their group.
        most: no group loses a larger fraction.
    """
    of_group = [scores[group.units] for group in groups]
    wanted = [round(len(s) * ratio) for s, ratio in zip(of_group, ratios, strict=True)]
    if is_global:
        comparable = [s / s.mean().clamp(min=1e-30) if is_relative else s for s in of_group]
        limits = [len(s) if most == 1 else limit(len(s), most) for s in of_group]
        is_candidate = torch.cat(list(map(lowest, comparable, limits)))
        every = torch.cat(comparable).where(is_candidate, torch.inf)
        count = min(round(len(every) * ratios[0]), sum(limits))
        wanted = [int(low.sum()) for low in lowest(every, count).split([*map(len, of_group)])]
    counts = in_pace(groups, wanted, round_to, most)
    return [
        group.units[lowest(s, count)]
        for group, s, count in zip(groups, of_group, counts, strict=True)
    ]


def limit(total: int, most: float) -> int:
    """How many units of so many may go: not all, and no larger fraction than `most`."""
    return min(total - 1, math.floor(total * most + 1e-9))


def first_half(groups: list[Group]) -> list[Tensor]:
    """About half of each group, for a cut on trial."""
    counts = in_pace(groups, [len(group.units) // 2 for group in groups])
    return [group.units[:count] for group, count in zip(groups, counts, strict=True)]


def in_pace(
    groups: list[Group], wanted: list[int], round_to: int = 1, most: float = 1.0
) -> list[int]:
    """How many units of each group to remove: at least one stays, and paces are kept."""
    counts = list(wanted)
    for pace in {group.pace for group in groups}:
        members = [i for i, group in enumerate(groups) if group.pace == pace]
        sizes = [len(groups[i].units) for i in members]
        shares = math.gcd(*sizes)
        count = round(shares * sum(wanted[i] for i in members) / sum(sizes))
        channels = {
            n * (size // shares)
            for i, size in zip(members, sizes, strict=True)
            for n in groups[i].channels_per_unit
        }
        count = rounded(count, shares, channels, round_to, limit(shares, most))
        for i, size in zip(members, sizes, strict=True):
            counts[i] = count * (size // shares)
    return counts


def rounded(
    count: int, total: int, channels_per_unit: set[int], round_to: int, largest: int
) -> int:
    """How many units to remove, so that a nearest multiple of channels is left.

    Args:
        largest: more do not go.
    """
    count = min(count, largest)
    step = math.lcm(*(round_to // math.gcd(round_to, n) for n in channels_per_unit))
    if count == 0 or step == 1:
        return count
    left = max(math.floor((total - count) / step + 0.5), math.ceil((total - largest) / step))
    return max(0, total - left * step)
