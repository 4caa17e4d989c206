"""Whole filters of the lowest norm are masked, and penalties pull weights as their formula says."""

import copy
from functools import partial

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunelab.filters import apply_filter_pruning, filter_norms, weight_penalty
from prunelab.lab import l1_or_l2
from prunelab.masks import effective_weight, get_masks, make_pruning_permanent, set_mask
from prunelab.models import small_convnet
from prunelab.pruning import apply_global_pruning
from tests.helpers import (
    is_subset,
    left_as_it_was,
    random_network,
    random_state_left_alone,
    same,
    train_a_step,
)

CRITERIA = ("l1", "l2", "random")
CONVOLUTIONS = ("conv1", "conv2", "conv3")
IMAGES = (4, 1, 28, 28)
every_criterion = pytest.mark.parametrize("criterion", CRITERIA)
both_penalties = pytest.mark.parametrize("criterion", ["l1", "l2"])


def convolutions(*filters) -> nn.Sequential:
    """Convolutions of the given filters, each a list of its weights; they need not fit."""
    layers = []
    for weight in filters:
        weight = torch.as_tensor(weight, dtype=torch.float32)
        layers.append(nn.Conv2d(1, len(weight), (1, weight.shape[1]), bias=False))
        layers[-1].weight.data.copy_(weight.view_as(layers[-1].weight))
    return nn.Sequential(*layers)


@st.composite
def convolution_networks(draw) -> nn.Sequential:
    """One to three small layers of integer weights, so that many filters tie."""
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        filters, size = draw(st.integers(1, 7)), draw(st.integers(1, 3))
        numbers = st.lists(st.integers(-2, 2), min_size=size, max_size=size)
        layers.append(draw(st.lists(numbers, min_size=filters, max_size=filters)))
    return convolutions(*layers)


def convnet(seed: int = 0) -> nn.Module:
    return small_convnet(width=4, seed=seed)


def filter_masks(model: nn.Module, ratio: float = 0.5, **options) -> dict[str, torch.Tensor]:
    """The masks that filter pruning of a copy of the model gives."""
    return get_masks(apply_filter_pruning(copy.deepcopy(model), ratio, **options))


def kept_filters(masks: dict[str, torch.Tensor]) -> dict[str, list[bool]]:
    return {name: mask.flatten(1).any(dim=1).tolist() for name, mask in masks.items()}


def test_filter_norms_do_not_overflow_in_half_precision_and_have_no_gradient():
    filters = torch.full((2, 1000), 300.0, dtype=torch.float16, requires_grad=True)
    assert filter_norms(filters, "l1").tolist() == [300_000] * 2
    assert filter_norms(filters, "l2").tolist() == pytest.approx([300 * 1000**0.5] * 2)
    assert not filter_norms(filters).requires_grad


@every_criterion
@given(model=convolution_networks(), ratio=st.floats(0, 1, exclude_max=True))
def test_every_layer_loses_exactly_its_share_of_filters(model, ratio, criterion):
    targets = {name: round(ratio * len(layer.weight)) for name, layer in model.named_children()}
    zero = {name: layer.weight.flatten(1).eq(0).all(1) for name, layer in model.named_children()}
    if all(zero[name].sum() <= target < len(zero[name]) for name, target in targets.items()):
        kept = kept_filters(filter_masks(model, ratio, criterion=criterion))
        assert {name: flags.count(False) for name, flags in kept.items()} == targets
    else:
        with left_as_it_was(model), pytest.raises(ValueError, match="at least one must stay"):
            apply_filter_pruning(model, ratio, criterion=criterion)


@pytest.mark.parametrize(
    ("layers", "options", "kept"),
    [
        ([[[3, 0], [-2, 2]]], {}, [[False, True]]),
        ([[[3, 0], [-2, 2]]], {"criterion": "l1"}, [[False, True]]),
        ([[[3, 0], [-2, 2]]], {"criterion": "l2"}, [[True, False]]),
        ([[[1], [2]], [[30], [40]]], {}, [[False, True], [False, True]]),  # each layer by itself
        ([[[1, 2], [-2, 1], [0.5, 0], [2, -1]]], {}, [[False, True, False, True]]),  # first of ties
        ([[[1], [2], [3]], [[3]]], {"ratio": 0.6, "exclude": "1"}, [[False, False, True]]),
        ([[[1, 1], [0, 0], [0, 3], [3, 3]]], {"ratio": 0.25}, [[True, False, True, True]]),
    ],
)
def test_filters_of_the_lowest_norm_go(layers, options, kept):
    assert list(kept_filters(filter_masks(convolutions(*layers), **options)).values()) == kept


@every_criterion
def test_filters_are_masked_whole(criterion):
    for mask in filter_masks(convnet(), 0.4, criterion=criterion).values():
        assert set(mask.flatten(1).double().mean(dim=1).tolist()) == {0, 1}


