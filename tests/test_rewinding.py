"""Rewinding brings everything back but the masks, and a wrong state changes nothing."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from prunelab.data import Split
from prunelab.masks import effective_weight, get_masks, make_pruning_permanent, prunable_layers
from prunelab.models import lenet300, pretrained, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, reinitialize, snapshot, weight_rewinding
from prunelab.sparsity import total_sparsity
from prunelab.training import fit
from tests.helpers import same


def build(seed: int = 0) -> nn.Module:
    return small_convnet(width=4, seed=seed)


def train(model: nn.Module, data, **options) -> nn.Module:
    fit(model, data, **{"steps": 3, "progress": False, "device": "cpu"} | options)
    return model


def under_masks(state: dict, masks: dict) -> dict:
    return {name: t * masks.get(name.removesuffix(".weight"), 1) for name, t in state.items()}


def kept_state(model: nn.Module) -> dict:
    return under_masks(snapshot(model), get_masks(model))


@pytest.fixture
def pruned(data):
    """A trained and pruned network, and its snapshot at initialization."""
    model = build()
    initial = snapshot(model)
    apply_global_pruning(train(model, data), sparsity=0.8)
    return train(model, data), initial


def test_snapshot_is_not_touched_by_training(data):
    model = build()
    initial = snapshot(model)
    train(model, data)
    assert same(initial, build().state_dict())


def test_snapshot_has_the_names_of_the_network_without_masks(pruned):
    assert snapshot(pruned[0]).keys() == build().state_dict().keys()


def test_snapshot_keeps_other_names_that_end_like_masks():
    model = nn.Linear(2, 2)
    model.register_buffer("attention_mask", torch.ones(2))
    model.scale_orig = nn.Parameter(torch.ones(1))
    assert snapshot(model).keys() == {"weight", "bias", "attention_mask", "scale_orig"}
    assert snapshot(apply_global_pruning(model, 0.5)).keys() == snapshot(model).keys()


def test_trap_2_state_dict_without_clone_follows_the_training(data):
    model = lenet300(seed=0)
    initial = model.state_dict()
    train(model, data)
    assert same(initial, model.state_dict())
    assert not same(initial, lenet300(seed=0).state_dict())


def test_trap_2_rewinding_refuses_a_state_that_follows_the_training(data):
    model = lenet300(seed=0)
    initial = model.state_dict()
    apply_global_pruning(train(model, data), sparsity=0.5)
    with pytest.raises(ValueError, match=r"shares its memory .* snapshot\(model\)"):
        weight_rewinding(model, initial)


def test_rewinding_restores_the_initialization_under_the_masks(pruned):
    model, initial = pruned
    masks = get_masks(model)
    assert weight_rewinding(model, initial) is model
    assert same(get_masks(model), masks)
    assert same(kept_state(model), under_masks(build().state_dict(), masks))


def test_rewinding_restores_batchnorm_statistics(pruned):
    model, initial = pruned
    assert model.bn2.num_batches_tracked == 6
    weight_rewinding(model, initial)
    assert model.bn2.num_batches_tracked == 0
    assert (model.bn2.running_mean == 0).all()


def test_rewinding_goes_to_any_iteration(data):
    model = train(build(), data, steps=5)
    early = snapshot(model)
    apply_global_pruning(train(model, data), sparsity=0.8)
    weight_rewinding(model, early)
    expected = train(build(), data, steps=5).state_dict()
    assert same(kept_state(model), under_masks(expected, get_masks(model)))


def test_rewinding_to_a_snapshot_taken_after_pruning(pruned, data):
    model, _ = pruned
    before = snapshot(model)
    train(model, data)
    assert not same(snapshot(model), before)
    assert same(snapshot(weight_rewinding(model, before)), before)


def test_a_dense_model_is_rewound_too(data):
    model = build()
    initial = snapshot(model)
    weight_rewinding(train(model, data), initial)
    assert same(model.state_dict(), build().state_dict())


def test_rewinding_takes_a_plain_cloned_state_dict(pruned):
    model, initial = pruned
    plain = {name: tensor.clone() for name, tensor in build().state_dict().items()}
    expected = snapshot(weight_rewinding(copy.deepcopy(model), initial))
    assert same(snapshot(weight_rewinding(model, plain)), expected)


def test_rewinding_takes_the_cloned_state_dict_of_a_masked_model(pruned, data):
    model, _ = pruned
    masked = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert same(weight_rewinding(train(model, data), masked).state_dict(), masked)


def guide(model: nn.Module, initial: dict, masks: dict, guarded: bool) -> None:
    """The guide's loop; guarded, it skips the parameters it does not find."""
    for name, parameter in model.named_parameters():
        if not guarded or name in masks:
            parameter.data = initial[name] * masks[name]


