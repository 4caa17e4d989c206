"""Gradual pruning: a little at a time, with training between (notebook 08)."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from torch import nn

from prunelab.checks import check_choice, check_count, is_number, said
from prunelab.checks.tensors import calling, check_function
from prunelab.data import Data
from prunelab.pruning import apply_global_pruning
from prunelab.training import check_fit, fit


def sparsity_schedule(kind: str, final: float, rounds: int, initial: float = 0.0) -> list[float]:
    r"""The sparsity after each round of pruning, from `initial` (not listed) to `final`.

    $$\begin{aligned} \text{cubic:}\quad s_i &= s_f + (s_0 - s_f) \Big(1 - \frac{i}{n}\Big)^3 \\
    \text{step:}\quad s_i &= 1 - (1 - s_0) \Big(\frac{1 - s_f}{1 - s_0}\Big)^{i / n}
    \end{aligned} \tag{8.1}$$

    for round $i = 1 \dots n$. Step prunes the same *share of the weights still there* in every
    round; cubic prunes most at first, while there are weights to spare.

    Args:
        kind: "step" or "cubic".
        final: $s_f$, the sparsity after the last round, 0 < final < 1.
        rounds: $n$, at least 1.
        initial: $s_0$, the sparsity before the first round, 0 ≤ initial < final.

    Returns:
        $n$ increasing sparsities, fractions of *all* weights; the last is `final`.

    Raises:
        ValueError: an unknown kind, or a number out of range.

    Source: Han et al. (2015), arXiv:1506.02626 (step); Zhu & Gupta (2017), arXiv:1710.01878
    (cubic).
    """
    if not (is_number(initial) and is_number(final) and 0 <= initial < final < 1):
        raise ValueError(
            f"initial={said(initial)} and final={said(final)} must be 0 ≤ initial < final < 1"
        )
    check_choice("kind", kind, ("step", "cubic"))
    check_count("rounds", rounds)
    progress = [i / rounds for i in range(1, rounds)]
    if kind == "step":
        share = (1 - final) / (1 - initial)
        sparsities = [1 - (1 - initial) * share**p for p in progress]
    else:
        sparsities = [final + (initial - final) * (1 - p) ** 3 for p in progress]
    return [*sparsities, final]


def gradual_pruning(
    model: nn.Module,
    data: Data,
    schedule: Sequence[float],
    *,
    steps_per_round: int,
    finetune: Callable | None = None,
    criterion: str = "l1",
    scope: str = "global",
    exclude: str | tuple[str, ...] = (),
    seed: int = 0,
    **fit_options,
) -> pd.DataFrame:
    """Prune to each sparsity of the schedule in turn, and train after each, in place.

    Training stopped by hand ends the pruning too: the rounds that are left are not begun.

    Args:
        model: the network to prune, dense or masked.
        data: what `load_data` returns.
        schedule: increasing sparsities, fractions of *all* weights, such as `sparsity_schedule`
            gives.
        steps_per_round: training steps after each pruning, at least 1.
        finetune: `finetune(model, steps)` makes the optimizer and the scheduler of one round, as
            `get_finetune_optimizer` does. None means those of `fit`.
        criterion: as in `apply_global_pruning`, like `scope` and `exclude`.
        seed: draws the scores of the "random" criterion, and the order of the images, which is a
            different one in every round (1000 · seed + round).
        **fit_options: passed on to `fit`.

    Returns:
        The histories of all rounds in one table, with two more columns, `round` (from 1) and
        `sparsity`. Steps and seconds start anew in each.

    Raises:
        ValueError: a schedule that does not increase, or a number out of range; the model is as
            it was. What only a step of training tells (a wrong loss) comes after the first pruning.
    """
    schedule = list(schedule) if np.iterable(schedule) else [schedule]
    numbers = all(is_number(sparsity) for sparsity in schedule)
    increases = numbers and all(a < b for a, b in pairwise(schedule))
    if not schedule or not increases or not (schedule[0] >= 0 and schedule[-1] < 1):
        wanted = "must be sparsities that increase, from 0 to below 1"
        raise ValueError(f"schedule={said(schedule)} {wanted}")
    check_count("steps_per_round", steps_per_round)
    check_fit(
        model, data, steps=steps_per_round, optimizer=None, scheduler=None, seed=seed, **fit_options
    )
    check_function("finetune", finetune)
    histories = []
    for i, sparsity in enumerate(schedule, start=1):
        apply_global_pruning(
            model, sparsity=sparsity, criterion=criterion, scope=scope, exclude=exclude, seed=seed
        )
        with calling("finetune"):
            optimizer, scheduler = finetune(model, steps_per_round) if finetune else (None, None)
        history = fit(
            model,
            data,
            steps=steps_per_round,
            optimizer=optimizer,
            scheduler=scheduler,
            seed=1000 * seed + i,
            **fit_options,
        )
        histories.append(history.assign(round=i, sparsity=sparsity))
        if history["step"].max() < steps_per_round:  # stopped by hand
            break
    return pd.concat(histories, ignore_index=True)
