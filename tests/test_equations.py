"""Every numbered equation of a docstring agrees with an independent float64 evaluation of it."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from torch import nn

import prunelab
from prunelab.batchnorm import recalibrate_bn
from prunelab.data import Split
from prunelab.distillation import kd_loss
from prunelab.engines.masked_mlp import MaskedMLP
from prunelab.filters import filter_norms, weight_penalty
from prunelab.finetuning import get_finetune_optimizer, learning_rate_rewinding
from prunelab.gradual import sparsity_schedule
from prunelab.intervals import choose, mean_interval, paired_ratio
from prunelab.lottery import early_stop, prune_round, supermask
from prunelab.masks import get_masks, make_pruning_permanent
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning, l1_score, l2_score, lamp_score, lowest
from prunelab.rewinding import error_barrier, snapshot, weight_rewinding
from prunelab.sparsity import CSRLinear, binary_entropy, bytes_bound, check_sparsity
from prunelab.surgery import masked_filter_output, prune_channels, prune_network
from prunelab.training import evaluate, fit, shuffled_batches
from tests.helpers import learning_rates

EQUATIONS = {}
RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(6, 9)).astype(np.float32)
WEIGHTS[0, :4] = [0.5, -0.5, 0.5, 0.0]


def equation(number: str):
    def register(check):
        assert number not in EQUATIONS
        EQUATIONS[number] = check
        return check

    return register


def lenet300_in_numpy(model: nn.Module, x: torch.Tensor) -> np.ndarray:
    h = x.flatten(1).double().numpy()
    for name in ("fc1", "fc2", "fc3"):
        layer = model.get_submodule(name)
        h = h @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()
        h = np.maximum(h, 0) if name != "fc3" else h
    return h


def cross_entropy_in_numpy(scores: np.ndarray, labels: np.ndarray) -> float:
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return -np.mean([np.log(p[y]) for p, y in zip(softmax, labels, strict=True)])


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
    best, most = None, -np.inf
    for rate, of_rate in values.items():
        if sum(of_rate) / 3 > most:
            best, most = rate, sum(of_rate) / 3
    assert choose(pd.DataFrame(rows), ["g"], "rate")["rate"].tolist() == [best]


@equation("0.5")
def interval_of_a_ratio(data):
    a, b = np.array([2.0, 3.0, 8.0]), np.array([1.0, 2.0, 2.0])
    rows = [
        {"g": 0, "seed": i, "of": name, "x": x}
        for name, values in (("a", a), ("b", b))
        for i, x in enumerate(values)
    ]
    row = paired_ratio(pd.DataFrame(rows), ["g"], "x", "of", "a", "b").iloc[0]
    spread = 4.302652729911275 * np.std(np.log(a / b), ddof=1) / np.sqrt(3)
    mean = (2 * 1.5 * 4) ** (1 / 3)
    assert row["mean"] == pytest.approx(mean)
    assert (row["low"], row["high"]) == pytest.approx(
        (mean / np.exp(spread), mean * np.exp(spread))
    )


@equation("1.1")
def number_of_pruned_weights(data):
    first = int(np.rint(0.3 * 254))
    for options, expected in (
        ({"amount": 0.3}, first + np.rint(0.3 * (254 - first))),
        ({"sparsity": 0.7}, np.rint(0.7 * 254)),
    ):
        model = nn.Sequential(nn.Linear(9, 6), nn.Linear(10, 20))
        apply_global_pruning(model, sparsity=0.3)
        apply_global_pruning(model, **options)
        pruned = sum(int((~mask).sum()) for mask in get_masks(model).values())
        assert pruned == expected


@equation("1.2")
def pruned_set(data):
    scores = np.array([3.0, 1.0, 2.0, 1.0, 2.0, 2.0, 0.0])
    for k in range(1, len(scores) + 1):
        tau = sorted(scores)[k - 1]
        below = {i for i, s in enumerate(scores) if s < tau}
        tied = [i for i, s in enumerate(scores) if s == tau]
        expected = below | set(tied[: k - len(below)])
        assert set(lowest(torch.tensor(scores), k).nonzero().flatten().tolist()) == expected


@equation("1.3")
def magnitude(data):
    expected = np.where(WEIGHTS < 0, -WEIGHTS, WEIGHTS)
    np.testing.assert_array_equal(l1_score(torch.tensor(WEIGHTS)).numpy(), expected)


@equation("1.4")
def square(data):
    w = WEIGHTS.astype(np.float64)
    np.testing.assert_array_equal(l2_score(torch.tensor(WEIGHTS)).numpy(), w * w)


@equation("1.5")
def lamp(data):
    w = WEIGHTS.astype(np.float64)
    ascending = sorted(range(w.size), key=lambda i: abs(w.flat[i]))
    expected = np.empty(w.size)
    for place, i in enumerate(ascending):
        expected[i] = w.flat[i] ** 2 / sum(w.flat[j] ** 2 for j in ascending[place:])
    scores = lamp_score(torch.tensor(WEIGHTS)).numpy()
    np.testing.assert_allclose(scores, expected.reshape(w.shape), rtol=1e-12)


def softmax_in_numpy(scores: np.ndarray) -> np.ndarray:
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


@equation("2.1")
def distillation_loss(data):
    z, t, labels = RNG.normal(size=(7, 4)), RNG.normal(size=(7, 4)), RNG.integers(4, size=7)
    for T, alpha in ((1.0, 0.5), (3.0, 0.2), (20.0, 0.0), (0.5, 1.0)):
        p, q = softmax_in_numpy(t / T), softmax_in_numpy(z / T)
        divergence = sum((p[b] * np.log(p[b] / q[b])).sum() for b in range(7)) / 7
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
    mask = layer.weight_mask.numpy().copy()
    weight_rewinding(layer, early)
    expected = WEIGHTS.astype(np.float64) * mask
    np.testing.assert_array_equal(layer.weight.detach().numpy(), expected)


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
    norm = nn.BatchNorm2d(5)
    beta, gamma, mean, variance = RNG.normal(size=(4, 5))
    variance = variance**2
    for tensor, values in zip(
        (norm.bias.data, norm.weight.data, norm.running_mean, norm.running_var),
        (beta, gamma, mean, variance),
        strict=True,
    ):
        tensor.copy_(torch.tensor(values))
    expected = [beta[c] - gamma[c] * mean[c] / np.sqrt(variance[c] + norm.eps) for c in range(5)]
    np.testing.assert_allclose(masked_filter_output(norm).numpy(), expected, rtol=1e-5)
    y = norm.eval()(torch.zeros(1, 5, 2, 2))[0, :, 0, 0]
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-5)


@equation("5.2")
def cut_weights(data):
    model = nn.Sequential(nn.Linear(9, 6), nn.ReLU(), nn.Linear(6, 4)).double()
    w, b, v = (p.detach().numpy().copy() for p in list(model.parameters())[:3])
    small = prune_channels(model, "0", [1, 4], torch.zeros(2, 9))
    kept = [0, 2, 3, 5]
    np.testing.assert_array_equal(small[0].weight.detach().numpy(), [w[i] for i in kept])
    np.testing.assert_array_equal(small[0].bias.detach().numpy(), [b[i] for i in kept])
    rows = [[row[i] for i in kept] for row in v]
    np.testing.assert_array_equal(small[2].weight.detach().numpy(), rows)
    x = RNG.normal(size=(5, 9))
    v[:, [1, 4]] = 0  # the readers see nothing of what went
    expected = np.maximum(x @ w.T + b, 0) @ v.T + model[2].bias.detach().numpy()
    np.testing.assert_allclose(small(torch.tensor(x)).detach().numpy(), expected, rtol=1e-12)


class _Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.n, self.out = (
            nn.Linear(9, 6),
            nn.Linear(6, 6),
            nn.BatchNorm1d(6),
            nn.Linear(6, 4),
        )

    def forward(self, x):
        return self.out(self.a(x) + self.n(self.b(self.a(x))))


@equation("5.3")
def scores_of_units(data):
    model = _Residual()
    model.n.weight.data = torch.tensor(RNG.normal(size=6), dtype=torch.float32)
    filters = [layer.weight.detach().double().numpy() for layer in (model.a, model.b)]
    gamma = model.n.weight.detach().double().numpy()
    scores = {
        "l1": [sum(sum(abs(w[u])) for w in filters) for u in range(6)],
        "l2": [sum(sum(w[u] ** 2) ** 0.5 for w in filters) for u in range(6)],
        "bn_scale": [abs(gamma[u]) for u in range(6)],
    }
    for criterion, s in scores.items():
        kept = sorted(sorted(range(6), key=lambda u, s=s: s[u])[2:])
        small = prune_network(model, 1 / 3, torch.zeros(2, 9), criterion)
        assert small.kept_channels["a.weight"][0].tolist() == kept


@equation("6.1")
def permanent_weights(data):
    layer = apply_global_pruning(nn.Linear(9, 6), sparsity=0.5)
    layer.weight_orig.data = torch.tensor(WEIGHTS)
    expected = WEIGHTS.astype(np.float64) * layer.weight_mask.numpy()
    make_pruning_permanent(layer)
    np.testing.assert_array_equal(layer.weight.detach().numpy(), expected)
    assert set(layer.state_dict()) == {"weight", "bias"}


def entropy_in_numpy(d: float) -> float:
    return -sum(p * np.log(p) / np.log(2) for p in (d, 1 - d))


@equation("6.2")
def entropy(data):
    for d in (0.01, 0.1, 0.3, 0.5, 0.99):
        assert binary_entropy(d) == pytest.approx(entropy_in_numpy(d), rel=1e-12)


@equation("6.3")
def bound(data):
    expected = (1000 * entropy_in_numpy(0.05) + 32 * 50) / 8
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
    w, mask = layer.weight_orig.detach().double().numpy(), layer.weight_mask.numpy()
    b = layer.bias.detach().double().numpy()
    expected = [
        [b[i] + sum(w[i, j] * row[j] for j in range(9) if mask[i, j]) for i in range(6)]
        for row in x
    ]
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
    layer = nn.BatchNorm1d(5)
    recalibrate_bn(layer, torch.tensor(x, dtype=torch.float32), batch_size=8)
    batches = [x[0:8], x[8:16], x[16:24]]
    mean = sum(batch.sum(axis=0) / 8 for batch in batches) / 3
    variance = sum(((b - b.sum(axis=0) / 8) ** 2).sum(axis=0) / 7 for b in batches) / 3
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)


@equation("10.1")
def norms_of_filters(data):
    w = RNG.normal(size=(5, 3, 2, 2)).astype(np.float32)
    rows = w.astype(np.float64).reshape(5, 12)
    for criterion, p in (("l1", 1), ("l2", 2)):
        expected = [sum(abs(weight) ** p for weight in row) ** (1 / p) for row in rows]
        norms = filter_norms(torch.tensor(w), criterion).numpy()
        np.testing.assert_allclose(norms, expected, rtol=1e-12)


@equation("10.2")
def penalties(data):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Linear(9, 6)).double()
    apply_global_pruning(model, sparsity=0.4, exclude="0")
    w = [*model[0].weight.detach().numpy().flat]
    w += [*(model[2].weight_orig.detach().numpy() * model[2].weight_mask.numpy()).flat]
    r1, r2 = sum(abs(weight) for weight in w), sum(weight**2 for weight in w) / 2
    assert weight_penalty(model, "l1").item() == pytest.approx(r1, rel=1e-12)
    assert weight_penalty(model, "l2").item() == pytest.approx(r2, rel=1e-12)


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
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    for _ in range(6):
        prune_round(model, {"0": 0.2, "2": 0.1})
    x, y = RNG.normal(size=(7, 5)), RNG.integers(0, 4, size=7)
    network = MaskedMLP(model)
    split = network.reduced(Split(torch.tensor(x), torch.tensor(y)))
    network.differentiate(split.x, torch.eye(4).double()[split.y])

    def loss(parameters: np.ndarray) -> float:
        sizes = [t.numel() for t in network.weights + network.biases]
        w1, w2, b1, b2 = np.split(parameters, np.cumsum(sizes)[:-1])
        m1, m2 = (mask.numpy() for mask in network.masks)
        hidden = np.maximum(split.x.numpy() @ (w1.reshape(m1.shape) * m1).T + b1, 0)
        return cross_entropy_in_numpy(hidden @ (w2.reshape(m2.shape) * m2).T + b2, y)

    at = network.parameters.numpy().copy()
    steps = 1e-6 * np.eye(len(at))
    slopes = [(loss(at + step) - loss(at - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(network.parameters.grad.numpy(), slopes, atol=1e-8)


@equation("11.4")
def scores_of_supermasks(data):
    before, after = RNG.normal(size=(2, 6, 9))
    scores = {
        "large final": [abs(after[i]) for i in np.ndindex(6, 9)],
        "large final, same sign": [
            after[i] if before[i] > 0 else -after[i] for i in np.ndindex(6, 9)
        ],
        "magnitude increase": [abs(after[i]) - abs(before[i]) for i in np.ndindex(6, 9)],
    }
    states = [{"a.weight": torch.tensor(w)} for w in (before, after)]
    for criterion, values in scores.items():
        for count in (0, 1, 20, 54):
            highest = sorted(range(54), key=lambda i: values[i])[54 - count :]
            mask = supermask(*states, {"a": count}, criterion)["a"].flatten()
            assert set(mask.nonzero().flatten().tolist()) == set(highest)


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


@pytest.mark.parametrize("number", EQUATIONS)
def test_equation(number, data):
    EQUATIONS[number](data)


def test_every_documented_equation_is_tested_and_no_number_is_used_twice():
    numbers = sorted(number for number, _ in documented_numbers())
    assert numbers == sorted(EQUATIONS), sorted(documented_numbers())