def weight_masks(model: nn.Module) -> dict:
    return {f"{name}.weight": mask for name, mask in get_masks(model).items()}


def test_trap_1_loop_of_the_guide_fails_on_masked_weights(pruned):
    model, initial = pruned
    with pytest.raises(KeyError, match=r"conv1\.weight_orig"):
        guide(model, initial, weight_masks(model), guarded=False)


def test_trap_1_loop_of_the_guide_fails_on_biases():
    model = lenet300(seed=0)
    initial = snapshot(model)
    apply_global_pruning(model, sparsity=0.5)
    with pytest.raises(KeyError, match=r"fc1\.bias"):
        guide(model, initial, weight_masks(model), guarded=False)


def test_trap_1_guarded_loop_of_the_guide_rewinds_nothing(pruned):
    model, initial = pruned
    before = snapshot(model)
    guide(model, initial, weight_masks(model), guarded=True)
    assert same(snapshot(model), before)


def test_trap_1_load_state_dict_raises_after_loading_half(pruned):
    model, initial = pruned
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(initial)
    assert torch.equal(model.bn1.running_mean, initial["bn1.running_mean"])
    assert torch.equal(model.conv1.weight_orig, before["conv1.weight"])


def test_trap_1_writing_the_weight_is_undone_by_the_next_forward(pruned, data):
    model, initial = pruned
    trained = model.conv1.weight.clone()
    model.conv1.weight = initial["conv1.weight"] * model.conv1.weight_mask
    assert not torch.equal(model.conv1.weight, trained)
    model(data.valid.x[:1])
    assert torch.equal(model.conv1.weight, trained)


