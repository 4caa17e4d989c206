"""Rewinding brings everything back but the masks, and a wrong state changes nothing."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from prunelab.data import Split
from prunelab.masks import effective_weight, get_masks, make_pruning_permanent, prunable_layers
from prunelab.models import lenet300, pretrained, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import error_barrier, reinitialize, snapshot, weight_rewinding
from prunelab.training import fit
from tests.helpers import left_as_it_was, modes, random_state_left_alone, same, state


def build(seed: int = 0) -> nn.Module:
    return small_convnet(width=4, seed=seed)


def train(model: nn.Module, data, steps: int = 3) -> nn.Module:
    fit(model, data, steps=steps, eval_splits=(), progress=False, device="cpu")
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


def test_snapshot_has_the_names_of_the_network_without_masks(pruned):
    model, initial = pruned
    assert same(initial, build().state_dict())  # training and pruning have not touched it
    assert snapshot(model).keys() == initial.keys()


def test_snapshot_keeps_other_names_that_end_like_masks():
    model = nn.Linear(2, 2)
    model.register_buffer("attention_mask", torch.ones(2))
    model.scale_orig = nn.Parameter(torch.ones(1))
    assert snapshot(model).keys() == {"weight", "bias", "attention_mask", "scale_orig"}
    assert snapshot(apply_global_pruning(model, 0.5)).keys() == snapshot(model).keys()


def test_rewinding_refuses_a_state_that_follows_the_training(data):
    model = lenet300(seed=0)
    initial = model.state_dict()
    apply_global_pruning(train(model, data), sparsity=0.5)
    with left_as_it_was(model), pytest.raises(ValueError, match=r"shares its .* snapshot\(model\)"):
        weight_rewinding(model, initial)


def test_rewinding_restores_everything_under_the_masks(pruned):
    model, initial = pruned
    masks, parameters, before = get_masks(model), list(model.parameters()), copy.deepcopy(initial)
    model.train().bn1.eval()
    now = modes(model)
    assert weight_rewinding(model, initial) is model
    assert same(get_masks(model), masks)
    assert same(kept_state(model), under_masks(build().state_dict(), masks))  # statistics too
    assert [*map(id, model.parameters())] == [*map(id, parameters)]
    assert modes(model) == now
    assert same(initial, before)


def test_rewinding_takes_cloned_state_dicts_of_dense_and_masked_models(pruned, data):
    model, initial = pruned
    masked = state(model)
    assert same(weight_rewinding(train(model, data), masked).state_dict(), masked)
    weight_rewinding(model, state(build()))
    assert same(kept_state(model), under_masks(initial, get_masks(model)))


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
    assert same(copy.deepcopy(model).state_dict(), model.state_dict())


def test_bias_masks_of_torch_are_kept():
    model = nn.Linear(3, 4)
    initial = snapshot(model)
    prune.l1_unstructured(model, "bias", amount=2)
    model.bias_orig.data += 1
    weight_rewinding(model, initial)
    assert torch.equal(model.bias, initial["bias"] * model.bias_mask)
    assert int((model.bias_mask == 0).sum()) == 2


@pytest.mark.parametrize("make", [lambda model: build(seed=1), make_pruning_permanent])
def test_masks_given_are_applied_to_a_model_without_masks(pruned, make):
    model, initial = pruned
    masks = get_masks(model)
    unmasked = weight_rewinding(make(model), initial, masks)
    assert same(get_masks(unmasked), masks)
    assert same(kept_state(unmasked), under_masks(initial, masks))


def test_masks_given_take_the_place_of_the_old_ones(pruned):
    model, initial = pruned
    masks = {"fc.weight": ~get_masks(model)["fc"]}
    others = {name: mask for name, mask in get_masks(model).items() if name != "fc"}
    weight_rewinding(model, initial, masks)
    assert same(get_masks(model), others | {"fc": masks["fc.weight"]})
    assert torch.equal(model.fc.weight, initial["fc.weight"] * masks["fc.weight"])


def test_permanent_zeros_are_revived_only_when_asked(pruned):
    model, initial = pruned
    make_pruning_permanent(model)
    with left_as_it_was(model), pytest.raises(ValueError, match="layer 'conv1' has zeros but no m"):
        weight_rewinding(model, initial)
    assert same(weight_rewinding(model, initial, {}).state_dict(), initial)


def test_zeros_that_stay_zero_need_no_mask():
    model = nn.Linear(2, 2)
    model.weight.data[0] = 0
    initial = snapshot(model)
    model.bias.data += 1
    assert same(weight_rewinding(model, initial).state_dict(), initial)


@pytest.mark.parametrize(("zeros", "refused"), [(1, False), (23, False), (24, True)])
def test_a_few_weights_that_happen_to_be_zero_are_rewound(zeros, refused):
    model, start = lenet300(seed=0), snapshot(lenet300(seed=1))
    model.fc1.weight.data.view(-1)[:zeros] = 0.0  # of 235,200, so that 23 are just below 1e-4
    if refused:
        with pytest.raises(ValueError, match="layer 'fc1' has zeros but no mask"):
            weight_rewinding(model, start)
    else:
        assert torch.equal(weight_rewinding(model, start).fc1.weight, start["fc1.weight"])


def test_reinitializing_draws_every_weight_anew_under_the_masks(pruned, data):
    model, initial = pruned
    masks, parameters, trained = get_masks(model), list(model.parameters()), snapshot(model)
    model.train().bn1.eval()
    model(data.train.x[:2])  # leaves the weights in a graph
    now = modes(model)
    with random_state_left_alone():
        assert reinitialize(model, seed=1) is model
    assert same(get_masks(model), masks)
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight
        assert torch.equal(weight != 0, mask)
        for old in (trained, initial):
            assert (weight[mask] != old[f"{name}.weight"][mask]).all()
    assert model.bn1.num_batches_tracked == 0
    assert (model.bn1.weight == 1).all()
    assert [*map(id, model.parameters())] == [*map(id, parameters)]
    assert modes(model) == now
    assert same(copy.deepcopy(model).state_dict(), model.state_dict())


def test_the_seed_alone_decides_the_weights(pruned):
    model, _ = pruned
    states = [snapshot(reinitialize(build(seed=5), seed)) for seed in (1, 2)]
    assert not torch.equal(states[0]["fc.weight"], states[1]["fc.weight"])
    assert same(kept_state(reinitialize(model, 1)), under_masks(states[0], get_masks(model)))


def test_weights_do_not_depend_on_the_memory_format():
    models = build(), build().to(memory_format=torch.channels_last)
    for model in models:
        model.initialize_weight = nn.init.xavier_normal_
        reinitialize(model, seed=1)
    assert same(snapshot(models[0]), snapshot(models[1]))


def test_initialization_of_the_model_is_used():
    model, filled = lenet300(seed=0), []
    model.initialize_weight = lambda w: (filled.append(w.shape), nn.init.xavier_normal_(w))
    model.fc1.bias.data.fill_(1.0)
    assert same(reinitialize(model, seed=3).state_dict(), lenet300(seed=3).state_dict())
    assert [shape[0] for shape in filled] == [300, 100, 10]


def test_without_one_each_layer_draws_as_torch_does():
    torch_layer, model = nn.Linear(50, 40), nn.Sequential(nn.Linear(50, 40))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        torch_layer.reset_parameters()
    assert same(reinitialize(model, seed=3)[0].state_dict(), torch_layer.state_dict())


def test_weights_and_buffers_are_at_the_same_nine_points():
    seen = []
    error_barrier(constant(0), constant(10), PAIR, repair=lambda m: seen.append(snapshot(m)))
    for each in seen:
        del each["1.num_batches_tracked"]
    points = [torch.cat([t.flatten() for t in each.values()]).unique() for each in seen]
    assert sorted(point.item() for point in points) == pytest.approx([*range(1, 10)])


def permuted(model: nn.Module) -> nn.Module:
    """The same function, with the hidden units of the first layer in another order."""
    model = copy.deepcopy(model)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    for parameter in (model.fc1.weight, model.fc1.bias):
        parameter.data = parameter.data[order]
    model.fc2.weight.data = model.fc2.weight.data[:, order]
    return model


def test_barrier_of_permuted_hidden_units_is_found_from_either_end(data):
    a = pretrained("lenet300")
    b = permuted(a)
    torch.testing.assert_close(a(data.test.x), b(data.test.x))
    there, back = (error_barrier(*ends, data.test, points=3) for ends in ((a, b), (b, a)))
    assert there > 0.1
    assert there == pytest.approx(back, abs=0.003)


def constant(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in (*model.parameters(), model[1].running_mean, model[1].running_var):
        tensor.data.fill_(value)
    return model


PAIR = Split(torch.ones(2, 2), torch.zeros(2, dtype=torch.int64))


def test_the_repaired_network_counts(data):
    a = pretrained("lenet300")
    repair = partial(nn.Module.load_state_dict, state_dict=a.state_dict())
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

    def repair(between):
        between.train()(data.train.x[:20])
        for parameter in between.parameters():
            parameter.zero_()

    with left_as_it_was(model, other):
        error_barrier(model, other, data.test, 2, repair)


def test_no_barrier_between_a_network_in_a_graph_and_itself(pruned, data):
    model, _ = pruned
    model.train()(data.train.x[:2])
    assert error_barrier(model, model, data.test) == 0
    model.train()(data.train.x[:20]).square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_barrier_is_that_of_evaluation_mode(pruned, data):
    model, initial = pruned
    other = weight_rewinding(copy.deepcopy(model), initial)
    expected = error_barrier(model.eval(), other.eval(), data.test)
    assert error_barrier(model.train(), other.train(), data.test) == expected
