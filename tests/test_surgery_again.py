"""A network is followed in both modes; what a rule has found out in one it is not asked again."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.channels import rules
from prunelab.channels.again import Memory, Unknown
from prunelab.channels.plan import CannotCut, Plan
from prunelab.models import resnet20, small_convnet
from tests.surgery_cases import chain, image
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
    model = build()
    kind = {"conv2d": nn.Conv2d, "batch_norm": nn.BatchNorm2d}.get(name)
    layers = sum(isinstance(module, kind) for module in model.modules()) if kind else None
    calls = asked(monkeypatch, name, model, X)
    assert calls == layers if kind else calls > 0


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