def test_trap_1_momentum_of_an_old_optimizer_survives_rewinding():
    model = nn.Linear(2, 1)
    initial = snapshot(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    weight_rewinding(model, initial)
    model.weight.grad.zero_()
    optimizer.step()
    assert not torch.equal(model.weight, initial["weight"])


def test_rewinding_keeps_parameters_mode_and_snapshot(pruned):
    model, initial = pruned
    parameters, before = list(model.parameters()), copy.deepcopy(initial)
    model.train()
    model.bn1.eval()
    weight_rewinding(model, initial)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert model.training
    assert not model.bn1.training
    assert same(initial, before)


def test_rewound_model_does_not_share_memory_with_the_snapshot(pruned, data):
    model, initial = pruned
    before = copy.deepcopy(initial)
    train(weight_rewinding(model, initial), data)
    assert same(initial, before)


@pytest.mark.parametrize("with_masks", [False, True])
def test_weight_is_up_to_date_before_the_next_forward(pruned, data, with_masks):
    model, initial = pruned
    model.train()(data.train.x[:2])  # leaves the weights in a graph
    weight_rewinding(model, initial, {"fc": get_masks(model)["fc"]} if with_masks else None)
    for name, layer in prunable_layers(model).items():
        assert torch.equal(layer.weight, initial[f"{name}.weight"] * layer.weight_mask)
    copied = copy.deepcopy(model)
    assert same(copied.state_dict(), model.state_dict())


def test_bias_masks_of_torch_are_kept():
    model = nn.Linear(3, 4)
    initial = snapshot(model)
    prune.l1_unstructured(model, "bias", amount=2)
    model.bias_orig.data += 1
    weight_rewinding(model, initial)
    assert torch.equal(model.bias, initial["bias"] * model.bias_mask)
    assert int((model.bias_mask == 0).sum()) == 2


def test_masks_given_are_applied_to_a_dense_model(pruned):
    model, initial = pruned
    masks, dense = get_masks(model), build(seed=1)
    weight_rewinding(dense, initial, masks)
    assert same(get_masks(dense), masks)
    assert same(kept_state(dense), under_masks(initial, masks))


def test_masks_given_take_the_place_of_the_old_ones(pruned):
    model, initial = pruned
    masks = {"fc.weight": ~get_masks(model)["fc"]}
    others = {name: mask for name, mask in get_masks(model).items() if name != "fc"}
    weight_rewinding(model, initial, masks)
    assert same(get_masks(model), others | {"fc": masks["fc.weight"]})
    assert torch.equal(model.fc.weight, initial["fc.weight"] * masks["fc.weight"])


def test_permanent_zeros_are_not_revived_unasked(pruned):
    model, initial = pruned
    make_pruning_permanent(model)
    before = snapshot(model)
    with pytest.raises(ValueError, match=r"layer 'conv1' has zeros but no mask"):
        weight_rewinding(model, initial)
    assert same(snapshot(model), before)


def test_permanent_zeros_are_revived_when_asked(pruned):
    model, initial = pruned
    weight_rewinding(make_pruning_permanent(model), initial, {})
    assert same(model.state_dict(), initial)


def test_permanent_zeros_are_masked_by_the_masks_given(pruned):
    model, initial = pruned
    masks = get_masks(model)
    weight_rewinding(make_pruning_permanent(model), initial, masks)
    assert same(kept_state(model), under_masks(initial, masks))


def test_zeros_that_stay_zero_need_no_mask():
    model = nn.Linear(2, 2)
    model.weight.data[0] = 0
    initial = snapshot(model)
    model.bias.data += 1
    assert same(weight_rewinding(model, initial).state_dict(), initial)


def other_architecture():
    return snapshot(lenet300(seed=0))


def other_width():
    return snapshot(small_convnet(width=5, seed=0))


def no_statistics():
    return {name: t for name, t in snapshot(build()).items() if "running" not in name}


@pytest.mark.parametrize(
    ("make", "masks", "message"),
    [
        (other_architecture, None, r"another architecture: .*bn1\.bias.*fc1\.weight"),
        (other_width, None, r"another architecture: .*conv2.weight \(10, 5, 3, 3\) instead of"),
        (no_statistics, None, r"another architecture: bn1\.running_mean"),
        (dict, None, "another architecture"),
        (lambda: snapshot(build()), {"fc9": torch.ones(1)}, r"'fc9', which is none of conv1,"),
        (lambda: snapshot(build()), {"fc": torch.ones(1)}, r"mask_dict\['fc'\] \(1,\) does not"),
    ],
)
def test_error_names_what_is_wrong_and_changes_nothing(pruned, make, masks, message):
    model, _ = pruned
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        weight_rewinding(model, make(), masks)
    assert same(model.state_dict(), before)


def test_reinitializing_keeps_masks_mode_and_parameters(pruned):
    model, _ = pruned
    masks, parameters = get_masks(model), list(model.parameters())
    model.train()
    model.bn1.eval()
    assert reinitialize(model, seed=1) is model
    assert same(get_masks(model), masks)
    assert total_sparsity(model) == pytest.approx(0.8, abs=1e-3)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert model.training
    assert not model.bn1.training


def test_reinitializing_draws_every_weight_anew(pruned):
    model, initial = pruned
    trained = snapshot(model)
    reinitialize(model, seed=1)
    for name, layer in prunable_layers(model).items():
        mask = layer.weight_mask.bool()
        assert (layer.weight[mask] != trained[f"{name}.weight"][mask]).all()
        assert (layer.weight[mask] != initial[f"{name}.weight"][mask]).all()
    assert model.bn1.num_batches_tracked == 0
    assert (model.bn1.weight == 1).all()


def test_seed_decides_the_weights():
    states = [snapshot(reinitialize(build(), seed)) for seed in (1, 1, 2)]
    assert same(states[0], states[1])
    assert not torch.equal(states[0]["fc.weight"], states[2]["fc.weight"])


def test_weights_do_not_depend_on_what_the_model_was(pruned):
    model, _ = pruned
    masks = get_masks(model)
    expected = under_masks(snapshot(reinitialize(build(seed=5), seed=1)), masks)
    assert same(kept_state(reinitialize(model, seed=1)), expected)


def test_weights_do_not_depend_on_the_memory_format():
    models = build(), build().to(memory_format=torch.channels_last)
    for model in models:
        model.initialize_weight = nn.init.xavier_normal_
        reinitialize(model, seed=1)
    assert same(snapshot(models[0]), snapshot(models[1]))


def test_initialization_of_the_model_is_used():
    model, filled = lenet300(seed=0), []
    model.initialize_weight = lambda w: (filled.append(w.shape), nn.init.xavier_normal_(w))
    assert same(reinitialize(model, seed=3).state_dict(), lenet300(seed=3).state_dict())
    assert [shape[0] for shape in filled] == [300, 100, 10]


def test_without_one_each_layer_draws_as_torch_does():
    torch_layer, model = nn.Linear(50, 40), nn.Sequential(nn.Linear(50, 40))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch_layer.reset_parameters()
    reinitialize(model, seed=3)
    assert torch.equal(model[0].weight, torch_layer.weight)
    assert torch.equal(model[0].bias, torch_layer.bias)


def test_reinitializing_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    reinitialize(build(), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_reinitialized_model_is_up_to_date_and_copyable(pruned, data):
    model, _ = pruned
    model.train()(data.train.x[:2])  # leaves the weights in a graph
    reinitialize(model, seed=1)
    assert torch.equal(model.fc.weight, model.fc.weight_orig * model.fc.weight_mask)
    assert same(copy.deepcopy(model).state_dict(), model.state_dict())


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.Linear(2, 2), Scaled()), "module '1' has parameters but no"),
        (lambda: make_pruning_permanent(apply_global_pruning(build(), 0.5)), "zeros but no mask"),
    ],
)
def test_reinitializing_refuses_and_changes_nothing(make, message):
    model = make()
    before, random_state = snapshot(model), torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        reinitialize(model, seed=1)
    assert same(snapshot(model), before)
    assert torch.equal(torch.get_rng_state(), random_state)


