"""How much each group of channels matters: accuracy after cutting nothing else (notebook 05)."""

import pandas as pd
import torch
from torch import nn

from prunelab.channels.choice import (
    Criterion,
    check_criterion,
    first_half,
    lowest_units,
    unit_scores,
)
from prunelab.channels.findings import CannotFollow
from prunelab.channels.plan import Plan
from prunelab.channels.reasons import layer_of
from prunelab.channels.within import Within
from prunelab.checks import check_seed, is_number, said
from prunelab.checks.tensors import check_finite, check_model, check_split
from prunelab.data import Split
from prunelab.training import evaluate


def channel_sensitivity(
    model: nn.Module,
    split: Split,
    example_inputs,
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75),
    criterion: Criterion = "l1",
    seed: int = 0,
    within: str = "",
) -> pd.DataFrame:
    """The accuracy after the lowest-scoring channels of one group are cut, for each group alone.

    Nothing is trained afterwards. Layers whose channels go together, such as those that a residual
    sum ties, are one group and are cut together; so are groups that must lose the same fraction.

    Args:
        model, example_inputs, criterion, seed, within: as in `prune_network`.
        split: the images and labels that are looked at: validation images, if layers are chosen by
            what comes out.
        ratios: fractions of the group's units, each 0 ≤ ratio < 1; at least one unit stays.

    Returns:
        A table, a row for each group and ratio: `group`, as in `channel_groups`, `layers` that
        write its channels, `units`, `ratio`, `cut` (how many units went), and `accuracy`, which is
        NaN where the group cannot be cut so.

    Raises:
        ValueError: an argument out of range, a weight that is NaN or infinite.
        CannotCut: the forward can't be followed.
    """
    check_model(model)
    check_split("split", split)
    check_criterion(criterion)
    check_seed(seed)
    if not isinstance(ratios, tuple | list) or not ratios or not all(map(_is_ratio, ratios)):
        raise ValueError(f"ratios={said(ratios)} must be fractions, 0 ≤ ratio < 1, at least one")
    check_finite(model)
    cut_within = Within(model, within, example_inputs)
    plan = Plan(cut_within.part, cut_within.inputs)
    scores = unit_scores(plan, criterion, seed)
    plan.cut_what_can_go(first_half)
    groups, rows = plan.groups(), []
    for number, group in enumerate(groups, 1):
        layers = [layer_of(w) for w, d in plan.found.writes if _is_in(plan.units(w, d), group)]
        together = [other for other in groups if other.pace == group.pace]
        place = next(i for i, other in enumerate(together) if other is group)
        for ratio in ratios:
            chosen = lowest_units(together, scores, [ratio] * len(together))
            try:
                small = cut_within.whole(plan.cut(torch.cat(chosen)))
                accuracy = evaluate(small, split).accuracy
            except CannotFollow:
                accuracy = float("nan")
            cut = len(chosen[place])
            rows.append((number, ", ".join(layers), len(group.units), ratio, cut, accuracy))
    return pd.DataFrame(rows, columns=["group", "layers", "units", "ratio", "cut", "accuracy"])


def _is_ratio(value) -> bool:
    return is_number(value) and 0 <= value < 1


def _is_in(units: torch.Tensor, group) -> bool:
    return bool(torch.isin(units, group.units).any())
