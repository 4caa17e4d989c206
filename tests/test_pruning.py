"""Exactly the right weights go, and a wrong call changes nothing."""

import copy
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from prunelab.masks import get_masks, make_pruning_permanent, prunable_layers
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import LayerCollapse, apply_global_pruning, lamp_score
from tests.helpers import (
    is_subset,
    left_as_it_was,
    network,
    random_network,
    random_state_left_alone,
    same,
    train_a_step,
)

CRITERIA = ("l1", "l2", "lamp", "random")
SCOPES = ("global", "layerwise")
every_rule = pytest.mark.parametrize(
    "rule", [{"criterion": c, "scope": s} for c in CRITERIA for s in SCOPES], ids=str
)
may_collapse = pytest.mark.filterwarnings("ignore::prunelab.pruning.LayerCollapse")
fractions = st.floats(0, 1, exclude_max=True)
HALF = {"sparsity": 0.5}
NOT_ZERO = st.sampled_from([-3, -2, -1, 1, 2, 3])


@st.composite
def networks(draw, values=NOT_ZERO) -> nn.Sequential:
    """One to three small layers of integer weights, so that many of them tie."""
    weights = []
    for _ in range(draw(st.integers(1, 3))):
        rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        row = st.lists(values, min_size=columns, max_size=columns)
        weights.append(draw(st.lists(row, min_size=rows, max_size=rows)))
    return network(*weights)


def pruned(model: nn.Module, **options) -> dict[str, torch.Tensor]:
    """The masks that pruning a copy of the model gives."""
    return get_masks(apply_global_pruning(copy.deepcopy(model), **options))


def pruned_count(model: nn.Module) -> int:
    return sum(int((~mask).sum()) for mask in get_masks(model).values())


def half_pruned() -> nn.Module:
    return apply_global_pruning(random_network(), sparsity=0.5)


def groups(model: nn.Sequential, scope: str) -> list[list[nn.Module]]:
    return [list(model)] if scope == "global" else [[layer] for layer in model]


@may_collapse
@pytest.mark.parametrize("scope", SCOPES)
@given(model=networks(st.integers(-2, 2)), sparsity=fractions)
def test_the_smallest_weights_go_and_among_equals_the_first(model, sparsity, scope):
    weights = [torch.cat([m.weight.flatten() for m in g]).tolist() for g in groups(model, scope)]
    counts = [round(sparsity * len(group)) for group in weights]
    if any(n < group.count(0) for n, group in zip(counts, weights, strict=True)):
        with left_as_it_was(model), pytest.raises(ValueError, match="never brings a weight back"):
            apply_global_pruning(model, sparsity=sparsity, scope=scope)
        return
    expected = []
    for count, group in zip(counts, weights, strict=True):
        gone = sorted(range(len(group)), key=lambda i, group=group: (abs(group[i]), i))[:count]
        expected += [i not in gone for i in range(len(group))]
    masks = pruned(model, sparsity=sparsity, scope=scope)
    assert torch.cat([mask.flatten() for mask in masks.values()]).tolist() == expected


@may_collapse
@every_rule
@given(model=networks(st.integers(-2, 2)), amount=fractions)
def test_amount_is_exact_to_one_weight(model, amount, rule):
    target = 0
    for group in groups(model, rule["scope"]):
        weights = torch.cat([layer.weight.flatten() for layer in group])
        zeros = int((weights == 0).sum())
        target += zeros + round(amount * (len(weights) - zeros))
    assert pruned_count(apply_global_pruning(model, amount, **rule)) == target


@may_collapse
@every_rule
@given(model=networks(), both=st.tuples(fractions, fractions))
def test_higher_sparsity_keeps_a_subset(model, both, rule):
    sparser = pruned(model, sparsity=max(both), **rule)
    assert is_subset(sparser, pruned(model, sparsity=min(both), **rule))


@may_collapse
@every_rule
@given(model=networks(), first=fractions, second=fractions, data=st.data())
def test_what_is_pruned_stays_pruned(model, first, second, data, rule):
    apply_global_pruning(model, first, **rule)
    before = get_masks(model)
    for layer in model:
        layer.weight_orig.data *= data.draw(st.sampled_from([-4, 0.5, 8]))
    apply_global_pruning(model, second, seed=1, **rule)
    assert is_subset(get_masks(model), before)


@may_collapse
@pytest.mark.parametrize(
    "layers", [([[1.0, -1.0]], [[1.0], [1.0]]), ([[2.0, 2.0, -2.0]], [[1.0], [0.9]])]
)
def test_lamp_keeps_a_weight_in_every_layer_with_ties(layers):
    model = network(*layers)
    total = sum(layer.weight.numel() for layer in model)
    masks = pruned(model, sparsity=1 - 2 / total, criterion="lamp")
    assert all(mask.any() for mask in masks.values())