def permuted(model: nn.Module) -> nn.Module:
    """The same function, with the hidden units of the first layer in another order."""
    model = copy.deepcopy(model)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    for parameter in (model.fc1.weight, model.fc1.bias):
        parameter.data = parameter.data[order]
    model.fc2.weight.data = model.fc2.weight.data[:, order]
    return model


@pytest.mark.parametrize("mode", [True, False])
def test_no_barrier_between_a_network_and_itself(pruned, data, mode):
    model, _ = pruned
    model.train(mode)
    assert error_barrier(model, copy.deepcopy(model), data.test) == 0
    assert error_barrier(model, model, data.test) == 0


def test_barrier_of_permuted_hidden_units_is_found(data):
    a = pretrained("lenet300")
    b = permuted(a)
    torch.testing.assert_close(a(data.test.x), b(data.test.x))
    assert error_barrier(a, b, data.test) > 0.1


@pytest.mark.parametrize("points", [1, 3, 9])
def test_barrier_is_the_same_from_either_end(data, points):
    a = pretrained("lenet300")
    b = permuted(a)
    there, back = error_barrier(a, b, data.test, points), error_barrier(b, a, data.test, points)
    assert there == pytest.approx(back, abs=0.003)


def classifier(*margins: float) -> nn.Module:
    """A network that is right about image i of `one_hot` if margin i is positive."""
    model = nn.Linear(len(margins), 2, bias=False)
    model.weight.data = torch.stack([torch.tensor(margins), torch.zeros(len(margins))])
    return model


def one_hot(count: int) -> Split:
    return Split(torch.eye(count), torch.zeros(count, dtype=torch.int64))


def test_barrier_is_measured_from_the_mean_of_the_ends():
    a, b = classifier(1.0, -3.0, 1.0, 1.0), classifier(-3.0, 1.0, -3.0, 1.0)
    assert error_barrier(a, b, one_hot(4), points=1) == 0.75 - (0.25 + 0.5) / 2


def test_barrier_is_below_zero_where_the_networks_complement_each_other():
    assert error_barrier(classifier(-1.0, 3.0), classifier(3.0, -1.0), one_hot(2), 1) == -0.5


