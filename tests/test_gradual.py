"""Schedules end where they should, and each round prunes to its sparsity and trains."""

import copy
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from prunelab.finetuning import get_finetune_optimizer
from prunelab.gradual import gradual_pruning, sparsity_schedule
from prunelab.masks import get_masks
from prunelab.models import small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import total_sparsity
from prunelab.training import HISTORY_COLUMNS, TrainingInterrupted, fit
from tests.helpers import is_subset, same, state


def build() -> nn.Module:
    return small_convnet(width=4, seed=0)


def prune_gradually(model: nn.Module, data, schedule=(0.3, 0.6), **options):
    options = {"steps_per_round": 2, "device": "cpu", "progress": False} | options
    return gradual_pruning(model, data, schedule, **options)


@pytest.mark.parametrize("kind", ["step", "cubic"])
@given(
    ends=st.tuples(st.integers(0, 99), st.integers(0, 99)).filter(lambda ends: ends[0] != ends[1]),
    rounds=st.integers(1, 30),
)
def test_schedule_increases_and_ends_where_it_should(kind, ends, rounds):
    initial, final = (percent / 100 for percent in sorted(ends))
    schedule = sparsity_schedule(kind, final, rounds, initial)
    assert len(schedule) == rounds
    assert all(a < b for a, b in pairwise([initial, *schedule]))
    assert schedule[-1] == final


def test_every_round_prunes_to_its_sparsity_then_trains_with_a_schedule_of_its_own(data):
    steps_of, masks, sparsities, rates = [], [], [], []

    def finetune(model, steps):
        """Notes what each round starts with."""
        optimizer, scheduler = get_finetune_optimizer(model, steps, lr=0.1)
        steps_of.append(steps)
        masks.append(copy.deepcopy(get_masks(model)))
        sparsities.append(total_sparsity(model))
        rates.append(optimizer.param_groups[0]["lr"])
        return optimizer, scheduler

    schedule = iter([0.0, 0.2, 0.5, 0.75])  # it may begin with zero, and be read only once
    history = prune_gradually(build(), data, schedule, finetune=finetune, steps_per_round=4)
    assert sparsities == pytest.approx([0, 0.2, 0.5, 0.75], abs=1e-3)
    assert all(is_subset(later, earlier) for earlier, later in pairwise(masks))
    assert (steps_of, rates) == ([4] * 4, [0.1] * 4)
    assert history["lr"].tolist() == pytest.approx([0.1, 0] * 4, abs=1e-9)


def test_equals_pruning_and_training_by_hand(data):
    gradual, by_hand = build(), build()
    options = {"criterion": "lamp", "exclude": "fc", "scope": "layerwise"}
    prune_gradually(gradual, data, [0.3, 0.6], seed=2, **options)
    for sparsity, seed in ((0.3, 2001), (0.6, 2002)):
        apply_global_pruning(by_hand, sparsity=sparsity, **options)
        fit(by_hand, data, steps=2, seed=seed, device="cpu", progress=False)
    assert same(state(gradual), state(by_hand))


def test_random_masks_are_those_of_one_shot_and_follow_the_seed(data):
    masks = []
    for seed in (1, 2):
        gradual, one_shot = build(), build()
        prune_gradually(gradual, data, criterion="random", seed=seed, steps_per_round=1)
        apply_global_pruning(one_shot, sparsity=0.6, criterion="random", seed=seed)
        assert same(get_masks(gradual), get_masks(one_shot))
        masks.append(get_masks(gradual))
    assert not same(*masks)


def test_history_names_round_and_sparsity(data):
    history = prune_gradually(build(), data, eval_splits=("valid", "test"))
    assert list(history.columns) == [*HISTORY_COLUMNS, "round", "sparsity"]
    assert history["round"].tolist() == [1] * 4 + [2] * 4
    assert history["sparsity"].tolist() == [0.3] * 4 + [0.6] * 4
    assert history["step"].tolist() == [0, 0, 2, 2] * 2
    assert history.index.tolist() == list(range(8))
    model = build()
    assert len(prune_gradually(model, data, eval_splits=())) == 0
    assert model.bn1.num_batches_tracked == 4


def test_stopping_by_hand_ends_the_pruning_too(data):
    calls = 0

    def loss(outputs, labels):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return F.cross_entropy(outputs, labels)

    model = build()
    with pytest.warns(TrainingInterrupted):
        history = prune_gradually(model, data, [0.2, 0.5, 0.75], loss=loss)
    assert calls == 4
    assert total_sparsity(model) == pytest.approx(0.5, abs=1e-3)
    assert history["step"].tolist() == [0, 2, 0, 1]
