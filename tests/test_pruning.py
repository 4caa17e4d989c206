"""Exactly the right weights go, they stay away, and a wrong call changes nothing."""

import copy
import io
import warnings
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from prunelab.filters import apply_filter_pruning, filter_norms, weight_penalty
from prunelab.masks import (
    effective_weight,
    get_masks,
    make_pruning_permanent,
    prunable_layers,
    set_mask,
)
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import LayerCollapse, apply_global_pruning, lamp_score, lowest
from tests.helpers import same

CRITERIA = ("l1", "l2", "lamp", "random")
FILTER_CRITERIA = ("l1", "l2", "random")
SCOPES = ("global", "layerwise")
every_rule = pytest.mark.parametrize(
    ("criterion", "scope"), [(criterion, scope) for criterion in CRITERIA for scope in SCOPES]
)
may_collapse = pytest.mark.filterwarnings("ignore::prunelab.pruning.LayerCollapse")
fractions = st.floats(0, 1, exclude_max=True)


def network(*weights) -> nn.Sequential:
    """Linear layers of the given weights; they need not fit one another."""
    layers = []
    for weight in weights:
        weight = torch.as_tensor(weight, dtype=torch.float32)
        layers.append(nn.Linear(weight.shape[1], weight.shape[0], bias=False))
        layers[-1].weight.data.copy_(weight)
    return nn.Sequential(*layers)


@st.composite
def networks(draw, values=None) -> nn.Sequential:
    """One to three small layers; integer weights by default, so that many of them tie."""
    values = st.sampled_from([-3, -2, -1, 1, 2, 3]) if values is None else values
    weights = []
    for _ in range(draw(st.integers(1, 3))):
        rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
        numbers = draw(st.lists(values, min_size=rows * columns, max_size=rows * columns))
        weights.append(torch.tensor(numbers, dtype=torch.float32).view(rows, columns))
    return network(*weights)


def random_network(seed: int = 0) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    return network(*(torch.randn(shape, generator=generator) for shape in ((30, 20), (20, 30))))


def pruned(model: nn.Module, **options) -> dict[str, torch.Tensor]:
    """The masks that pruning a copy of the model gives."""
    return get_masks(apply_global_pruning(copy.deepcopy(model), **options))