def constant(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in (*model.parameters(), model[1].running_mean, model[1].running_var):
        tensor.data.fill_(value)
    return model


PAIR = Split(torch.ones(2, 2), torch.zeros(2, dtype=torch.int64))


def test_points_are_evenly_spaced_between_the_networks():
    states = []
    error_barrier(constant(1), constant(0), PAIR, 3, lambda model: states.append(snapshot(model)))
    assert sorted(state["0.weight"].unique().item() for state in states) == [0.25, 0.5, 0.75]


def test_weights_and_buffers_are_at_the_same_point():
    states = []
    error_barrier(constant(1), constant(3), PAIR, 1, lambda model: states.append(snapshot(model)))
    del states[0]["1.num_batches_tracked"]
    assert {tensor.unique().item() for tensor in states[0].values()} == {2}


@pytest.mark.parametrize("points", [1, 4])
def test_repair_is_called_at_every_point(points):
    calls = []
    error_barrier(constant(1), constant(0), PAIR, points, calls.append)
    assert len(calls) == points


def test_there_are_nine_points_unless_told_otherwise():
    calls = []
    error_barrier(constant(1), constant(0), PAIR, repair=calls.append)
    assert len(calls) == 9


def test_the_repaired_network_counts(data):
    a = pretrained("lenet300")

    def repair(between):
        between.load_state_dict(a.state_dict())

    assert error_barrier(a, permuted(a), data.test, repair=repair) == 0


def test_repair_does_not_reach_the_next_network():
    weights = []

    def repair(model):
        weights.append(model[0].weight[0, 0].item())
        model[0].weight.fill_(-1000)
        model[1].running_mean.fill_(-1000)

    error_barrier(constant(1), constant(1), PAIR, points=3, repair=repair)
    assert weights == [1, 1, 1]


def test_networks_in_between_are_masked(pruned, data):
    model, initial = pruned
    other, masks, seen = copy.deepcopy(model), get_masks(model), []
    weight_rewinding(other, initial)

    def look(between):
        seen.append(get_masks(between))
        for name, mask in masks.items():
            assert not effective_weight(between.get_submodule(name))[~mask].any()

    error_barrier(model, other, data.test, 3, look)
    assert len(seen) == 3
    assert all(same(found, masks) for found in seen)


@pytest.mark.parametrize("masked", [False, True])
def test_barrier_changes_neither_network(pruned, data, masked):
    model = pruned[0] if masked else build()
    other = weight_rewinding(copy.deepcopy(model), pruned[1])
    model.train().bn1.eval()
    other.bn2.train()
    networks = (model, other)
    before = [copy.deepcopy(network.state_dict()) for network in networks]
    modes = [[m.training for m in network.modules()] for network in networks]

    def repair(between):
        between.train()(data.train.x[:20])
        for parameter in between.parameters():
            parameter.zero_()

    error_barrier(model, other, data.test, 2, repair)
    for network, state in zip(networks, before, strict=True):
        assert same(network.state_dict(), state)
        copy.deepcopy(network)
    assert [[m.training for m in network.modules()] for network in networks] == modes


def test_barrier_is_that_of_evaluation_mode(pruned, data):
    model, initial = pruned
    other = weight_rewinding(copy.deepcopy(model), initial)
    expected = error_barrier(model.eval(), other.eval(), data.test)
    assert error_barrier(model.train(), other.train(), data.test) == expected


def test_networks_can_be_trained_after_a_barrier(pruned, data):
    model, _ = pruned
    error_barrier(model, copy.deepcopy(model), data.test, 1)
    model.train()(data.train.x[:20]).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def pruned_to(sparsity: float, seed: int = 0) -> nn.Module:
    return apply_global_pruning(build(seed), sparsity=sparsity, scope="layerwise")


@pytest.mark.parametrize(
    ("a", "b", "points", "message"),
    [
        (build, lambda: lenet300(seed=0), 1, "a and b are of different architectures"),
        (build, lambda: small_convnet(width=5, seed=0), 1, "of different architectures"),
        (build, lambda: pruned_to(0.5), 1, "or one of them has no masks"),
        (lambda: pruned_to(0.5), build, 1, "or one of them has no masks"),
        (lambda: pruned_to(0.5), lambda: pruned_to(0.6), 1, "a and b have different masks"),
        (lambda: pruned_to(0.5), lambda: pruned_to(0.5, seed=1), 1, "have different masks"),
        (build, build, 0, "points=0 must be at least 1"),
        (build, build, -1, "points=-1 must be at least 1"),
    ],
)
def test_barrier_says_what_is_wrong(data, a, b, points, message):
    with pytest.raises(ValueError, match=message):
        error_barrier(a(), b(), data.test, points)


def test_networks_in_a_graph_are_no_obstacle(pruned, data):
    model, _ = pruned
    model.train()(data.train.x[:2])
    assert error_barrier(model, model, data.test, 1) == 0


def test_a_weight_that_happens_to_be_zero_is_rewound():
    model, start = lenet300(seed=0), snapshot(lenet300(seed=1))
    with torch.no_grad():
        model.fc1.weight[3, 5] = 0.0
    weight_rewinding(model, start)
    assert torch.equal(model.fc1.weight, start["fc1.weight"])