def test_filter_pruning_masks_the_weights_of_convolutions_alone():
    model, dense = convnet(), convnet().state_dict()
    assert apply_filter_pruning(model, 0.5) is model
    masks = [name for name in model.state_dict() if name.endswith("_mask")]
    assert masks == [f"{name}.weight_mask" for name in CONVOLUTIONS]
    for name, tensor in model.state_dict().items():
        if not name.endswith("_mask"):
            assert torch.equal(tensor, dense[name.removesuffix("_orig")])


@pytest.mark.parametrize("exclude", ["conv2", ("conv2",)])
def test_filters_of_excluded_layers_stay(exclude):
    assert set(filter_masks(convnet(), exclude=exclude)) == {"conv1", "conv3"}


def test_weights_masked_before_stay_masked():
    model = apply_global_pruning(convnet(), sparsity=0.5)
    before = get_masks(model)
    after = get_masks(apply_filter_pruning(model, 0.5))
    for name in CONVOLUTIONS:
        kept = after[name].flatten(1).any(dim=1)
        assert torch.equal(after[name][kept], before[name][kept])
    assert is_subset(after, before)
    assert torch.equal(after["fc"], before["fc"])


def test_zeros_without_a_mask_are_masked():
    masks = filter_masks(convolutions([[1, 1], [0, 3]]))
    assert masks["0"].flatten(1).tolist() == [[False, False], [False, True]]


@every_criterion
@pytest.mark.parametrize("permanent", [False, True])
def test_filters_masked_before_count_first(criterion, permanent):
    model = apply_filter_pruning(convnet(), 0.25, criterion=criterion)
    before = get_masks(model)
    if permanent:
        make_pruning_permanent(model)
    else:
        for name, mask in before.items():
            model.get_submodule(name).weight_orig.data[~mask] = 1000.0
    apply_filter_pruning(model, 0.5, criterion=criterion, seed=1)
    assert is_subset(get_masks(model), before)
    for flags in kept_filters(get_masks(model)).values():
        assert flags.count(False) == len(flags) / 2


@pytest.mark.parametrize(
    ("weights", "mask", "ratio", "kept"),
    [
        # a filter with one weight left is not masked yet: another goes, with it none
        ([[1, 0, 0], [5] * 3, [7] * 3], [[1, 0, 0], [0] * 3, [1] * 3], 1 / 3, [True, False, True]),
        ([[3, 3], [2, 1000]], [[1, 1], [1, 0]], 0.5, [True, False]),  # no hidden weights
    ],
)
def test_filters_are_ranked_by_what_is_left_of_them(weights, mask, ratio, kept):
    model = convolutions(weights)
    set_mask(model[0], torch.tensor(mask).view_as(model[0].weight))
    assert kept_filters(filter_masks(model, ratio)) == {"0": kept}


def test_filter_norms_are_those_of_now():
    model = convolutions([[3], [2]])
    set_mask(model[0], torch.ones(2, 1, 1, 1))
    model[0].weight_orig.data[1] = 4.0
    assert kept_filters(filter_masks(model)) == {"0": [False, True]}


def test_random_filters_depend_on_seed_and_layer_alone():
    rising, falling = ([[10.0**i] for i in order] for order in (range(20), range(20, 0, -1)))
    rule, model = {"ratio": 0.5, "criterion": "random"}, convolutions(rising, rising)
    with random_state_left_alone():
        masks = filter_masks(model, seed=3, **rule)
    assert same(masks, filter_masks(convolutions(falling, falling), seed=3, **rule))
    assert not same(masks, filter_masks(model, seed=4, **rule))
    assert not torch.equal(masks["0"], masks["1"])


def test_model_in_a_graph_is_up_to_date_and_copyable_after_filter_pruning():
    model = apply_filter_pruning(convnet(), 0.25)
    train_a_step(model, *IMAGES)
    apply_filter_pruning(model, 0.5)
    for name, mask in get_masks(copy.deepcopy(model)).items():
        layer = model.get_submodule(name)
        assert torch.equal(layer.weight, layer.weight_orig * mask)


@pytest.mark.parametrize(
    "layer", [nn.Conv1d(3, 8, 3), nn.Conv3d(2, 8, 3), nn.Conv2d(6, 8, 3)], ids=str
)
def test_filters_of_other_convolutions(layer):
    before = layer.bias.detach().clone()
    masks = filter_masks(nn.Sequential(layer, nn.ConvTranspose2d(8, 4, 3)))
    assert {name: flags.count(False) for name, flags in kept_filters(masks).items()} == {"0": 4}
    assert torch.equal(layer.bias, before)


@both_penalties
@pytest.mark.parametrize("masked", [False, True])
def test_gradient_of_a_penalty_is_the_sign_or_the_weight_where_it_is_kept(criterion, masked):
    model = apply_global_pruning(convnet(), sparsity=0.5) if masked else convnet()
    weight_penalty(model, criterion).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    suffix = "_orig" if masked else ""
    assert set(found) == {f"{name}.weight{suffix}" for name in (*CONVOLUTIONS, "fc")}
    for name, gradient in found.items():
        weight = effective_weight(model.get_submodule(name.split(".")[0]))
        assert torch.equal(gradient, weight.sign() if criterion == "l1" else weight)