def flat(masks: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([mask.flatten() for mask in masks.values()])


def is_subset(smaller: dict, larger: dict) -> bool:
    return bool((flat(larger) | ~flat(smaller)).all())


def pruned_count(model: nn.Module) -> int:
    return int((~flat(get_masks(model))).sum())


def size(model: nn.Module) -> int:
    return sum(layer.weight.numel() for layer in prunable_layers(model).values())


@may_collapse
@given(networks(st.integers(-2, 2)), fractions)
def test_sparsity_is_exact_to_one_weight(model, sparsity):
    total = size(model)
    zeros = sum(int((layer.weight == 0).sum()) for layer in model)
    target = round(sparsity * total)
    if target < zeros:
        with pytest.raises(ValueError, match="never brings a weight back"):
            apply_global_pruning(model, sparsity=sparsity)
    else:
        assert pruned_count(apply_global_pruning(model, sparsity=sparsity)) == target


@may_collapse
@given(networks(st.integers(-2, 2)), fractions, st.sampled_from(CRITERIA))
def test_amount_is_exact_to_one_weight(model, amount, criterion):
    zeros = sum(int((layer.weight == 0).sum()) for layer in model)
    target = zeros + round(amount * (size(model) - zeros))
    apply_global_pruning(model, amount, criterion=criterion)
    assert pruned_count(model) == target


@may_collapse
@given(networks(), fractions, st.sampled_from(CRITERIA))
def test_layerwise_sparsity_is_exact_in_every_layer(model, sparsity, criterion):
    masks = pruned(model, sparsity=sparsity, scope="layerwise", criterion=criterion)
    for mask in masks.values():
        assert int((~mask).sum()) == round(sparsity * mask.numel())


@may_collapse
@every_rule
@given(model=networks(), both=st.tuples(fractions, fractions))
def test_higher_sparsity_keeps_a_subset(model, both, criterion, scope):
    rule = {"criterion": criterion, "scope": scope}
    sparser = pruned(model, sparsity=max(both), **rule)
    assert is_subset(sparser, pruned(model, sparsity=min(both), **rule))


@may_collapse
@every_rule
@given(model=networks(), first=fractions, second=fractions, data=st.data())
def test_what_is_pruned_stays_pruned(model, first, second, data, criterion, scope):
    rule = {"criterion": criterion, "scope": scope}
    apply_global_pruning(model, first, **rule)
    before = get_masks(model)
    for layer in model:
        layer.weight_orig.data *= data.draw(st.sampled_from([-4, 0.5, 8]))
    apply_global_pruning(model, second, seed=1, **rule)
    assert is_subset(get_masks(model), before)


@may_collapse
@given(networks(), fractions, st.sampled_from([0.125, 0.5, 4, 1024]))
def test_lamp_does_not_depend_on_the_scale_of_a_layer(model, sparsity, factor):
    before = pruned(model, sparsity=sparsity, criterion="lamp")
    model[0].weight.data *= factor
    assert same(pruned(model, sparsity=sparsity, criterion="lamp"), before)


@may_collapse
@given(networks(), fractions, st.sampled_from([0.125, 0.5, 4, 1024]))
def test_layerwise_does_not_depend_on_the_scale_of_a_layer(model, sparsity, factor):
    before = pruned(model, sparsity=sparsity, scope="layerwise")
    model[0].weight.data *= factor
    assert same(pruned(model, sparsity=sparsity, scope="layerwise"), before)


@may_collapse
@given(networks(), fractions, st.sampled_from([0.125, 0.5, 4, 1024]))
def test_global_ranking_within_a_layer_does_not_depend_on_its_scale(model, sparsity, factor):
    before = pruned(model, sparsity=sparsity)["0"]
    model[0].weight.data *= factor
    after = pruned(model, sparsity=sparsity)["0"]
    assert is_subset({"0": before}, {"0": after}) or is_subset({"0": after}, {"0": before})


@may_collapse
def test_global_l1_depends_on_the_scale_of_a_layer():
    model = random_network()
    model[0].weight.data *= 2**40
    assert pruned(model, sparsity=0.5)["0"].all()


@may_collapse
@given(networks(st.floats(-1, 1, width=32).filter(bool)), fractions, st.sampled_from(SCOPES))
def test_l1_and_l2_masks_are_identical(model, sparsity, scope):
    l1 = pruned(model, sparsity=sparsity, criterion="l1", scope=scope)
    assert same(l1, pruned(model, sparsity=sparsity, criterion="l2", scope=scope))


@st.composite
def layers_without_ties(draw):
    values = st.integers(1, 60)
    sizes = draw(st.lists(st.integers(1, 12), min_size=2, max_size=3))
    rows = [draw(st.lists(values, min_size=n, max_size=n, unique=True)) for n in sizes]
    model = network(*([row] for row in rows))
    return model, len(rows), sum(sizes)


@given(drawn=layers_without_ties(), data=st.data())
def test_lamp_keeps_a_weight_in_every_layer_without_ties(drawn, data):
    model, layers, total = drawn
    count = data.draw(st.integers(0, total - layers))
    masks = pruned(model, sparsity=count / total, criterion="lamp")
    assert all(mask.any() for mask in masks.values())


@may_collapse
@pytest.mark.parametrize(
    "layers", [([[1.0, -1.0]], [[1.0], [1.0]]), ([[2.0, 2.0, -2.0]], [[1.0], [0.9]])]
)
def test_lamp_keeps_a_weight_in_every_layer_with_ties(layers):
    model = network(*layers)
    masks = pruned(model, sparsity=1 - 2 / size(model), criterion="lamp")
    assert all(mask.any() for mask in masks.values())


def test_lamp_score_of_zeros_is_zero():
    assert lamp_score(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30), st.data())
def test_lowest_is_the_head_of_a_stable_sort(scores, data):
    count = data.draw(st.integers(0, len(scores)))
    expected = sorted(range(len(scores)), key=lambda i: (scores[i], i))[:count]
    mask = lowest(torch.tensor(scores, dtype=torch.float32), count)
    assert mask.nonzero().flatten().tolist() == sorted(expected)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_amount_means_what_it_means_in_torch(calls):
    ours, theirs = random_network(), random_network()
    for _ in range(calls):
        apply_global_pruning(ours, amount=0.3)
        prune.global_unstructured(
            [(layer, "weight") for layer in theirs], prune.L1Unstructured, amount=0.3
        )
    assert same(get_masks(ours), get_masks(theirs))
    assert pruned_count(ours) == round(1200 * (1 - 0.7**calls))


def test_a_model_pruned_by_torch_is_pruned_further():
    model = random_network()
    for layer in model:
        prune.l1_unstructured(layer, "weight", amount=0.5)
        prune.random_unstructured(layer, "weight", amount=0.1)
    before = get_masks(model)
    apply_global_pruning(model, sparsity=0.8)
    assert is_subset(get_masks(model), before)
    assert pruned_count(model) == 960
    make_pruning_permanent(model)
    assert sum(int((layer.weight == 0).sum()) for layer in model) == 960


@pytest.mark.parametrize("permanent_between", [False, True])
def test_trap_4_amounts_compound(permanent_between):
    model = lenet300(seed=0)
    for _ in range(5):
        apply_global_pruning(model, amount=0.1)
        if permanent_between:
            make_pruning_permanent(model)
    zeros = sum(int((effective_weight(m) == 0).sum()) for m in prunable_layers(model).values())
    assert abs(zeros - 0.40951 * 266_200) <= 1


