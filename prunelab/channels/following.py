"""Runs a network's own forward on tags, and gives every operation to its rule.

A `TorchFunctionMode` sees each call of torch. Questions about shapes are answered, questions about
values are refused, and everything else goes to `rules`.
"""

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from prunelab.channels.findings import CannotFollow, Findings
from prunelab.channels.rules import RESIZED, RULES, no_rule, operation_name
from prunelab.channels.tags import INPUT, Tags, along, as_tags, filled, hollow, tags_in


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUESTIONS = _names(
    """size dim ndimension numel nelement stride is_contiguous is_complex is_nested get_device
    element_size __len__ assert"""
)
VALUES = _names("__bool__ __int__ __float__ __index__ __array__ item tolist numpy nonzero unique")


def follow(model: nn.Module, found: Findings, arguments: tuple[tuple, dict]) -> None:
    """Run the forward on tags, in evaluation and in training mode; its outputs may not go.

    Args:
        model: the network, a `twin` of the user's.
        found: the findings about this network, which grow.
        arguments: what its forward takes, by position and by name.
    """

    def enter(value):
        is_input = isinstance(value, Tensor) and value.is_floating_point()
        return as_tags(filled(INPUT, value.shape)) if is_input else value

    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and not module.state_dict():
            module.register_forward_pre_hook(partial(_count_features, found, name))
    for training in (False, True):
        model.train(training)
        positional, named = tree_map(enter, arguments)
        found.met.clear()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), FollowTags(found):
            torch.default_generator.manual_seed(0)
            outputs = model(*positional, **named)
        for tags in tags_in(outputs):
            found.fix(tags, "is the model's output")


def _count_features(found: Findings, name: str, module: nn.Module, inputs: tuple) -> None:
    """A normalization without any tensor still says how many channels it expects."""
    with torch._C.DisableTorchFunction():
        tags = found.tags(inputs[0])
        counted = found.named_axis(f"{name}.num_features", 0, tags.shape[1:2])
        found.tie(along(counted, 1, tags.dim()), tags)


class FollowTags(TorchFunctionMode):
    """While it is active, operations on tags tell `found` what they do with channels."""

    def __init__(self, found: Findings):
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, found = kwargs or {}, self.found
        name = operation_name(func)
        leaves = tree_leaves((args, kwargs))
        tags = [t for t in leaves if isinstance(t, Tags)]
        parameters = [t for t in leaves if found.is_parameter(t)]
        if name in QUESTIONS or not (tags or parameters):
            return func(*args, **kwargs)
        if name == "__get__":
            return _attribute(found, func, args[0])
        if name == "is_floating_point":
            return True
        if name in VALUES:
            if tags:
                raise ValueError(f"it depends on the values of a tensor (calls `{name}`)")
            found.give_up(found.names[id(parameters[0])], f"is read by `{name}`")
            return func(*args, **kwargs)
        if name.startswith("new_") or name.endswith("_like"):
            return func(*tree_map(hollow("cpu"), args), **kwargs)
        found.met.append(tags)
        found.step(name, [] if name in RESIZED else _numbers(found, leaves))
        try:
            if name in RULES:
                return RULES[name](found, func, *args, **kwargs)
            return no_rule(found, func, args, kwargs)
        except CannotFollow:
            raise
        except Exception as error:
            return no_rule(found, func, args, kwargs, f"enters `{name}`, which fails: {error}")


def _attribute(found: Findings, get: Callable, tensor: Tensor):
    """An attribute of a tensor, such as `x.shape`, `x.T` or `x.dtype`."""
    if get.__self__ is Tensor.dtype:
        return found.dtype if isinstance(tensor, Tags) else get(tensor)
    value = get(tensor)
    is_data = torch.is_tensor(value) and get.__self__ is not Tensor.grad
    return as_tags(get(found.tags(tensor))) if is_data else value


def _numbers(found: Findings, leaves: list) -> list:
    """The numbers among the arguments of an operation; a plain tensor may be one, too."""
    plain = [t for t in leaves if torch.is_tensor(t) and not isinstance(t, Tags)]
    plain = [t for t in plain if t.numel() == 1 and not (found.is_parameter(t) or t.is_meta)]
    return [v for v in leaves if isinstance(v, int | float)] + [t.item() for t in plain]


# --- what a network is followed with -------------------------------------------------------------


def twin(model: nn.Module) -> nn.Module:
    """A copy to run on tags, which live on the CPU; the values of its parameters don't matter."""
    on_cpu = {id(p): p if p.device.type == "cpu" else _empty(p) for p in model.parameters()}
    on_cpu |= {id(b): _empty(b) for b in model.buffers() if b.is_meta}
    return copy.deepcopy(model, on_cpu).cpu()


def as_arguments(example_inputs) -> tuple[tuple, dict]:
    """Arguments by position and by name, on the CPU."""
    if example_inputs is None:
        raise ValueError("example_inputs is missing; give a batch as the forward takes it")

    def on_cpu(value):
        if not torch.is_tensor(value):
            return value
        return _empty(value) if value.is_meta else value.cpu()

    example_inputs = tree_map(on_cpu, example_inputs)
    if isinstance(example_inputs, dict):
        return (), example_inputs
    is_sequence = isinstance(example_inputs, tuple | list)
    return tuple(example_inputs) if is_sequence else (example_inputs,), {}


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
