"""Scores before training, densities of layers, and masks that move."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from prunelab.data import Data, Split
from prunelab.early import apply_synflow, grasp_scores, snip_scores, synflow_scores
from prunelab.engines.moving_masks import apply_erk, erk_densities, fit_sparse, regrow
from prunelab.masks import effective_weight, get_masks, prunable_layers
from prunelab.models import lenet300, resnet20, small_convnet
from prunelab.pruning import LayerCollapse, apply_global_pruning
from prunelab.sparsity import total_sparsity
from tests.helpers import left_as_it_was, same


@pytest.fixture
def images() -> Split:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 1, 28, 28, generator=generator)
    return Split(x, torch.randint(10, (12,), generator=generator))


def data_of(images: Split) -> Data:
    return Data("some", images, images, images, tuple("0123456789"))


def scores_by(name: str, model: nn.Module, images: Split) -> dict[str, torch.Tensor]:
    return {
        "snip": lambda: snip_scores(model, images),
        "grasp": lambda: grasp_scores(model, images),
        "synflow": lambda: synflow_scores(model, images.x),
    }[name]()


every_score = pytest.mark.parametrize("name", ["snip", "grasp", "synflow"])


@every_score
@pytest.mark.parametrize("build", [lenet300, small_convnet])
def test_scores_fit_their_weights_and_the_model_is_as_it_was(name, build, images):
    model = build(seed=0)
    with left_as_it_was(model):
        scores = scores_by(name, model, images)
    assert {n: s.shape for n, s in scores.items()} == {
        n: layer.weight.shape for n, layer in prunable_layers(model).items()
    }
    assert not any(s.requires_grad for s in scores.values())


@every_score
def test_a_pruned_weight_scores_zero(name, images):
    model = apply_global_pruning(lenet300(seed=0), sparsity=0.6)
    scores = scores_by(name, model, images)
    for layer, mask in get_masks(model).items():
        assert not scores[layer][~mask].any()
        assert scores[layer][mask].any()


@every_score
def test_scores_are_a_criterion(name, images):
    model = resnet20(width=4, seed=0)
    scores = scores_by(name, model, images)
    apply_global_pruning(model, sparsity=0.5, criterion=scores)
    masks = get_masks(model)
    kept = torch.cat([scores[layer][mask] for layer, mask in masks.items()])
    gone = torch.cat([scores[layer][~mask] for layer, mask in masks.items()])
    assert kept.min() >= gone.max()
    assert total_sparsity(model) == pytest.approx(0.5, abs=1e-4)


def test_a_network_without_gradients_is_scored_too(images):
    frozen = lenet300(seed=0).requires_grad_(False)
    assert not next(frozen.parameters()).requires_grad
    both = (snip_scores(model, images)["fc1"] for model in (frozen, lenet300(seed=0)))
    assert torch.equal(*both)


@pytest.mark.parametrize(
    ("criterion", "wrong"),
    [
        ({}, "no layer, but none of layer 'fc1'"),
        ({"fc1": torch.zeros(300, 784)}, "fc1, but none of layer 'fc2'"),
        ({"fc1": torch.zeros(300)}, r"is \(300,\); give a number for \(300, 784\)"),
        ({"fc1": torch.full((300, 784), torch.nan)}, "is not finite"),
        ({"fc1": torch.full((300, 784), -torch.inf)}, "is not finite"),
        ({"fc1": torch.zeros(300, 784, dtype=torch.bool)}, "plain real numbers"),
    ],
)
def test_scores_that_do_not_fit_are_named(criterion, wrong):
    model = lenet300(seed=0)
    with left_as_it_was(model), pytest.raises(ValueError, match=wrong):
        apply_global_pruning(model, sparsity=0.5, criterion=criterion)


def test_scores_may_be_whole_numbers_and_revive_nothing():
    layer = nn.Linear(4, 1, bias=False)
    model = nn.Sequential(layer)
    apply_global_pruning(model, sparsity=0.25, criterion={"0": torch.tensor([[3, 2, 0, 1]])})
    assert get_masks(model)["0"].tolist() == [[True, True, False, True]]
    apply_global_pruning(model, sparsity=0.5, criterion={"0": torch.tensor([[-9, 2, 5, 1]])})
    assert get_masks(model)["0"].tolist() == [[False, True, False, True]]


def test_synflow_in_rounds_keeps_layers_that_one_round_empties(images):
    widths = [784, *[40] * 6, 10]
    layers = [nn.Linear(a, b, bias=False) for a, b in pairwise(widths)]
    model = nn.Sequential(nn.Flatten(), *layers)
    twin = copy.deepcopy(model)
    with pytest.warns(LayerCollapse):
        apply_global_pruning(twin, sparsity=0.999, criterion=snip_scores(model, images))
    apply_synflow(model, 0.999, images.x)
    assert total_sparsity(model) == pytest.approx(0.999, abs=1e-4)
    assert all(mask.any() for mask in get_masks(model).values())


@pytest.mark.parametrize("density", [1.0, 0.9, 0.2, 0.01])
@pytest.mark.parametrize("build", [lenet300, small_convnet, resnet20])
def test_erk_has_the_density_asked_for(build, density):
    model = build(seed=0)
    apply_erk(model, density, seed=1)
    assert 1 - total_sparsity(model) == pytest.approx(density, rel=0.01)
    densities = erk_densities(model, density)
    assert all(0 < share <= 1 for share in densities.values())
    for name, mask in get_masks(model).items():
        assert mask.double().mean().item() == pytest.approx(densities[name], abs=1 / mask.numel())
    again, other = (apply_erk(build(seed=0), density, seed=s) for s in (1, 2))
    assert same(get_masks(again), get_masks(model))
    assert density == 1 or not same(get_masks(other), get_masks(model))


def test_regrow_moves_as_many_as_it_drops():
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, -0.1, 2.0, 0.3], [5.0, 6.0, 7.0, 8.0]])
    apply_global_pruning(
        nn.Sequential(layer), sparsity=0.5, criterion={"0": torch.tensor([[1.0] * 4, [0.0] * 4])}
    )
    wish = torch.tensor([[9.0] * 4, [1.0, 4.0, 3.0, 2.0]])
    grown = regrow(layer, 0.5, wish)
    assert grown.tolist() == [[False] * 4, [False, True, True, False]]
    expected = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert torch.equal(effective_weight(layer), expected)
    assert layer.weight_mask.sum() == 4
    with pytest.raises(ValueError, match="must have the weight's"):
        regrow(layer, 0.5, torch.zeros(4))


@pytest.mark.parametrize("grow", ["gradient", "random"])
def test_the_mask_moves_and_its_size_stays(grow, images):
    model = apply_erk(lenet300(seed=0), 0.02)
    before = get_masks(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    how = {"steps": 8, "every": 2, "until": 0.9, "progress": False, "batch_size": 4}
    history = fit_sparse(model, data_of(images), optimizer=optimizer, grow=grow, **how)
    after = get_masks(model)
    assert history["step"].is_monotonic_increasing
    assert history["step"].iloc[-1] == 8
    for name, mask in before.items():
        assert after[name].sum() == mask.sum()
        assert not torch.equal(after[name], mask)


def test_grown_weights_have_no_momentum(images, monkeypatch):
    model = apply_erk(lenet300(seed=0), 0.02)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=0.1)
    seen = []
    from prunelab.engines import moving_masks

    def watched(layer, share, wish):
        seen.append((layer, regrow(layer, share, wish)))
        return seen[-1][1]

    monkeypatch.setattr(moving_masks, "regrow", watched)
    how = {"steps": 4, "every": 3, "until": 0.9, "progress": False, "batch_size": 4}
    moving_masks.fit_sparse(model, data_of(images), optimizer=optimizer, **how)
    assert len(seen) == 3
    assert all(grown.any() for _, grown in seen)
    seen.clear()
    moving_masks._move(model, optimizer, 0.3, "gradient", images, seed=0)
    for layer, grown in seen:
        momentum = optimizer.state[layer.weight_orig]["momentum_buffer"]
        assert not momentum[grown].any()
        assert momentum[~grown].any()


def test_without_a_mask_there_is_nothing_to_move(images):
    model = lenet300(seed=0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with left_as_it_was(model), pytest.raises(ValueError, match="apply_erk"):
        fit_sparse(model, data_of(images), steps=4, optimizer=optimizer)


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda m, s: snip_scores(m, s[:0]), "split is empty"),
        (lambda m, s: grasp_scores(m, s, T=0), "T=0"),
        (lambda m, s: erk_densities(m, 0), "density=0 must be"),
        (lambda m, s: apply_synflow(m, 1.0, s.x), "sparsity"),
        (lambda m, s: apply_synflow(m, 0.5, s.x, rounds=0), "rounds"),
        (lambda m, s: apply_erk(m, 0.5, seed=-1), "seed"),
    ],
)
def test_a_wrong_call_changes_nothing(call, wrong, images):
    model = lenet300(seed=0)
    with left_as_it_was(model), pytest.raises(ValueError, match=wrong):
        call(model, images)


def test_grasp_keeps_what_carries_the_gradient(images):
    """Removing the lowest scores makes the squared gradient longer than removing the highest."""
    model = lenet300(seed=0).double()
    images = Split(images.x.double(), images.y)
    scores = grasp_scores(model, images, T=1.0)
    lengths = []
    for sign in (1, -1):
        twin = copy.deepcopy(model)
        chosen = {name: sign * score for name, score in scores.items()}
        apply_global_pruning(twin, sparsity=0.01, criterion=chosen)
        loss = nn.functional.cross_entropy(twin(images.x), images.y)
        parameters = [layer.weight_orig for layer in twin.children() if hasattr(layer, "bias")]
        gradients = torch.autograd.grad(loss, parameters)
        masks = get_masks(twin).values()
        lengths.append(
            sum((g * m).square().sum().item() for g, m in zip(gradients, masks, strict=True))
        )
    assert np.diff(lengths) < 0