def test_trap_4_cumulative_sparsities_do_not_compound():
    model = random_network()
    for sparsity in (0.1, 0.2, 0.3, 0.4, 0.5):
        apply_global_pruning(model, sparsity=sparsity)
    assert pruned_count(model) == 600


def test_trap_5_hidden_weights_are_not_used():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    expected = pruned(model, sparsity=0.75)
    for layer in model:
        layer.weight_orig.data[layer.weight_mask == 0] = 1000.0
    assert same(pruned(model, sparsity=0.75), expected)
    make_pruning_permanent(model)
    assert max(layer.weight.abs().max() for layer in model) < 1000


def test_trap_5_lamp_scores_are_free_of_hidden_weights():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    expected = pruned(model, sparsity=0.75, criterion="lamp")
    for layer in model:
        layer.weight_orig.data[layer.weight_mask == 0] = 1000.0
    assert same(pruned(model, sparsity=0.75, criterion="lamp"), expected)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    x = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    optimizer.zero_grad()
    model(x).square().mean().backward()
    optimizer.step()


def test_trap_6_permanent_before_training_loses_the_zeros():
    masked = apply_global_pruning(random_network(), sparsity=0.5)
    permanent = make_pruning_permanent(copy.deepcopy(masked))
    for model in (masked, permanent):
        step(model, torch.optim.SGD(model.parameters(), lr=0.1))
    zeros = [
        sum(int((effective_weight(layer) == 0).sum()) for layer in model)
        for model in (masked, permanent)
    ]
    assert zeros[0] == 600
    assert zeros[1] < 60


def test_trap_7_freshly_pruned_model_can_be_copied():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    assert same(copy.deepcopy(model).state_dict(), model.state_dict())


def test_trap_7_copy_is_masked_by_itself():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    before = get_masks(model)
    apply_global_pruning(copy.deepcopy(model), sparsity=0.9)
    assert same(get_masks(model), before)


def saved_and_loaded(model: nn.Module) -> dict[str, torch.Tensor]:
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_trap_7_masked_state_can_be_saved_and_loaded():
    model = apply_global_pruning(random_network(0), sparsity=0.5)
    other = apply_global_pruning(random_network(1), amount=0)
    other.load_state_dict(saved_and_loaded(model))
    assert same(get_masks(other), get_masks(model))
    x = torch.ones(1, 20)
    assert torch.equal(other(x), model(x))


def test_trap_8_stale_weight_is_not_used_after_loading():
    model = apply_global_pruning(random_network(0), sparsity=0.5)
    other = apply_global_pruning(random_network(1), amount=0)
    other.load_state_dict(saved_and_loaded(model))
    assert same(pruned(other, sparsity=0.8), pruned(model, sparsity=0.8))


def test_trap_8_stale_weight_is_not_used_after_an_optimizer_step():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    step(model, torch.optim.SGD(model.parameters(), lr=3.0))
    fresh = network(*(layer.weight_orig.detach() * layer.weight_mask for layer in model))
    apply_global_pruning(model, sparsity=0.8)
    assert same(get_masks(model), pruned(fresh, sparsity=0.8))


def test_weight_is_up_to_date_right_after_pruning():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    for layer in apply_global_pruning(model, sparsity=0.8):
        assert torch.equal(layer.weight, layer.weight_orig * layer.weight_mask)


def test_trap_13_layer_collapse_is_named():
    model = network([[0.1, 0.2]], [[1.0], [2.0]])
    with pytest.warns(LayerCollapse, match="layer '0' is left with no weight at all") as caught:
        apply_global_pruning(model, sparsity=0.5)
    assert len(caught) == 1
    assert pruned_count(model) == 2


