"""What the tests of several rooms share: states compared, and calls that must leave no trace."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def state(model: nn.Module) -> State:
    """A copy of all parameters and buffers, by the names they have now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a: State, b: State) -> bool:
    """Whether two states, or two sets of masks, have the same names and are equal to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def modes(model: nn.Module) -> list[bool]:
    """Which modules are in training mode."""
    return [module.training for module in model.modules()]


@contextmanager
def left_as_it_was(*models: nn.Module) -> Iterator[None]:
    """Fail if layers, state, hooks, modes, parameter objects or gradients have changed inside.

    Afterwards the models must be copyable too.
    """

    def condition(model: nn.Module) -> list:
        hooks = [list(module._forward_pre_hooks.values()) for module in model.modules()]
        parameters = [(id(p), p.requires_grad, p.grad is None) for p in model.parameters()]
        return [repr(model), hooks, modes(model), parameters]

    before = [(state(model), condition(model)) for model in models]
    yield
    for model, (tensors, expected) in zip(models, before, strict=True):
        after = model.state_dict()
        assert after.keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, equal_nan=True)
        assert condition(model) == expected
        copy.deepcopy(model)


@contextmanager
def random_state_left_alone() -> Iterator[None]:
    """Fail if torch's global random state has changed inside."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def network(*weights) -> nn.Sequential:
    """Linear layers of the given weights; they need not fit one another."""
    layers = []
    for weight in weights:
        weight = torch.as_tensor(weight, dtype=torch.float32)
        layers.append(nn.Linear(weight.shape[1], weight.shape[0], bias=False))
        layers[-1].weight.data.copy_(weight)
    return nn.Sequential(*layers)


def random_network(seed: int = 0) -> nn.Sequential:
    """From 20 numbers to 20 by 1,200 weights in two layers."""
    generator = torch.Generator().manual_seed(seed)
    return network(*(torch.randn(shape, generator=generator) for shape in ((30, 20), (20, 30))))


def train_a_step(model: nn.Module, *shape: int, lr: float = 0.1) -> None:
    """One step of SGD on random inputs; the model stays in training mode."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()(x).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def is_subset(smaller: State, larger: State) -> bool:
    """Whether every weight that the first masks keep is kept by the second ones."""
    return all((larger[name] | ~smaller[name]).all() for name in larger)


def learning_rates(optimizer, scheduler, steps: int) -> list[float]:
    """The learning rate of each step."""
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return rates