def test_unknown_criteria_are_named():
    for criterion in ("lamp", "random", "L1", None):
        with pytest.raises(ValueError, match=r'criterion=.* is unknown; choose "l1" or "l2"'):
            weight_penalty(convnet(), criterion)
        with pytest.raises(ValueError, match=r'criterion=.* is unknown; choose "l1" or "l2"'):
            filter_norms(torch.ones(2, 2), criterion)


@both_penalties
def test_penalty_counts_hidden_weights_as_zero_and_is_that_of_now(criterion):
    model = apply_global_pruning(random_network(), sparsity=0.5)
    for layer in model:
        layer.weight_orig.data *= 2
        layer.weight_orig.data[layer.weight_mask == 0] = 1000.0
    with left_as_it_was(model):
        found = weight_penalty(model, criterion)
    assert found.shape == ()
    torch.testing.assert_close(found, weight_penalty(make_pruning_permanent(model), criterion))


def test_ranks_by_both_norms_and_who_masks_what():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, (1, 2)), torch.nn.Linear(2, 2))
    network[0].weight.data = torch.tensor([[3.0, 4.0], [0.0, 6.0], [5.0, 5.0]]).view(3, 1, 1, 2)
    table = l1_or_l2.ranks(network, 0.4).set_index("rank by L1").sort_index()
    assert table["rank by L2"].tolist() == [2, 1, 3]
    assert table["filter"].tolist() == ["they disagree", "they disagree", "both keep it"]
    assert set(table["layer"]) == {"0"}


def test_a_walk_on_a_penalty_is_descent_on_it():
    descent = partial(torch.optim.SGD, lr=0.1)
    one, two = (l1_or_l2.walk(norm, descent, 2, start=(1.0, -0.5)) for norm in ("l1", "l2"))
    assert one.tolist() == [pytest.approx(w) for w in ([1, -0.5], [0.9, -0.4], [0.8, -0.3])]
    assert two.tolist() == [pytest.approx(w) for w in ([1, -0.5], [0.9, -0.45], [0.81, -0.405])]
    many = l1_or_l2.walk("l1", descent, 2, start=(9.0,), loss_pulls=1.0, copies=4000)
    assert many[-1].item() == pytest.approx(8.8, abs=0.02)
    assert many[-1].item() != pytest.approx(8.8, abs=1e-6)


def row_of_a_penalty(penalty: str, strength: float, valid: float, seed: int, **other) -> dict:
    """As `regularization` records it; L1 gains 0.01 of test accuracy a seed."""
    row = {"network": "lenet300", "role": "choice" if seed > 99 else "comparison", "seed": seed}
    row |= {"penalty": penalty, "strength": strength, "sparsity": 0.5, "retraining": "before"}
    row |= {"steps": 0, "retraining_strength": None, "rate": None, "valid_accuracy": valid}
    gained = 0.01 * seed * (penalty == "l1")
    return row | {"test_accuracy": None if seed > 99 else valid + gained} | other


def test_tables_of_penalties():
    before = [
        row_of_a_penalty(penalty, strength, valid, seed)
        for penalty, strength, valid in (
            ("none", 0.0, 0.4),
            ("l1", 1e-4, 0.8),
            ("l1", 3e-3, 0.7),
            ("l2", 1e-4, 0.51),
            ("l2", 1e-2, 0.6),
        )
        for seed in (0, 1, 100, 101)
    ]
    after = [
        row_of_a_penalty(penalty, 1e-4, 0.9 - gap, seed, retraining=then, steps=steps)
        | {"retraining_strength": strength, "rate": rate}
        for steps in (2150, 430)
        for penalty, then in (("l1", "l1"), ("l1", "l2"))
        for rate, strength, gap in ((1e-3, 1e-4, 0.0), (3e-3, 1e-4, 0.1), (1e-3, 1e-3, 0.1))
        for seed in ((0, 1, 100, 101) if gap == 0 else (100, 101))
    ]
    study = pd.DataFrame(before + after)
    rows = l1_or_l2.compared(study)
    assert rows["when"].unique().tolist() == [*l1_or_l2.WHEN.values()]
    assert rows["method"].value_counts().to_dict() == {
        "L1": 6,
        "L1, then L2": 4,
        "L2": 2,
        "none": 2,
    }
    assert (rows["role"] == "comparison").all()
    assert l1_or_l2.at_edge(study) == [
        "l2, not retrained: the highest strength at 50% sparsity",
        "l1, 2150 steps with l2: the lowest retraining strength at 50% sparsity",
        "l1, 430 steps with l2: the lowest retraining strength at 50% sparsity",
    ]
    (lead,) = l1_or_l2.lead(rows, "not retrained", "L1", "L2").itertuples()
    assert (lead.mean, lead.setting) == (pytest.approx(20.5), "50% sparsity")
    shown = l1_or_l2.by_strength(study)
    assert set(shown["penalty"]) == {"L1 penalty", "L2 penalty"}
    assert set(shown["sparsity"]) == {"50% sparsity"}
    assert len(shown) == 8