def test_layer_collapse_is_reported_once():
    model = network([[0.1, 0.2]], [[1.0, 2.0, 3.0, 4.0]])
    with pytest.warns(LayerCollapse):
        apply_global_pruning(model, sparsity=1 / 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        apply_global_pruning(model, sparsity=1 / 2)
    assert get_masks(model)["1"].sum() == 3


def test_pruning_again_replaces_the_mask_without_another_hook():
    model = random_network()
    for sparsity in (0.3, 0.6, 0.9):
        apply_global_pruning(model, sparsity=sparsity)
    assert [len(layer._forward_pre_hooks) for layer in model] == [1, 1]


def test_torch_agrees_that_the_model_is_pruned():
    model = random_network()
    assert not prune.is_pruned(model)
    apply_global_pruning(model, sparsity=0.5)
    assert prune.is_pruned(model)
    make_pruning_permanent(model)
    assert not prune.is_pruned(model)


def test_pruning_returns_the_same_model():
    model = random_network()
    assert apply_global_pruning(model, amount=0.1) is model
    assert make_pruning_permanent(model) is model


def test_permanent_model_computes_the_same():
    model = apply_global_pruning(small_convnet(width=4, seed=0).eval(), sparsity=0.5)
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    before = model(x)
    assert torch.equal(make_pruning_permanent(model)(x), before)


def test_permanent_model_has_the_parameters_it_had():
    model, dense = apply_global_pruning(lenet300(seed=0), sparsity=0.5), lenet300(seed=0)
    make_pruning_permanent(model)
    assert set(model.state_dict()) == set(dense.state_dict())
    model.load_state_dict(dense.state_dict())


def test_permanent_model_uses_the_weights_of_now():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    for layer in model:
        layer.weight_orig.data.fill_(3.0)
    make_pruning_permanent(model)
    assert model[0].weight.unique().tolist() == [0.0, 3.0]


def test_permanent_model_has_no_negative_zeros():
    model = make_pruning_permanent(apply_global_pruning(random_network(), sparsity=0.5))
    for layer in model:
        zeros = layer.weight[layer.weight == 0]
        assert len(zeros) > 0
        assert not torch.signbit(zeros).any()


def test_permanence_is_idempotent():
    model = make_pruning_permanent(apply_global_pruning(random_network(), sparsity=0.5))
    before = copy.deepcopy(model.state_dict())
    assert same(make_pruning_permanent(model).state_dict(), before)


def test_permanence_covers_bias_masks_of_torch():
    layer = nn.Linear(4, 4)
    prune.random_unstructured(layer, "bias", amount=2)
    make_pruning_permanent(layer)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert (layer.bias == 0).sum() == 2


def test_optimizer_made_before_pruning_goes_on():
    model = random_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    apply_global_pruning(model, sparsity=0.5)
    before = [effective_weight(layer) for layer in model]
    step(model, optimizer)
    for layer, old in zip(model, before, strict=True):
        assert not torch.equal(effective_weight(layer)[layer.weight_mask == 1], old[old != 0])


def broken(value: float) -> nn.Module:
    model = random_network()
    model[1].weight.data[3, 4] = value
    return model


def sharing() -> nn.Module:
    model = network(torch.ones(3, 3), torch.ones(3, 3))
    model[1].weight = model[0].weight
    return model


def half_pruned() -> nn.Module:
    return apply_global_pruning(random_network(), sparsity=0.5)


@contextmanager
def left_as_it_was(model: nn.Module):
    before = copy.deepcopy(model.state_dict())
    hooks = [list(module._forward_pre_hooks.values()) for module in model.modules()]
    yield
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name in before:
        torch.testing.assert_close(after[name], before[name], rtol=0, atol=0, equal_nan=True)
    assert [list(module._forward_pre_hooks.values()) for module in model.modules()] == hooks


HALF = {"sparsity": 0.5}


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: broken(float("nan")), HALF, "layer '1' has a weight that is NaN or infinite"),
        (lambda: broken(float("inf")), HALF, "layer '1' has a weight that is NaN or infinite"),
        (lambda: nn.Sequential(nn.BatchNorm1d(3)), HALF, "model has no layer to prune"),
        (random_network, HALF | {"exclude": ("0", "1")}, "model has no layer to prune"),
        (random_network, {"amount": -0.1}, "amount=-0.1 must be a fraction"),
        (random_network, {"amount": 1.0}, "amount=1.0 must be a fraction"),
        (random_network, {"amount": 50}, "amount=50 must be a fraction.*write 0.5 for 50 %"),
        (random_network, {"amount": 1}, "amount=1 must be a fraction"),
        (random_network, {"amount": float("nan")}, "amount=nan must be a fraction"),
        (random_network, {"sparsity": 1.5}, "sparsity=1.5 must be a fraction"),
        (random_network, {"amount": 0.1, "sparsity": 0.1}, "give one of amount and sparsity"),
        (random_network, {}, "give one of amount and sparsity, not amount=None"),
        (random_network, HALF | {"criterion": "l3"}, 'criterion=\'l3\'.*"l1", "l2", "lamp"'),
        (random_network, HALF | {"scope": "all"}, 'scope=\'all\'.*"global" or "layerwise"'),
        (random_network, HALF | {"exclude": "fc9"}, "exclude='fc9' is no layer.*0, 1"),
        (half_pruned, {"sparsity": 0.4}, "sparsity=0.4 is less than the 0.5000 there is already"),
        (
            half_pruned,
            {"sparsity": 0.4, "scope": "layerwise"},
            "never brings a weight back",
        ),
        (half_pruned, {"amount": 2}, "amount=2 must be a fraction"),
        (sharing, HALF, "layer '0' shares its weight with another; exclude both"),
    ],
)
def test_error_names_what_is_wrong_and_changes_nothing(make, options, message):
    model = make()
    with left_as_it_was(model), pytest.raises(ValueError, match=message):
        apply_global_pruning(model, **options)