def test_lamp_score_of_zeros_is_zero():
    assert lamp_score(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2
    assert lamp_score(torch.tensor([0.0, 1e-9])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_amount_means_what_it_means_in_torch(calls):
    ours, theirs = random_network(), random_network()
    for _ in range(calls):
        apply_global_pruning(ours, amount=0.3)
        prune.global_unstructured(
            [(layer, "weight") for layer in theirs], prune.L1Unstructured, amount=0.3
        )
    assert same(get_masks(ours), get_masks(theirs))


def test_a_model_pruned_by_torch_is_pruned_further():
    model = random_network()
    for layer in model:
        prune.l1_unstructured(layer, "weight", amount=0.5)
        prune.random_unstructured(layer, "weight", amount=0.1)
    before = get_masks(model)
    apply_global_pruning(model, sparsity=0.8)
    assert is_subset(get_masks(model), before)
    make_pruning_permanent(model)
    assert sum(int((layer.weight == 0).sum()) for layer in model) == 960


@pytest.mark.parametrize("criterion", ["l1", "l2", "lamp"])
def test_hidden_weights_are_not_used(criterion):
    model = half_pruned()
    expected = pruned(model, sparsity=0.75, criterion=criterion)
    for layer in model:
        layer.weight_orig.data[layer.weight_mask == 0] = 1000.0
    assert same(pruned(model, sparsity=0.75, criterion=criterion), expected)


def after_loading() -> nn.Module:
    model = apply_global_pruning(random_network(1), amount=0)
    model.load_state_dict(half_pruned().state_dict())
    return model


def after_an_optimizer_step() -> nn.Module:
    model = half_pruned()
    train_a_step(model, 8, 20, lr=3.0)
    return model


@pytest.mark.parametrize("make", [after_loading, after_an_optimizer_step])
def test_a_stale_weight_is_not_used(make):
    model = make()
    fresh = network(*(layer.weight_orig.detach() * layer.weight_mask for layer in model))
    apply_global_pruning(model, sparsity=0.8)
    assert same(get_masks(model), pruned(fresh, sparsity=0.8))


def test_layer_collapse_is_named():
    model = network([[0.1, 0.2]], [[1.0], [2.0]])
    with pytest.warns(LayerCollapse, match="layer '0' is left with no weight at all") as caught:
        apply_global_pruning(model, sparsity=0.5)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_layer_collapse_is_reported_once():
    model = network([[0.1, 0.2]], [[1.0, 2.0, 3.0, 4.0]])
    with pytest.warns(LayerCollapse):
        apply_global_pruning(model, sparsity=1 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_global_pruning(model, sparsity=1 / 2)


def sharing() -> nn.Module:
    model = network(torch.ones(3, 3), torch.ones(3, 3))
    model[1].weight = model[0].weight
    return model


def nested() -> nn.Module:
    """A network inside a network, beside a layer whose name begins like the network's."""
    model = nn.Sequential()
    model.add_module("body", lenet300(seed=0))
    model.add_module("body2", nn.Linear(10, 10))
    return model


@pytest.mark.parametrize(
    ("make", "exclude", "left"),
    [
        (lambda: lenet300(seed=0), "fc3", {"fc1", "fc2"}),
        (lambda: lenet300(seed=0), ("fc1", "fc3"), {"fc2"}),
        (nested, "body", {"body2"}),
        (lambda: nn.Sequential(*sharing(), nn.Linear(3, 3)), ("0", "1"), {"2"}),
    ],
)
def test_excluded_layers_stay_and_do_not_count(make, exclude, left):
    model = make()
    sizes = {name: m.weight.numel() for name, m in prunable_layers(model).items() if name in left}
    assert set(pruned(model, sparsity=0.5, exclude=exclude)) == left
    assert apply_global_pruning(model, sparsity=0.5, exclude=exclude) is model
    assert pruned_count(model) == round(0.5 * sum(sizes.values()))


def test_normalization_and_biases_are_not_pruned():
    model = apply_global_pruning(small_convnet(width=4, seed=0), sparsity=0.5)
    masks = [name for name in model.state_dict() if name.endswith("_mask")]
    assert masks == [f"{name}.weight_mask" for name in ("conv1", "conv2", "conv3", "fc")]


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.fc = nn.Linear(8, 1)

    def forward(self, x):
        return self.fc(self.attention(x, x, x)[0])


def test_attention_is_left_alone_as_a_mask_would_not_be_applied():
    model = apply_global_pruning(Attention(), sparsity=0.5)
    assert set(get_masks(model)) == {"fc"}
    train_a_step(model, 4, 3, 8)
    assert torch.equal(model.fc.weight_mask.bool(), get_masks(model)["fc"])


def test_random_masks_depend_on_the_seed_alone():
    rule, model = {"sparsity": 0.5, "criterion": "random"}, random_network()
    with random_state_left_alone():
        first = pruned(model, seed=3, **rule)
    assert same(first, pruned(random_network(1), seed=3, **rule))
    assert not same(first, pruned(model, seed=4, **rule))
    assert not torch.equal(first["0"].flatten(), first["1"].flatten())


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types(dtype, criterion):
    model = random_network().to(dtype)
    apply_global_pruning(model, sparsity=0.7, criterion=criterion)
    assert pruned_count(model) == 840
    assert (model[0].weight.dtype, model[0].weight_orig.dtype) == (dtype, dtype)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 8, 3), (2, 3, 9)),
        (nn.Conv3d(2, 4, 3), (1, 2, 5, 5, 5)),
        (nn.ConvTranspose2d(3, 8, 3), (2, 3, 5, 5)),
    ],
)
def test_other_convolutions(layer, shape):
    model = apply_global_pruning(nn.Sequential(layer), sparsity=0.5)
    weight = model[0].weight
    assert (weight == 0).sum() == weight.numel() // 2
    output = model(torch.ones(shape))
    assert torch.equal(make_pruning_permanent(model)(torch.ones(shape)), output)
