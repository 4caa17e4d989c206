"""A network is followed in both modes; what a rule has found out in one it is not asked again."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.channels import rules
from prunelab.channels.again import Memory, Unknown
from prunelab.channels.plan import CannotCut, Plan
from prunelab.models import resnet20, small_convnet
from prunelab.surgery import prune_network
from tests.surgery_cases import Net, chain, image
from tests.surgery_oracle import assert_exact, randomize
from tests.test_surgery import CASES

X = image(1, 28).float()


def forgets(*_):
    raise Unknown


def findings(case, monkeypatch, with_memory: bool):
    """The unit of every tag, and the units that stay; or why the network can't be followed."""
    with monkeypatch.context() as patch:
        if not with_memory:
            patch.setattr(Memory, "_key", forgets)
        try:
            plan = Plan(case.build(), case.inputs)
        except CannotCut as error:
            return str(error)
    return plan.unit.tolist(), set(plan.stays)


@pytest.mark.parametrize("name", CASES)
def test_the_same_channels_go_together_as_without_a_memory(name, monkeypatch):
    case = CASES[name]
    assert findings(case, monkeypatch, True) == findings(case, monkeypatch, False)


def asked(monkeypatch, name: str, model: nn.Module, x: torch.Tensor) -> int:
    """How often following a network asks the rule of an operation."""
    rule, calls = rules.RULES[name], []

    def counted(*args, **kwargs):
        calls.append(args)
        return rule(*args, **kwargs)

    monkeypatch.setitem(rules.RULES, name, counted)
    Plan(model, x)
    return len(calls)


@pytest.mark.parametrize("build", [small_convnet, resnet20])
@pytest.mark.parametrize("name", ["conv2d", "batch_norm", "relu"])
def test_a_rule_is_asked_once_for_both_modes(build, name, monkeypatch):
    once = asked(monkeypatch, name, build(), X)
    monkeypatch.setattr(Memory, "_key", forgets)
    assert asked(monkeypatch, name, build(), X) == 2 * once > 0


def test_numbers_that_change_are_asked_again(monkeypatch):
    def turned(m, x):
        m.order = m.order.roll(1)
        return m.out(m.a(x).index_select(2, m.order))

    model = chain(turned)
    model.register_buffer("order", torch.arange(6))
    assert asked(monkeypatch, "index_select", model, image().float()) == 2
    still = chain(lambda m, x: m.out(m.a(x).index_select(2, m.order)))
    still.register_buffer("order", torch.arange(6))
    assert asked(monkeypatch, "index_select", still, image().float()) == 1


def test_what_moves_in_place_moves_in_both_modes(monkeypatch):
    def turned(m, x):
        y = m.a(x)
        y.transpose_(2, 3)
        assert y.shape[2:] == (6, 4)
        return m.out(F.relu(y))

    assert asked(monkeypatch, "transpose", chain(turned), image()[..., :4, :].float()) == 2


def test_a_product_is_not_taken_for_the_square_of_one_of_its_factors():
    def normalized(m, x):
        y = m.a(x)
        centered, positive = y - y.mean(1, keepdim=True), y.relu()
        other = positive - positive.mean(1, keepdim=True)
        variance = (centered * centered).mean(1, keepdim=True)
        covariance = (centered * other).mean(1, keepdim=True)
        return m.out(centered / (covariance + 1e-5).sqrt() + 0 * variance)

    with pytest.raises(CannotCut, match="enters `mean`, which may mix channels"):
        prune_network(chain(normalized), 0.5, image().float())


def linear(bias: torch.Tensor, x: torch.Tensor) -> tuple[nn.Module, torch.Tensor]:
    run = lambda m, x: m.out(F.linear(m.a(x), m.w, m.b))  # noqa: E731
    layers = {"a": nn.Linear(6, 12), "out": nn.Linear(8, 2)}
    parameters = {"w": nn.Parameter(torch.randn(8, 12)), "b": nn.Parameter(bias)}
    return randomize(Net(run, **layers, **parameters)), x.double()


@pytest.mark.parametrize("shape", [(8,), (1, 8), (5, 8)])
def test_a_bias_of_another_shape_is_cut(shape):
    model, x = linear(torch.randn(shape), torch.randn(5, 6))
    small = prune_network(model, 0.5, x)
    assert small.b.shape == (*shape[:-1], 4)
    assert_exact(model, small, x, reads={"w": 1})


def test_a_bias_that_torch_refuses_is_refused():
    model, x = linear(torch.randn(1, 1, 8), torch.randn(2, 5, 6))
    with pytest.raises(CannotCut, match="the forward can't be followed"):
        prune_network(model, 0.5, x)


def test_a_layer_of_a_graph_network_with_sparse_neighbors_is_cut():
    def mixed(m, x):
        return m.out(torch.mm(m.graph, m.a(x)))

    model, x = Net(mixed, a=nn.Linear(6, 8), out=nn.Linear(8, 2)), torch.randn(5, 6).double()
    randomize(model).graph = (torch.rand(5, 5) < 0.5).double().to_sparse()
    small = prune_network(model, 0.5, x)
    assert small.a.out_features == 4
    assert_exact(model, small, x)


def test_an_empty_dictionary_keeps_what_was_noted_on_it():
    model = chain(lambda m, x: m.out(m.a(x) * m.notes.scale))
    model.notes = OrderedDict()
    model.notes.scale = 3
    assert prune_network(model, 0.5, image().float()).notes.scale == 3