def test_exclude_takes_a_plain_string():
    masks = pruned(lenet300(seed=0), sparsity=0.5, exclude="fc3")
    assert set(masks) == {"fc1", "fc2"}


def test_exclude_of_a_parent_covers_the_layers_inside():
    model = nn.Sequential()
    model.add_module("body", lenet300(seed=0))
    model.add_module("body2", nn.Linear(10, 10))
    assert set(pruned(model, sparsity=0.5, exclude="body")) == {"body2"}


def test_exclude_of_shared_layers_prunes_the_rest():
    model = nn.Sequential(*sharing(), nn.Linear(3, 3))
    assert set(pruned(model, sparsity=0.5, exclude=("0", "1"))) == {"2"}


def test_excluded_layers_do_not_count():
    masks = pruned(lenet300(seed=0), sparsity=0.5, exclude="fc1")
    assert (~flat(masks)).sum() == round(0.5 * (30_000 + 1_000))


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


def test_attention_trains_after_pruning():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, x = Attention(), torch.randn(4, 3, 8)
    apply_global_pruning(model, sparsity=0.5)
    assert set(get_masks(model)) == {"fc"}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        loss = model(x).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]


def test_random_criterion_is_reproducible():
    rule = {"sparsity": 0.5, "criterion": "random"}
    assert same(pruned(random_network(), seed=3, **rule), pruned(random_network(), seed=3, **rule))
    assert not same(
        pruned(random_network(), seed=3, **rule), pruned(random_network(), seed=4, **rule)
    )


