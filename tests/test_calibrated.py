"""Pruning by inputs: exact counts, the textbook's update, and nothing half done."""

import copy
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from prunelab.calibrated import (
    CRITERIA,
    input_grams,
    n_of_m,
    prune_with_calibration,
    sparsegpt,
    wanda_score,
)
from prunelab.data import load_data
from prunelab.masks import get_masks
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.training import evaluate, fit
from prunelab.transformer import char_gpt
from tests.helpers import is_subset, left_as_it_was, same

every_criterion = pytest.mark.parametrize("criterion", CRITERIA)


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return load_data("cpython", train=12, valid=0).train.x


def small() -> nn.Module:
    return char_gpt(layers=2, width=32, heads=2, seed=0)


def problem(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, correlated inputs, and their Gram matrix."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(200, 3)) @ rng.normal(size=(3, columns))
    inputs = rng.normal(size=(200, columns)) + 2 * shared
    return rng.normal(size=(rows, columns)), inputs, inputs.T @ inputs


def everything(weights: np.ndarray) -> torch.Tensor:
    return torch.ones(weights.shape, dtype=torch.bool)


def removed(w: np.ndarray, p: int, gram: np.ndarray) -> np.ndarray:
    """The optimal brain surgeon's update: one weight goes, all others make up for it."""
    inverse = np.linalg.inv(gram)
    return w - w[p] / inverse[p, p] * inverse[:, p]


def textbook(weights: np.ndarray, gram: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Remove the weights of a mask from left to right, while those further left are fixed."""
    w = weights.copy()
    for i, j in zip(*np.nonzero(~mask), strict=True):
        w[i, j:] = removed(w[i, j:], 0, gram[j:, j:])
        w[i, j] = 0
    return w


@pytest.mark.parametrize(
    "how", [{"sparsity": 0.5}, {"sparsity": 0.8}, {"pattern": (2, 4)}, {"pattern": (4, 8)}]
)
def test_sparsegpt_is_the_textbooks_surgeon_column_by_column(how):
    w, _, gram = problem(5, 16)
    damped = gram + 0.01 * np.diag(gram).mean() * np.eye(16)
    found, mask = sparsegpt(torch.tensor(w), torch.tensor(gram), everything(w), **how)
    np.testing.assert_allclose(found, textbook(w, damped, mask.numpy()), atol=1e-10)
    assert ((found != 0) == mask).all()


def test_the_first_weight_that_goes_is_the_surgeons_and_costs_what_it_says():
    """In a row of which all is free, the score is what removing a weight costs at the least."""
    w, inputs, gram = problem(1, 6)
    row = w[0]
    least = [np.sum((inputs @ (removed(row, p, gram) - row)) ** 2) for p in range(6)]
    inverse = np.linalg.inv(gram)
    np.testing.assert_allclose(least, row**2 / np.diag(inverse))
    for p in range(6):  # nothing without this weight comes closer
        others = [j for j in range(6) if j != p]
        best, *_ = np.linalg.lstsq(inputs[:, others], inputs @ row, rcond=None)
        np.testing.assert_allclose(removed(row, p, gram)[others], best)
    # in the order of the columns, the factor's diagonal says the same of the first one
    factor = np.linalg.cholesky(inverse).T
    assert factor[0, 0] ** 2 == pytest.approx(inverse[0, 0])


def test_what_is_left_makes_up_for_what_went():
    w, inputs, gram = problem(8, 24)
    found, mask = sparsegpt(torch.tensor(w), torch.tensor(gram), everything(w), damping=1e-6)

    def error(weights) -> float:
        return np.sum((inputs @ (np.asarray(weights) - w).T) ** 2)

    assert error(found) < 0.6 * error(w * mask.numpy())
    best = np.zeros_like(w)
    for i in range(8):
        kept = mask[i].numpy()
        best[i, kept] = np.linalg.lstsq(inputs[:, kept], inputs @ w[i], rcond=None)[0]
    assert error(best) <= error(found)


def test_wanda_removes_what_changes_the_output_least_where_inputs_are_uncorrelated():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(1, 8))
    inputs = np.linalg.qr(rng.normal(size=(30, 8)))[0] * rng.uniform(0.1, 10, size=8)
    keep = n_of_m(wanda_score(torch.tensor(w), torch.tensor(inputs.T @ inputs)), 4, 8)[0]
    costs = {
        gone: np.sum((inputs[:, list(gone)] @ w[0, list(gone)]) ** 2)
        for gone in combinations(range(8), 4)
    }
    assert min(costs, key=costs.get) == tuple((~keep).nonzero().flatten().tolist())


def test_grams_are_of_all_positions_and_of_all_batches(x):
    model = small()
    layers = {"blocks.0.attention.qkv": model.blocks[0].attention.qkv}
    many = x.repeat(25, 1)  # more than a batch
    (gram,) = input_grams(model, layers, many).values()
    with torch.no_grad():
        h = model.characters(many) + model.positions(torch.arange(64))
        rows = model.blocks[0].attention.norm(h).flatten(0, 1).double().numpy()
    np.testing.assert_allclose(gram, rows.T @ rows, rtol=1e-5, atol=1e-3)


@every_criterion
@pytest.mark.parametrize("sparsity", [0, 0.5, 0.7])
def test_every_layer_loses_its_share_to_the_weight(x, criterion, sparsity):
    model = prune_with_calibration(
        small(), x, sparsity=sparsity, criterion=criterion, scope="layer", exclude="head"
    )
    masks = get_masks(model)
    assert len(masks) == 8
    for mask in masks.values():
        assert int((~mask).sum()) == round(sparsity * mask.numel())


@every_criterion
@pytest.mark.parametrize("pattern", [(2, 4), (4, 8)])
def test_a_pattern_is_kept_in_every_group(x, criterion, pattern):
    model = prune_with_calibration(small(), x, pattern=pattern, criterion=criterion, exclude="head")
    for mask in get_masks(model).values():
        assert (mask.unflatten(1, (-1, pattern[1])).sum(dim=-1) == pattern[0]).all()


@pytest.mark.parametrize("criterion", ["l1", "wanda"])
def test_every_row_loses_as_many(x, criterion):
    model = prune_with_calibration(small(), x, sparsity=0.6, criterion=criterion)
    for mask in get_masks(model).values():
        assert ((~mask).sum(dim=1) == round(0.6 * mask.shape[1])).all()


def test_magnitude_in_a_layer_is_that_of_global_pruning(x):
    one = prune_with_calibration(small(), x, criterion="l1", scope="layer")
    other = apply_global_pruning(small(), sparsity=0.5, scope="layerwise")
    assert same(get_masks(one), get_masks(other))


@every_criterion
def test_what_is_pruned_stays_pruned_and_only_sparsegpt_changes_the_rest(x, criterion):
    model = apply_global_pruning(small(), sparsity=0.3, scope="layerwise", exclude="head")
    before, first = copy.deepcopy(model), get_masks(model)
    first = {name: mask.clone() for name, mask in first.items()}
    prune_with_calibration(model, x, sparsity=0.6, criterion=criterion, exclude="head")
    masks = get_masks(model)
    assert is_subset(masks, first)
    weights = [m.blocks[1].mlp.up.weight[masks["blocks.1.mlp.up"]] for m in (before, model)]
    assert torch.equal(*weights) == (criterion != "sparsegpt")
    assert (model.blocks[1].mlp.up.weight[~masks["blocks.1.mlp.up"]] == 0).all()


def test_a_layer_sees_what_the_pruned_ones_before_it_leave(x):
    model = small()
    pruned = prune_with_calibration(copy.deepcopy(model), x, sparsity=0.7, scope="layer")
    last = "blocks.1.mlp.down"
    weights = model.get_submodule(last).weight.detach()
    masks = []
    for network in (model, pruned):
        gram = input_grams(network, {last: network.get_submodule(last)}, x)[last]
        scores = wanda_score(weights, gram).flatten()
        gone = scores.argsort(stable=True)[: round(0.7 * scores.numel())]
        masks.append(~torch.zeros_like(scores, dtype=torch.bool).index_fill(0, gone, True))
    assert torch.equal(masks[1].view_as(weights), get_masks(pruned)[last])
    assert not torch.equal(masks[0], masks[1])


def test_images_calibrate_a_network_of_linear_layers(data):
    model = lenet300(seed=0)
    fit(model, data, steps=40, eval_splits=(), progress=False)
    accuracy = {
        criterion: evaluate(
            prune_with_calibration(
                copy.deepcopy(model), data.train.x[:200], sparsity=0.9, criterion=criterion
            ),
            data.valid,
        ).accuracy
        for criterion in CRITERIA
    }
    assert accuracy["l1"] < accuracy["sparsegpt"]
    assert accuracy["wanda"] < accuracy["sparsegpt"]


def test_inputs_that_are_always_zero_are_no_obstacle():
    model = nn.Sequential(nn.Linear(8, 4))
    inputs = torch.zeros(5, 8)
    for criterion in CRITERIA:
        pruned = prune_with_calibration(copy.deepcopy(model), inputs, criterion=criterion)
        assert pruned[0].weight.isfinite().all()
        assert int(get_masks(pruned)["0"].sum()) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 50}, "sparsity=50 must be a fraction"),
        ({"criterion": "obs"}, "criterion='obs' is unknown"),
        ({"scope": "global"}, "scope='global' is unknown"),
        ({"pattern": (2, 5)}, r"pattern=\(2, 5\) must be \(n, m\)"),
        ({"pattern": (5, 4)}, r"pattern=\(5, 4\) must be"),
        ({"criterion": "sparsegpt", "pattern": (2, 5)}, r"pattern=\(2, 5\) must be \(n, m\)"),
        ({"pattern": "2:4"}, "pattern='2:4' must be"),
        ({"exclude": "tail"}, "exclude='tail' is no layer"),
        ({"x": torch.zeros(3, 64)}, "model does not run on x"),
        ({"x": torch.full((3, 64), 96)}, "model does not run on x"),
    ],
)
def test_what_is_wrong_is_named_and_the_model_is_as_it_was(x, options, message):
    model = small()
    with left_as_it_was(model), pytest.raises(ValueError, match=message):
        prune_with_calibration(model, **({"x": x} | options))


def test_layers_without_inputs_and_empty_inputs_are_refused_and_nothing_is_masked():
    wrapped = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="is empty; give some inputs"):
        prune_with_calibration(wrapped, torch.zeros(0, 4))
    with pytest.raises(ValueError, match=r"calls no layer .*idle"):
        prune_with_calibration(idle := Idle(), torch.randn(3, 4))
    assert not get_masks(wrapped)
    assert not get_masks(idle)


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


@pytest.mark.parametrize("scores", [torch.rand(2, 4, 4), torch.tensor([[1.0, torch.nan]])])
def test_scores_of_patterns_are_a_matrix_of_numbers(scores):
    with pytest.raises(ValueError, match="scores must be a matrix"):
        n_of_m(scores, 1, 2)
