"""Every numbered equation of a docstring agrees with an independent float64 evaluation of it."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from scipy.special import log_softmax
from torch import nn

import prunelab
from prunelab.batchnorm import recalibrate_bn
from prunelab.calibrated import input_grams, n_of_m, sparsegpt, wanda_score
from prunelab.data import Split
from prunelab.distillation import kd_loss
from prunelab.early import apply_synflow, grasp_scores, snip_scores, synflow_scores
from prunelab.engines.moving_masks import erk_densities, fit_sparse, regrow
from prunelab.filters import filter_norms, weight_penalty
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding
from prunelab.gradual import sparsity_schedule
from prunelab.intervals import choose, mean_interval, paired_ratio
from prunelab.lottery import early_stop, prune_round, supermask
from prunelab.masks import get_masks, make_pruning_permanent
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning, l1_score, l2_score, lamp_score, lowest
from prunelab.rewinding import error_barrier, snapshot, weight_rewinding
from prunelab.shipping import fold_batchnorm, rounded
from prunelab.sparsity import CSRLinear, binary_entropy, bytes_bound, check_sparsity
from prunelab.surgery import masked_filter_output, prune_channels
from prunelab.training import evaluate, fit, shuffled_batches
from prunelab.transformer import Attention, bits
from tests import test_lottery, test_surgery_network
from tests.helpers import learning_rates

EQUATIONS = {}
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(6, 9)).astype(np.float32)
WEIGHTS[0, :4] = [0.5, -0.5, 0.5, 0.0]


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def equation(*numbers: str):
    def register(check):
        assert not EQUATIONS.keys() & numbers
        EQUATIONS.update(dict.fromkeys(numbers, check))
        return check

    return register


def lenet300_in_numpy(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    h = array(x.flatten(1))
    for name in ("fc1", "fc2", "fc3"):
        layer = model.get_submodule(name)
        h = h @ array(layer.weight).T + array(layer.bias)
        h = np.maximum(h, 0) if name != "fc3" else h
    return h


def cross_entropy_in_numpy(scores: np.ndarray, labels: np.ndarray) -> float:
    return -log_softmax(scores, axis=1)[range(len(labels)), labels].mean()


@equation("0.1")
def loss_of_a_batch(data):
    model = lenet300(seed=0)
    batch = data.train[next(shuffled_batches(len(data.train), 128, seed=4))]
    expected = cross_entropy_in_numpy(lenet300_in_numpy(model, batch.x), batch.y.numpy())
    history = fit(model, data, steps=1, batch_size=128, seed=4, device="cpu", progress=False)
    assert history["train_loss"].iloc[-1] == pytest.approx(expected, rel=1e-5)


@equation("0.2")
def accuracy_of_a_split(data):
    model = lenet300(seed=0)
    winners = lenet300_in_numpy(model, data.valid.x).argmax(axis=1)
    expected = sum(int(c == y) for c, y in zip(winners, data.valid.y.tolist(), strict=True))
    assert evaluate(model, data.valid).accuracy == expected / len(data.valid)


@equation("0.3")
def interval_of_the_mean(data):
    x = np.array([0.91, 0.93, 0.9, 0.94, 0.92])
    s = np.sqrt(((x - x.sum() / 5) ** 2).sum() / 4)
    row = mean_interval(pd.DataFrame({"g": 0, "x": x}), ["g"], "x").iloc[0]
    t = (row["high"] - row["mean"]) / (s / np.sqrt(5))
    # the density of Student's t with 4 degrees of freedom is 3/8 (1 + u²/4)^(-5/2)
    below, _ = quad(lambda u: 3 / 8 * (1 + u * u / 4) ** -2.5, 0, t)
    assert row["mean"] == pytest.approx(x.sum() / 5)
    assert 0.5 + below == pytest.approx(0.975, abs=1e-9)
    assert row["mean"] - row["low"] == pytest.approx(row["high"] - row["mean"])


@equation("0.4")
def best_setting(data):
    values = {0.01: [0.7, 0.9, 0.8], 0.03: [0.9, 0.6, 0.96], 0.1: [0.5, 0.99, 0.7]}
    rows = [{"g": 0, "rate": r, "valid_accuracy": v} for r, vs in values.items() for v in vs]
    best = max(values, key=lambda rate: sum(values[rate]) / 3)
    assert choose(pd.DataFrame(rows), ["g"], "rate")["rate"].tolist() == [best]


@equation("0.5")
def interval_of_a_ratio(data):
    a, b = np.array([2.0, 3.0, 8.0]), np.array([1.0, 2.0, 2.0])
    columns = {"g": 0, "seed": [*range(3)] * 2, "of": [*"aaabbb"], "x": [*a, *b]}
    row = paired_ratio(pd.DataFrame(columns), ["g"], "x", "of", "a", "b").iloc[0]
    spread = np.exp(4.302652729911275 * np.std(np.log(a / b), ddof=1) / np.sqrt(3))
    mean = (2 * 1.5 * 4) ** (1 / 3)
    found = row["mean"], row["low"], row["high"]
    assert found == pytest.approx((mean, mean / spread, mean * spread))


@equation("1.1")
def number_of_pruned_weights(data):
    first = int(np.rint(0.3 * 254))
    amount, sparsity = first + np.rint(0.3 * (254 - first)), np.rint(0.7 * 254)
    for options, expected in (({"amount": 0.3}, amount), ({"sparsity": 0.7}, sparsity)):
        model = nn.Sequential(nn.Linear(9, 6), nn.Linear(10, 20))
        apply_global_pruning(model, sparsity=0.3)
        apply_global_pruning(model, **options)
        assert sum(int((~mask).sum()) for mask in get_masks(model).values()) == expected


@equation("1.3", "1.4")
def magnitude_and_square(data):
    w = WEIGHTS.astype(np.float64)
    np.testing.assert_array_equal(l1_score(torch.tensor(WEIGHTS)), np.abs(w))
    np.testing.assert_array_equal(l2_score(torch.tensor(WEIGHTS)), w * w)


@equation("1.2")
def pruned_set(data):
    scores = np.array([3.0, 1.0, 2.0, 1.0, 2.0, 2.0, 0.0])
    for k in range(1, len(scores) + 1):
        tau = sorted(scores)[k - 1]
        below = {i for i, s in enumerate(scores) if s < tau}
        tied = [i for i, s in enumerate(scores) if s == tau]
        expected = below | set(tied[: k - len(below)])
        assert set(lowest(torch.tensor(scores), k).nonzero().flatten().tolist()) == expected


@equation("1.5")
def lamp(data):
    w = WEIGHTS.astype(np.float64)
    ascending = sorted(range(w.size), key=lambda i: abs(w.flat[i]))
    expected = np.empty(w.size)
    for place, i in enumerate(ascending):
        expected[i] = w.flat[i] ** 2 / sum(w.flat[j] ** 2 for j in ascending[place:])
    scores = lamp_score(torch.tensor(WEIGHTS)).numpy()
    np.testing.assert_allclose(scores, expected.reshape(w.shape), rtol=1e-12)


@equation("2.1")
def distillation_loss(data):
    z, t, labels = RNG.normal(size=(7, 4)), RNG.normal(size=(7, 4)), RNG.integers(4, size=7)
    for T, alpha in ((1.0, 0.5), (3.0, 0.2), (20.0, 0.0), (0.5, 1.0)):
        log_p, log_q = log_softmax(t / T, axis=1), log_softmax(z / T, axis=1)
        divergence = (np.exp(log_p) * (log_p - log_q)).sum() / 7
        expected = alpha * cross_entropy_in_numpy(z, labels) + (1 - alpha) * T**2 * divergence
        tensors = torch.tensor(z), torch.tensor(t), torch.tensor(labels)
        assert kd_loss(*tensors, T=T, alpha=alpha).item() == pytest.approx(expected, rel=1e-12)


@equation("3.1")
def rewound_weights(data):
    layer = nn.Linear(9, 6)
    layer.weight.data = torch.tensor(WEIGHTS)
    early = snapshot(layer)
    layer.weight.data = torch.tensor(RNG.normal(size=(6, 9)), dtype=torch.float32)
    apply_global_pruning(layer, sparsity=0.5)
    mask = array(layer.weight_mask)
    weight_rewinding(layer, early)
    np.testing.assert_array_equal(array(layer.weight), WEIGHTS * mask)


def error_in_numpy(weights: list[np.ndarray], x: np.ndarray, labels: np.ndarray) -> float:
    w1, b1, w2, b2 = weights
    winners = (np.maximum(x @ w1.T + b1, 0) @ w2.T + b2).argmax(axis=1)
    return np.mean(winners != labels)


@equation("3.2")
def barrier(data):
    rng = np.random.default_rng(1)
    shapes = ((8, 5), (8,), (3, 8), (3,))
    w_a, w_b = ([rng.normal(size=shape) for shape in shapes] for _ in range(2))
    x, labels = rng.normal(size=(200, 5)), rng.integers(3, size=200)
    networks = []
    for weights in (w_a, w_b):
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double()
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            parameter.data = torch.tensor(weight)
        networks.append(model)
    ends = (error_in_numpy(w_a, x, labels) + error_in_numpy(w_b, x, labels)) / 2
    split = Split(torch.tensor(x), torch.tensor(labels))
    for points in (1, 2, 9):
        between = [
            [share * a + (1 - share) * b for a, b in zip(w_a, w_b, strict=True)]
            for share in np.arange(1, points + 1) / (points + 1)
        ]
        expected = max(error_in_numpy(weights, x, labels) for weights in between) - ends
        assert error_barrier(*networks, split, points=points) == pytest.approx(expected, abs=1e-12)


@equation("4.1")
def cosine_decay(data):
    expected = [0.5 * 0.3 * (1 + np.cos(np.pi * t / 7)) for t in range(7)]
    lrs = learning_rates(*get_finetune_optimizer(nn.Linear(1, 1), steps=7, lr=0.3), 7)
    assert lrs == pytest.approx(expected, rel=1e-9)


@equation("4.2")
def rewound_learning_rate(data):
    milestones = (0.3, 0.6, 0.9)
    for T, T0 in ((10, 10), (7, 10), (3, 20)):
        reached = [sum(T0 - T + t >= m * T0 for m in milestones) for t in range(T)]
        schedule = learning_rate_rewinding(
            nn.Linear(1, 1), T, lr=0.3, milestones=milestones, original_steps=T0
        )
        assert learning_rates(*schedule, T) == pytest.approx([0.3 / 10**n for n in reached])


@equation("5.1")
def output_of_a_masked_filter(data):
    norm = nn.BatchNorm2d(5).double()
    beta, gamma, mean, root = RNG.normal(size=(4, 5))
    values = {"bias": beta, "weight": gamma, "running_mean": mean, "running_var": root**2}
    norm.load_state_dict({n: torch.tensor(v) for n, v in values.items()}, strict=False)
    expected = beta - gamma * mean / np.sqrt(root**2 + norm.eps)
    np.testing.assert_allclose(masked_filter_output(norm), expected)
    y = norm.eval()(torch.zeros(1, 5, 2, 2).double())[0, :, 0, 0]
    np.testing.assert_allclose(array(y), expected)


@equation("5.2")
def cut_weights(data):
    model = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    w, b, v, c = map(array, model.parameters())
    kept = [0, 2, 3, 5]
    small = prune_channels(model, "0", [1, 4], torch.zeros(2, 9))
    for found, expected in zip(small.parameters(), (w[kept], b[kept], v[:, kept], c), strict=True):
        np.testing.assert_array_equal(array(found), expected)
    v[:, [1, 4]] = 0  # the readers see nothing of what went
    x = RNG.normal(size=(5, 9))
    expected = np.maximum(x @ w.T + b, 0) @ v.T + c
    np.testing.assert_allclose(array(small(torch.tensor(x))), expected, rtol=1e-12)


@equation("5.3")
def scores_of_units(data):
    for criterion in ("l1", "l2", "bn_scale"):
        test_surgery_network.test_the_lowest_of_every_group_go(criterion, 0.5)


@equation("6.1")
def permanent_weights(data):
    layer = apply_global_pruning(nn.Linear(9, 6), sparsity=0.5)
    layer.weight_orig.data = torch.tensor(WEIGHTS)
    expected = WEIGHTS * array(layer.weight_mask)
    make_pruning_permanent(layer)
    np.testing.assert_array_equal(array(layer.weight), expected)
    assert set(layer.state_dict()) == {"weight", "bias"}


@equation("6.2", "6.3")
def entropy_and_bound(data):
    for d in (0.01, 0.1, 0.3, 0.5, 0.99):
        assert binary_entropy(d) == pytest.approx(stats.entropy([d, 1 - d], base=2), rel=1e-12)
    expected = (1000 * stats.entropy([0.05, 0.95], base=2) + 32 * 50) / 8
    assert bytes_bound(1000, 50) == pytest.approx(expected, rel=1e-12)


@equation("7.1")
def sparsity(data):
    layer = nn.Linear(9, 6)
    layer.weight.data = torch.tensor(np.where(np.abs(WEIGHTS) < 0.4, 0, WEIGHTS))
    density = np.mean(np.abs(WEIGHTS) >= 0.4)
    row = check_sparsity(layer).iloc[0]
    assert row["sparsity"] == pytest.approx(1 - density, rel=1e-12)
    assert row["kept"] / row["total"] == density


@equation("7.2")
def sparse_product(data):
    layer = apply_global_pruning(nn.Linear(9, 6), sparsity=0.5)
    x = RNG.normal(size=(3, 9))
    expected = x @ (array(layer.weight_orig) * array(layer.weight_mask)).T + array(layer.bias)
    y = CSRLinear(layer)(torch.tensor(x, dtype=torch.float32))
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-4, atol=1e-5)


@equation("8.1")
def schedules(data):
    s0, sf, n = 0.2, 0.95, 6
    i = np.arange(1, n + 1)
    cubic = sf + (s0 - sf) * (1 - i / n) ** 3
    step = 1 - (1 - s0) * ((1 - sf) / (1 - s0)) ** (i / n)
    assert sparsity_schedule("cubic", sf, n, s0) == pytest.approx(cubic, rel=1e-12)
    assert sparsity_schedule("step", sf, n, s0) == pytest.approx(step, rel=1e-12)


@equation("9.1")
def recalibrated_statistics(data):
    x = RNG.normal(loc=3, scale=2, size=(24, 5))
    layer = nn.BatchNorm1d(5).double()
    recalibrate_bn(layer, torch.tensor(x), batch_size=8)
    batches = x.reshape(3, 8, 5)
    np.testing.assert_allclose(layer.running_mean, batches.mean(axis=1).mean(axis=0))
    np.testing.assert_allclose(layer.running_var, batches.var(axis=1, ddof=1).mean(axis=0))


@equation("10.1")
def norms_of_filters(data):
    w = RNG.normal(size=(5, 3, 2, 2)).astype(np.float32)
    for criterion, p in (("l1", 1), ("l2", 2)):
        expected = np.linalg.norm(w.astype(np.float64).reshape(5, 12), ord=p, axis=1)
        norms = filter_norms(torch.tensor(w), criterion)
        np.testing.assert_allclose(norms, expected, rtol=1e-12)


@equation("10.2")
def penalties(data):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(9, 6)).double()
    apply_global_pruning(model, sparsity=0.4, exclude="0")
    masked = array(model[2].weight_orig) * array(model[2].weight_mask)
    w = np.concatenate([array(model[0].weight).ravel(), masked.ravel()])
    assert weight_penalty(model, "l1").item() == pytest.approx(np.abs(w).sum(), rel=1e-12)
    assert weight_penalty(model, "l2").item() == pytest.approx((w**2).sum() / 2, rel=1e-12)


@equation("11.1")
def weights_left_after_rounds(data):
    model, rates = nn.Sequential(nn.Linear(9, 6), nn.Linear(6, 7)), {"0": 0.2, "1": 0.1}
    left = {"0": 54, "1": 42}
    for _ in range(3):
        prune_round(model, rates)
        left = {name: n - int(np.rint(rates[name] * n)) for name, n in left.items()}
        assert {name: int(mask.sum()) for name, mask in get_masks(model).items()} == left


@equation("11.2")
def first_lowest_validation_loss(data):
    losses = RNG.integers(0, 4, size=40) / 4
    history = pd.DataFrame({"step": 100 * np.arange(40), "split": "valid", "loss": losses})
    assert early_stop(history) == 100 * min(i for i in range(40) if losses[i] == min(losses))


@equation("11.3")
def gradient_of_a_masked_network(data):
    test_lottery.test_gradient_is_that_of_autograd(data, rounds=10)


@equation("14.1")
def scores_of_supermasks(data):
    before, after = RNG.normal(size=(2, 6, 9))
    scores = {
        "large final": np.abs(after),
        "large final, same sign": after * np.sign(before),
        "magnitude increase": np.abs(after) - np.abs(before),
    }
    states = [{"a.weight": torch.tensor(w)} for w in (before, after)]
    for criterion, values in scores.items():
        for count in (0, 1, 20, 54):
            highest = np.argsort(values, axis=None)[54 - count :]
            mask = supermask(*states, {"a": count}, criterion)["a"]
            assert mask.shape == (6, 9)
            assert set(mask.flatten().nonzero().flatten().tolist()) == set(highest)


@equation("15.1")
def folded_batchnorm(data):
    conv, norm = nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6, eps=0.1)
    model = nn.Sequential(conv, norm).double()
    gamma, beta, mean, root = RNG.normal(size=(4, 6))
    values = {"weight": gamma, "bias": beta, "running_mean": mean, "running_var": root**2}
    norm.load_state_dict({n: torch.tensor(v) for n, v in values.items()}, strict=False)
    folded = fold_batchnorm(model, torch.zeros(1, 4, 3, 3).double())[0]
    factor = gamma / np.sqrt(root**2 + 0.1)
    weight = array(conv.weight) * factor[:, None, None, None]
    np.testing.assert_allclose(array(folded.weight), weight, rtol=1e-12)
    bias = beta + factor * (array(conv.bias) - mean)
    np.testing.assert_allclose(array(folded.bias), bias, rtol=1e-12)


@equation("15.2")
def numbers_of_8_bits(data):
    x = RNG.normal(size=(20, 30))
    for low, high in ((-1.3, 2.1), (0, 2.5), (-0.7, 0)):
        scale = (high - low) / 255
        zero = np.rint(-low / scale)
        q = np.clip(np.rint(x / scale) + zero, 0, 255)
        found = array(rounded(torch.tensor(x), low, high))
        np.testing.assert_allclose(found, scale * (q - zero), rtol=1e-12, atol=1e-15)


@equation("17.1")
def attention(data):
    half = Attention(width=6, heads=2).double()
    h = RNG.normal(size=(1, 5, 6))
    centered = h[0] - h[0].mean(axis=1, keepdims=True)
    normed = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + half.norm.eps)
    q, k, v = np.split(normed @ array(half.qkv.weight).T, 3, axis=1)
    found = np.zeros((5, 6))
    for head in (slice(0, 3), slice(3, 6)):
        for t in range(5):
            a = np.exp(k[: t + 1, head] @ q[t, head] / np.sqrt(3))
            found[t, head] = a @ v[: t + 1, head] / a.sum()
    expected = h[0] + found @ array(half.out.weight).T
    np.testing.assert_allclose(array(half(torch.tensor(h)))[0], expected, rtol=1e-9)


@equation("17.2")
def bits_of_a_character(data):
    p = RNG.uniform(0.01, 1, size=50)
    assert bits(np.mean(-np.log(p))) == pytest.approx(np.mean(-np.log2(p)), rel=1e-12)
    assert bits(np.log(96)) == pytest.approx(6.58, abs=5e-3)


@equation("17.3", "17.4")
def wanda(data):
    layer, x = nn.Linear(9, 6).double(), RNG.normal(size=(4, 5, 9))
    (gram,) = input_grams(layer, {"it": layer}, torch.tensor(x)).values()
    rows = x.reshape(20, 9)
    np.testing.assert_allclose(gram, sum(np.outer(row, row) for row in rows), rtol=1e-12)
    expected = np.abs(WEIGHTS.astype(np.float64)) * np.linalg.norm(rows, axis=0)
    np.testing.assert_allclose(wanda_score(torch.tensor(WEIGHTS), gram), expected, rtol=1e-12)


@equation("17.5")
def pattern_of_n_in_m(data):
    scores = RNG.integers(0, 4, size=(7, 12)).astype(float)
    for n, m in ((2, 4), (1, 3), (0, 2), (6, 6), (5, 12)):
        kept = n_of_m(torch.tensor(scores), n, m).numpy()
        for i, g in product(range(7), range(12 // m)):
            group = scores[i, m * g : m * g + m]
            first_to_go = sorted(range(m), key=lambda j, group=group: (group[j], j))
            assert set(np.flatnonzero(kept[i, m * g : m * g + m])) == {*first_to_go[m - n :]}


@equation("17.6")
def column_by_column(data):
    w, x = RNG.normal(size=(4, 10)), RNG.normal(size=(30, 10)) + RNG.normal(size=(30, 1))
    gram = x.T @ x
    damped = gram + 0.03 * np.trace(gram) / 10 * np.eye(10)
    # the factor by hand: the row of j is that of the inverse of what is left, over a root
    factor = np.zeros((10, 10))
    for j in range(10):
        inverse = np.linalg.inv(damped[j:, j:])
        factor[j, j:] = inverse[0] / np.sqrt(inverse[0, 0])
    np.testing.assert_allclose(factor.T @ factor, np.linalg.inv(damped))
    scores = (w / np.diag(factor)) ** 2
    gone = scores <= np.sort(scores, axis=None)[23]
    expected = w.copy()
    for i, j in product(range(4), range(10)):
        if gone[i, j]:
            expected[i] -= expected[i, j] / factor[j, j] * factor[j]
    found, kept = sparsegpt(
        *map(torch.tensor, (w, gram, ~np.zeros_like(gone))), sparsity=0.6, damping=0.03
    )
    np.testing.assert_array_equal(kept, ~gone)
    np.testing.assert_allclose(found, expected * ~gone, atol=1e-12)


def documented_numbers() -> Iterator[tuple[str, str]]:
    """Each equation number in the docstring of a public function or class, with its owner."""
    for info in pkgutil.walk_packages(prunelab.__path__, "prunelab."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            is_public = not name.startswith("_") and callable(value)
            if is_public and getattr(value, "__module__", None) == info.name:
                for number in re.findall(r"\\tag\{(.+?)\}", inspect.getdoc(value) or ""):
                    yield number, f"{info.name}.{name}"


@equation("16.1", "16.2")
def scores_before_training(data):
    """By hand, for one linear layer: p − y is the gradient at the outputs."""
    x = RNG.normal(size=(7, 5))
    y = RNG.integers(3, size=7)
    model = nn.Linear(5, 3, bias=False).double()
    w, split = array(model.weight), Split(torch.tensor(x), torch.tensor(y))

    def gradient(weights, temperature=1.0):
        p = np.exp(log_softmax(x @ weights.T / temperature, axis=1))
        return (p - np.eye(3)[y]).T @ x / (7 * temperature)

    named = nn.Sequential(model)
    np.testing.assert_allclose(snip_scores(named, split)["0"], abs(w * gradient(w)), rtol=1e-10)
    g, small = gradient(w, 2.0), 1e-5
    towards = (gradient(w + small * g, 2.0) - gradient(w - small * g, 2.0)) / (2 * small)
    scores = grasp_scores(named, split, T=2.0)["0"]
    np.testing.assert_allclose(scores, w * towards, rtol=1e-6, atol=1e-12)


@equation("16.3", "16.4")
def flow_of_weights(data):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    w1, b1, w2, _b2 = (np.abs(array(p)) for p in model.parameters())
    hidden = w1 @ np.ones(4) + b1
    flow = {"0": np.outer(w2.sum(axis=0), np.ones(4)) * w1, "2": hidden * w2}
    scores = synflow_scores(model, torch.zeros(1, 4))
    for name, expected in flow.items():
        np.testing.assert_allclose(scores[name], expected, rtol=1e-12)
    twin = lenet300(seed=0)
    apply_synflow(twin, 0.9, torch.zeros(1, 1, 28, 28), rounds=3)
    step = lenet300(seed=0)
    for share in (1 - 0.1 ** (1 / 3), 1 - 0.1 ** (2 / 3), 0.9):
        scores = synflow_scores(step, torch.zeros(1, 1, 28, 28))
        apply_global_pruning(step, sparsity=share, criterion=scores)
    assert all(torch.equal(get_masks(twin)[n], mask) for n, mask in get_masks(step).items())


@equation("16.5")
def densities_of_layers(data):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, (1, 5)), nn.Linear(500, 30))
    sizes = np.array([36, 160, 15000])
    raw = np.array([(1 + 4 + 6) / 36, (4 + 8 + 6) / 160, 530 / 15000])
    low, high = 0.0, 1e3
    for _ in range(200):  # the same epsilon by bisection
        middle = (low + high) / 2
        total = (np.minimum(1, middle * raw) * sizes).sum()
        low, high = (middle, high) if total < 0.1 * sizes.sum() else (low, middle)
    expected = np.minimum(1, low * raw)
    np.testing.assert_allclose([*erk_densities(model, 0.1).values()], expected, rtol=1e-9)


@equation("16.6", "16.7")
def masks_that_move(data):
    layer = nn.Linear(9, 6, bias=False)
    layer.weight.data = torch.tensor(WEIGHTS)
    apply_global_pruning(nn.Sequential(layer), sparsity=0.5)
    kept, wish = array(layer.weight_mask) > 0, RNG.random((6, 9))
    k = round(0.3 * 27)
    drop = np.sort(np.abs(WEIGHTS.astype(np.float64))[kept])[:k]
    grow = np.sort(wish[~kept])[-k:]
    grown = regrow(layer, 0.3, torch.tensor(wish)).numpy()
    np.testing.assert_array_equal(np.sort(wish[grown]), grow)
    gone = kept & ~(array(layer.weight_mask) > 0)
    np.testing.assert_allclose(np.sort(np.abs(WEIGHTS)[gone]), drop, rtol=1e-6)

    shares, moving = [], importlib.import_module("prunelab.engines.moving_masks")
    model = apply_global_pruning(lenet300(seed=0), sparsity=0.9)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            moving, "_move", lambda model, optimizer, share, *_, **__: shares.append(share)
        )
        fit_sparse(model, data, steps=10, optimizer=optimizer, every=2, until=0.8, progress=False)
    expected = [0.15 * (1 + np.cos(np.pi * t / 8)) for t in (2, 4, 6)]
    np.testing.assert_allclose(shares, expected)


@pytest.mark.parametrize("number", EQUATIONS)
def test_equation(number, data):
    EQUATIONS[number](data)


def test_every_documented_equation_is_tested_and_no_number_is_used_twice():
    numbers = sorted(number for number, _ in documented_numbers())
    assert numbers == sorted(EQUATIONS), sorted(documented_numbers())