def test_random_criterion_leaves_the_global_random_state_alone():
    model = random_network()
    before = torch.get_rng_state()
    apply_global_pruning(model, sparsity=0.5, criterion="random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_random_criterion_does_not_look_at_the_weights():
    rule = {"sparsity": 0.5, "criterion": "random"}
    assert same(pruned(random_network(0), **rule), pruned(random_network(1), **rule))


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_types(dtype, criterion):
    model = random_network().to(dtype)
    apply_global_pruning(model, sparsity=0.7, criterion=criterion)
    assert pruned_count(model) == 840
    assert model[0].weight.dtype == dtype
    assert model[0].weight_orig.dtype == dtype


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


def test_masks_are_boolean_and_named_by_layer():
    masks = pruned(lenet300(seed=0), sparsity=0.5)
    assert set(masks) == {"fc1", "fc2", "fc3"}
    assert {mask.dtype for mask in masks.values()} == {torch.bool}


def test_a_dense_model_has_no_masks():
    assert get_masks(lenet300()) == {}


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


def filter_masks(model: nn.Module, ratio: float, **options) -> dict[str, torch.Tensor]:
    """The masks that filter pruning of a copy of the model gives."""
    return get_masks(apply_filter_pruning(copy.deepcopy(model), ratio, **options))


def kept_filters(masks: dict[str, torch.Tensor]) -> dict[str, list[bool]]:
    return {name: mask.flatten(1).any(dim=1).tolist() for name, mask in masks.items()}


def test_filter_norms_can_disagree():
    filters = torch.tensor([[3.0, 0.0], [-2.0, 2.0]])
    assert filter_norms(filters).tolist() == filter_norms(filters, "l1").tolist() == [3, 4]
    assert filter_norms(filters, "l2").tolist() == pytest.approx([3, 8**0.5])


def test_filter_norms_do_not_overflow_in_half_precision():
    filters = torch.full((2, 1000), 300.0, dtype=torch.float16)
    assert filter_norms(filters, "l1").tolist() == [300_000] * 2
    assert filter_norms(filters, "l2").tolist() == pytest.approx([300 * 1000**0.5] * 2)


def test_filter_norms_are_free_of_gradient_history():
    assert not filter_norms(nn.Conv2d(2, 3, 3).weight).requires_grad


def test_filter_norms_know_two_criteria():
    with pytest.raises(ValueError, match='criterion=\'random\' is unknown; choose "l1" or "l2"'):
        filter_norms(torch.ones(2, 2), "random")


@pytest.mark.parametrize("criterion", FILTER_CRITERIA)
@given(model=convolution_networks(), ratio=fractions)
def test_every_layer_loses_exactly_its_share_of_filters(model, ratio, criterion):
    targets = {name: round(ratio * len(layer.weight)) for name, layer in model.named_children()}
    zero = {name: layer.weight.flatten(1).eq(0).all(1) for name, layer in model.named_children()}
    if all(zero[name].sum() <= target < len(zero[name]) for name, target in targets.items()):
        kept = kept_filters(filter_masks(model, ratio, criterion=criterion))
        assert {name: flags.count(False) for name, flags in kept.items()} == targets
    else:
        with left_as_it_was(model), pytest.raises(ValueError, match="at least one must stay"):
            apply_filter_pruning(model, ratio, criterion=criterion)


@pytest.mark.parametrize(("criterion", "kept"), [("l1", [False, True]), ("l2", [True, False])])
def test_filters_of_the_lowest_norm_go(criterion, kept):
    model = convolutions([[3, 0], [-2, 2]])
    assert kept_filters(filter_masks(model, 0.5, criterion=criterion)) == {"0": kept}


def test_filters_are_ranked_by_l1_unless_told_otherwise():
    assert kept_filters(filter_masks(convolutions([[3, 0], [-2, 2]]), 0.5)) == {"0": [False, True]}


def test_filters_are_ranked_within_their_layer():
    masks = filter_masks(convolutions([[1], [2]], [[30], [40]]), 0.5)
    assert kept_filters(masks) == {"0": [False, True], "1": [False, True]}


def test_among_equal_filters_the_first_go():
    masks = filter_masks(convolutions([[1, 2], [-2, 1], [0.5, 0], [2, -1]]), 0.5)
    assert kept_filters(masks) == {"0": [False, True, False, True]}


@pytest.mark.parametrize("criterion", FILTER_CRITERIA)
def test_filters_are_masked_whole(criterion):
    for mask in filter_masks(convnet(), 0.4, criterion=criterion).values():
        share = mask.flatten(1).double().mean(dim=1)
        assert set(share.tolist()) == {0, 1}


def test_filter_pruning_masks_convolutions_alone():
    model = convnet()
    assert apply_filter_pruning(model, 0.5) is model
    masks = [name for name in model.state_dict() if name.endswith("_mask")]
    assert masks == [f"{name}.weight_mask" for name in ("conv1", "conv2", "conv3")]
    dense = convnet().state_dict()
    for name, tensor in model.state_dict().items():
        if not name.endswith("_mask"):
            assert torch.equal(tensor, dense[name.removesuffix("_orig")])


def test_a_masked_filter_keeps_its_bias():
    layer = nn.Conv2d(1, 4, 3)
    before = layer.bias.clone()
    apply_filter_pruning(nn.Sequential(layer), 0.5)
    assert torch.equal(layer.bias, before)


@pytest.mark.parametrize("exclude", ["conv2", ("conv2",)])
def test_filters_of_excluded_layers_stay(exclude):
    assert set(filter_masks(convnet(), 0.5, exclude=exclude)) == {"conv1", "conv3"}


def test_a_layer_too_small_for_the_ratio_can_be_excluded():
    masks = filter_masks(convolutions([[1], [2], [3]], [[3]]), 0.6, exclude="1")
    assert kept_filters(masks) == {"0": [False, False, True]}


def test_weights_masked_before_stay_masked():
    model = apply_global_pruning(convnet(), sparsity=0.5)
    before = get_masks(model)
    apply_filter_pruning(model, 0.5)
    after = get_masks(model)
    assert is_subset(after, before)
    for name in ("conv1", "conv2", "conv3"):
        kept = after[name].flatten(1).any(dim=1)
        assert torch.equal(after[name][kept], before[name][kept])
    assert torch.equal(after["fc"], before["fc"])


def test_zeros_without_a_mask_are_masked():
    masks = filter_masks(convolutions([[1, 1], [0, 3]]), 0.5)
    assert masks["0"].flatten(1).tolist() == [[False, False], [False, True]]


@pytest.mark.parametrize("criterion", FILTER_CRITERIA)
def test_masked_filters_count_first(criterion):
    model = apply_filter_pruning(convnet(), 0.25, criterion=criterion)
    before = get_masks(model)
    for name in before:
        layer = model.get_submodule(name)
        layer.weight_orig.data[~before[name]] = 1000.0
    apply_filter_pruning(model, 0.5, criterion=criterion, seed=1)
    assert is_subset(get_masks(model), before)
    for flags in kept_filters(get_masks(model)).values():
        assert flags.count(False) == len(flags) / 2


@pytest.mark.parametrize("criterion", FILTER_CRITERIA)
def test_permanently_pruned_filters_count_first(criterion):
    model = apply_filter_pruning(convnet(), 0.25, criterion=criterion)
    before = get_masks(model)
    apply_filter_pruning(make_pruning_permanent(model), 0.5, criterion=criterion, seed=1)
    assert is_subset(get_masks(model), before)


def test_a_filter_with_one_weight_left_is_not_masked_yet():
    model = convolutions([[1, 0, 0], [5, 5, 5], [7, 7, 7], [9, 9, 9]])
    mask = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 1, 1]])
    set_mask(model[0], mask.view(4, 1, 1, 3))
    kept = kept_filters(filter_masks(model, 0.25))
    assert kept == {"0": [True, False, True, True]}


