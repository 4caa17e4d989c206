"""Masks keep weights away whatever happens to the model, and go for good when asked."""

import copy
import io

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from prunelab.lab import permanence
from prunelab.masks import (
    effective_weight,
    get_masks,
    is_masked,
    kept_weights,
    make_pruning_permanent,
    masked_weight,
    set_mask,
)
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import apply_global_pruning
from tests.helpers import left_as_it_was, random_network, same, state, train_a_step


def half_pruned(seed: int = 0) -> nn.Module:
    return apply_global_pruning(random_network(seed), sparsity=0.5)


def test_masks_are_boolean_and_named_by_layer():
    assert get_masks(lenet300()) == {}
    masks = get_masks(apply_global_pruning(lenet300(seed=0), sparsity=0.5))
    assert set(masks) == {"fc1", "fc2", "fc3"}
    assert {mask.dtype for mask in masks.values()} == {torch.bool}


def test_a_mask_is_set_and_replaced_without_another_hook():
    layer, first, second = nn.Linear(2, 1), torch.tensor([[1, 0]]), torch.tensor([[False, True]])
    assert not is_masked(layer)
    dense = layer.weight.detach().clone()
    for mask in (first, second):
        set_mask(layer, mask)
        assert is_masked(layer)
        assert prune.is_pruned(layer)
        assert layer.weight_mask.dtype == dense.dtype  # a copy, whatever was given
        assert torch.equal(layer.weight, dense * mask)  # before the next forward pass
        assert torch.equal(kept_weights(layer), mask.bool())
    assert len(layer._forward_pre_hooks) == 1
    make_pruning_permanent(layer)
    assert not is_masked(layer)
    assert not prune.is_pruned(layer)
    layer.register_buffer("weight_mask", torch.zeros(1, 2))  # a name that ends like a mask
    assert not is_masked(layer)
    assert get_masks(layer) == {}


def test_permanent_model_uses_the_weights_of_now_without_negative_zeros():
    model = half_pruned()
    for layer in model:
        layer.weight_orig.data.fill_(-3.0)
    make_pruning_permanent(model)
    assert model[0].weight.unique().tolist() == [-3.0, 0.0]
    assert not torch.signbit(model[0].weight[model[0].weight == 0]).any()
    before = state(model)
    assert same(make_pruning_permanent(model).state_dict(), before)


def test_kept_weights_without_a_mask_are_those_that_are_not_zero():
    layer = nn.Linear(3, 1)
    layer.weight.data = torch.tensor([[1.0, 0.0, -1.0]])
    assert kept_weights(layer).tolist() == [[True, False, True]]


@pytest.mark.parametrize("masked", [False, True])
def test_effective_weight_is_that_of_now_and_has_no_gradient(masked):
    model = half_pruned() if masked else random_network()
    train_a_step(model, 8, 20)
    for layer in model:
        parameter = layer.weight_orig if masked else layer.weight
        mask = layer.weight_mask if masked else 1
        weight = effective_weight(layer)
        assert torch.equal(weight, parameter.detach() * mask)
        assert torch.equal(weight, masked_weight(layer))
        assert (weight.requires_grad, masked_weight(layer).requires_grad) == (False, True)


def test_masked_weights_stay_away_in_training_and_the_others_move():
    model = random_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    apply_global_pruning(model, sparsity=0.5)  # an optimizer made before goes on
    before = [effective_weight(layer) for layer in model]
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(8, 20)).square().mean().backward()
        optimizer.step()
    for layer, old in zip(model, before, strict=True):
        assert torch.equal(effective_weight(layer) != 0, old != 0)
        assert not torch.equal(effective_weight(layer)[old != 0], old[old != 0])


def test_a_masked_model_can_be_copied_at_once_and_its_copy_is_masked_by_itself():
    model = half_pruned()
    with left_as_it_was(model):
        copied = copy.deepcopy(model)
        assert same(copied.state_dict(), model.state_dict())
        apply_global_pruning(copied, sparsity=0.9)


def test_a_masked_state_can_be_saved_and_loaded():
    model, other, file = half_pruned(0), apply_global_pruning(random_network(1), 0), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(get_masks(other), get_masks(model))
    assert torch.equal(other(torch.ones(1, 20)), model(torch.ones(1, 20)))


def test_permanent_model_computes_the_same_with_the_parameters_it_had():
    dense = small_convnet(width=4, seed=0).eval()
    model = apply_global_pruning(copy.deepcopy(dense), sparsity=0.5)
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    before = model(x)
    assert make_pruning_permanent(model) is model
    assert torch.equal(model(x), before)
    model.load_state_dict(dense.state_dict())


def test_permanence_covers_bias_masks_of_torch():
    layer = nn.Linear(4, 4)
    prune.random_unstructured(layer, "bias", amount=2)
    make_pruning_permanent(layer)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert (layer.bias == 0).sum() == 2


def test_a_step_moves_zeros_that_no_mask_holds():
    before, after = permanence.small_layer_through_step()
    for orig, mask, weight, _ in (before.values(), after.values()):
        assert torch.equal(weight, orig * mask)
    pruned, moved = before["× weight_mask"] == 0, [after[n] != before[n] for n in before]
    assert pruned.sum() == 6
    for changed, expected in zip(moved, (~pruned, pruned & ~pruned, ~pruned), strict=False):
        assert torch.equal(changed, expected)
    assert torch.equal(before["permanent: weight"] == 0, pruned)
    assert moved[3].all()
    kept = after["permanent: weight"][~pruned]
    assert torch.allclose(kept, after["= weight"][~pruned])


def test_times_the_bound():
    rows = [("dense", 0.5, 90), ("CSR", 0.5, 60), ("entropy bound", 0.5, 30)]
    rows += [("CSR", 0.9, 20), ("entropy bound", 0.9, 8), ("bitmap", 0.9, 12)]
    table = permanence.times_the_bound(pd.DataFrame(rows, columns=["format", "sparsity", "bytes"]))
    assert table["format"].tolist() == ["CSR", "CSR", "bitmap"]
    assert table["density"].tolist() == pytest.approx([0.5, 0.1, 0.1])
    assert table["times"].tolist() == [2, 2.5, 1.5]