def test_ratios_do_not_compound():
    model = convnet()
    for ratio in (0.25, 0.5, 0.5, 0.75):
        apply_filter_pruning(model, ratio)
    for flags in kept_filters(get_masks(model)).values():
        assert flags.count(False) == 0.75 * len(flags)


def test_filter_norms_are_free_of_hidden_weights():
    model = convolutions([[3, 3], [2, 1000]])
    set_mask(model[0], torch.tensor([[1, 1], [1, 0]]).view(2, 1, 1, 2))
    assert kept_filters(filter_masks(model, 0.5)) == {"0": [True, False]}


def test_random_filters_are_reproducible():
    first, again, other = (
        filter_masks(convnet(), 0.5, criterion="random", seed=seed) for seed in (3, 3, 4)
    )
    assert same(first, again)
    assert not same(first, other)


def test_random_filters_differ_from_layer_to_layer():
    model = convolutions([[1]] * 20, [[1]] * 20)
    kept = kept_filters(filter_masks(model, 0.5, criterion="random"))
    assert kept["0"] != kept["1"]


def test_random_filters_do_not_depend_on_the_weights():
    rising, falling = ([[10.0**i] for i in order] for order in (range(9), range(9, 0, -1)))
    rule = {"ratio": 0.5, "criterion": "random"}
    masks = filter_masks(convolutions(rising), **rule)
    assert same(masks, filter_masks(convolutions(falling), **rule))


def test_random_filters_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    filter_masks(convnet(), 0.5, criterion="random", seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def train_a_step(model: nn.Module) -> None:
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()(x).square().mean().backward()
    optimizer.step()


def test_masked_filters_stay_away_in_training():
    model = apply_filter_pruning(convnet(), 0.5)
    masks, before = get_masks(model), copy.deepcopy(model.state_dict())
    train_a_step(model)
    for name, mask in masks.items():
        weight = effective_weight(model.get_submodule(name))
        assert torch.equal(weight != 0, mask)
        assert not torch.equal(weight[mask], before[f"{name}.weight_orig"][mask])


def test_training_a_copy_leaves_the_model_with_masked_filters_alone():
    model = apply_filter_pruning(convnet(), 0.5)
    with left_as_it_was(model):
        train_a_step(copy.deepcopy(model))


def test_model_in_a_graph_can_be_copied_after_filter_pruning():
    model = apply_filter_pruning(convnet(), 0.25)
    train_a_step(model)
    copy.deepcopy(apply_filter_pruning(model, 0.5))


def test_filter_norms_are_those_of_now():
    model = convolutions([[3], [2]])
    set_mask(model[0], torch.ones(2, 1, 1, 1))
    model[0].weight_orig.data[1] = 4.0
    assert kept_filters(filter_masks(model, 0.5)) == {"0": [False, True]}


def test_weight_is_up_to_date_right_after_filter_pruning():
    model = apply_filter_pruning(apply_filter_pruning(convnet(), 0.25), 0.5)
    for name, mask in get_masks(model).items():
        layer = model.get_submodule(name)
        assert torch.equal(layer.weight, layer.weight_orig * mask)


@pytest.mark.parametrize(
    ("layer", "filters"),
    [(nn.Conv1d(3, 8, 3), 8), (nn.Conv3d(2, 4, 3), 4), (nn.Conv2d(6, 6, 3), 6)],
)
def test_filters_of_other_convolutions(layer, filters):
    masks = filter_masks(nn.Sequential(layer), 0.5)
    assert kept_filters(masks)["0"].count(False) == filters / 2


def broken_convnet(value: float) -> nn.Module:
    model = convnet()
    model.conv3.weight.data[3, 2, 1, 0] = value
    return model


def sharing_convolutions() -> nn.Module:
    model = convolutions([[1], [2]], [[1], [2]])
    model[1].weight = model[0].weight
    return model


CONVOLUTIONS = ("conv1", "conv2", "conv3")


@pytest.mark.parametrize(
    ("make", "ratio", "options", "message"),
    [
        (convnet, 1.0, {}, "ratio=1.0 must be a fraction"),
        (convnet, 1, {}, "ratio=1 must be a fraction"),
        (convnet, 50, {}, "ratio=50 must be a fraction.*write 0.5 for 50 %"),
        (convnet, -0.1, {}, "ratio=-0.1 must be a fraction"),
        (convnet, float("nan"), {}, "ratio=nan must be a fraction"),
        (convnet, 0.5, {"criterion": "lamp"}, "criterion='lamp' is unknown"),
        (convnet, 0.5, {"criterion": None}, "criterion=None is unknown"),
        (convnet, 0.5, {"exclude": "conv9"}, "exclude='conv9' is no layer"),
        (convnet, 0.5, {"exclude": CONVOLUTIONS}, "model has no layer to prune"),
        (lambda: lenet300(seed=0), 0.5, {}, "model has no layer to prune"),
        (lambda: broken_convnet(float("nan")), 0.5, {}, "layer 'conv3' has a weight that is NaN"),
        (lambda: broken_convnet(float("inf")), 0.5, {}, "layer 'conv3' has a weight that is NaN"),
        (sharing_convolutions, 0.5, {}, "layer '0' shares its weight with another"),
        (
            lambda: convolutions([[1], [2], [3]], [[1]]),
            0.6,
            {},
            "ratio=0.6 would mask 1 of the 1 filters of layer '1', of which 0 are masked already",
        ),
        (convnet, 0.99, {}, "would mask 4 of the 4 filters of layer 'conv1'"),
        (
            lambda: apply_filter_pruning(convnet(), 0.5),
            0.25,
            {},
            "would mask 1 of the 4 filters of layer 'conv1', of which 2 are masked already",
        ),
    ],
)
def test_filter_pruning_says_what_is_wrong_and_changes_nothing(make, ratio, options, message):
    model = make()
    with left_as_it_was(model), pytest.raises(ValueError, match=message):
        apply_filter_pruning(model, ratio, **options)


@pytest.mark.parametrize("ratio", [None, "0.5"])
def test_a_ratio_that_is_no_number_changes_nothing(ratio):
    model = convnet()
    with left_as_it_was(model), pytest.raises((TypeError, ValueError)):
        apply_filter_pruning(model, ratio)


def gradients(model: nn.Module, criterion: str) -> dict[str, torch.Tensor]:
    model.zero_grad()
    weight_penalty(model, criterion).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_gradient_of_the_l1_penalty_is_the_sign():
    model = convnet()
    for name, gradient in gradients(model, "l1").items():
        assert torch.equal(gradient, model.get_parameter(name).sign())


def test_gradient_of_the_l2_penalty_is_the_weight():
    model = convnet()
    for name, gradient in gradients(model, "l2").items():
        assert torch.equal(gradient, model.get_parameter(name))


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_penalty_is_on_weights_of_convolution_and_linear_layers_alone(criterion):
    layers = (*CONVOLUTIONS, "fc")
    assert set(gradients(convnet(), criterion)) == {f"{name}.weight" for name in layers}


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_penalty_has_no_gradient_at_masked_weights(criterion):
    model = apply_global_pruning(convnet(), sparsity=0.5)
    masks, found = get_masks(model), gradients(model, criterion)
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight_orig
        expected = weight.sign() if criterion == "l1" else weight
        assert torch.equal(found[f"{name}.weight_orig"], expected * mask)


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_penalty_counts_hidden_weights_as_zero(criterion):
    model = apply_global_pruning(random_network(), sparsity=0.5)
    for layer in model:
        layer.weight_orig.data[layer.weight_mask == 0] = 1000.0
    found = weight_penalty(model, criterion)
    torch.testing.assert_close(found, weight_penalty(make_pruning_permanent(model), criterion))


def test_penalty_is_up_to_date_after_an_optimizer_step():
    model = apply_global_pruning(random_network(), sparsity=0.5)
    before = weight_penalty(model, "l1").item()
    for layer in model:
        layer.weight_orig.data *= 2
    assert weight_penalty(model, "l1").item() == pytest.approx(2 * before)


def test_penalties_by_hand():
    model = network([[1, -2]], [[3], [0]])
    assert weight_penalty(model, "l1").item() == 6
    assert weight_penalty(model, "l2").item() == 7


def test_l1_penalty_moves_every_weight_by_the_same_step_and_l2_by_its_share():
    for criterion, after in (("l1", [[0.9, -1.9]]), ("l2", [[0.9, -1.8]])):
        model = network([[1, -2]])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        weight_penalty(model, criterion).backward()
        optimizer.step()
        torch.testing.assert_close(model[0].weight.detach(), torch.tensor(after))


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_penalty_can_be_added_to_a_loss(criterion):
    model = apply_global_pruning(random_network(), sparsity=0.5)
    loss = model(torch.ones(2, 20)).square().mean()
    total = loss + 0.1 * weight_penalty(model, criterion)
    assert total.shape == ()
    total.backward()
    assert all(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_penalty_leaves_the_model_as_it_was_and_copyable(criterion):
    model = apply_global_pruning(convnet(), sparsity=0.5)
    with left_as_it_was(model):
        weight_penalty(model, criterion).backward()
        copy.deepcopy(model)


@pytest.mark.parametrize("criterion", ["lamp", "random", "L1", None])
def test_penalty_names_an_unknown_criterion(criterion):
    with pytest.raises(ValueError, match=r'criterion=.* is unknown; choose "l1" or "l2"'):
        weight_penalty(convnet(), criterion)
