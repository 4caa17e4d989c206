"""Runs a network's own forward on tags, and gives every operation to its rule.

A `TorchFunctionMode` sees each call of torch. Questions about shapes are answered, questions about
values are refused, and everything else goes to `rules`.
"""

import copy
import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from prunelab.channels import (  # noqa: F401  they register their rules
    attention,
    averages,
    layers,
    moves,
    recurrent,
)
from prunelab.channels.again import Memory
from prunelab.channels.findings import CannotFollow, Computed, Findings, Step
from prunelab.channels.normalization import by_hand
from prunelab.channels.numbers import widths_said
from prunelab.channels.rules import COMPARISONS, FOLLOWS, RULES, no_rule, operation_name, unfollowed
from prunelab.channels.tags import (
    INPUT,
    Tags,
    along,
    as_tags,
    dry_run,
    filled,
    hollow,
    kind,
    known_copies,
    leaves,
    same_tags,
    tags_in,
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


QUESTIONS = _names(
    """size dim ndimension numel nelement is_complex is_nested get_device element_size __len__
    assert"""
)
STRIDES = _names("stride is_contiguous")
IN_PLACE = _names("__iadd__ __isub__ __imul__ __itruediv__")
CASTS = _names("to type type_as cpu cuda")
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
        if not is_input:
            return value
        tags = as_tags(filled(INPUT, value.shape))
        tags.origin = tags.number = next(inputs)
        return tags

    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and not module.state_dict():
            module.register_forward_pre_hook(partial(_count_features, found, name))
        module.register_forward_pre_hook(partial(_enter, found, name), with_kwargs=True)
        module.register_forward_hook(partial(_leave, found))
    memory = Memory(found)
    for training in (False, True):
        model.train(training)
        inputs = (f"input {i}" for i in itertools.count())
        positional, named = tree_map(enter, arguments)
        found.met.clear()
        found.running.clear()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), FollowTags(found, memory):
            torch.default_generator.manual_seed(0)
            outputs = model(*positional, **named)
        returned = list(tags_in(outputs))
        for tags in returned:
            found.fix(tags, "is the model's output")
            _fix_what_is_averaged(found, tags)
        found.step(Step("return", found.described(tree_leaves([outputs, returned])), returned))


def _count_features(found: Findings, name: str, module: nn.Module, inputs: tuple) -> None:
    """A normalization without any tensor still says how many channels it expects."""
    with torch._C.DisableTorchFunction():
        tags = found.tags(inputs[0])
        counted = found.named_axis(f"{name}.num_features", 0, tags.shape[1:2])
        found.tie(along(counted, 1, tags.dim()), tags)


def _enter(found: Findings, name: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
    inputs = [t for t in leaves(*args, *kwargs.values()) if isinstance(t, Tags)]
    found.running.append((name, module, inputs))
    with torch._C.DisableTorchFunction():
        widths_said(found, inputs)


def _leave(found: Findings, module: nn.Module, *_) -> None:
    while found.running.pop()[1] is not module:
        pass  # a module that failed, and whose failure the forward has caught


def _fix_what_is_averaged(found: Findings, tags: Tags) -> None:
    """Attention weights averaged over heads, or a mean over channels, which nobody may have used so
    far."""
    if hasattr(tags, "mixes"):
        found.fix(*tags.mixes)


class FollowTags(TorchFunctionMode):
    """While it is active, operations on tags tell `found` what they do with channels."""

    def __init__(self, found: Findings, memory: Memory):
        super().__init__()
        self.found, self.memory = found, memory

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, found = kwargs or {}, self.found
        name = operation_name(func)
        given = leaves(*args, *kwargs.values())
        tags = [t for t in given if isinstance(t, Tags)]
        parameters = [t for t in given if found.is_parameter(t)]
        found.reached.update(found.names[id(p)] for p in parameters)
        if name in QUESTIONS or not (tags or parameters):
            return func(*args, **kwargs)
        if name == "__get__":
            return _attribute(found, func, args[0])
        if name == "is_floating_point" and tags:
            return not kind(tags[0])
        if name in STRIDES:  # as of an activation in order: tags take no memory and have no strides
            return func(*tree_map(hollow("meta"), args), **kwargs)
        if name in VALUES:
            if tags:
                raise ValueError(
                    f"it depends on the values of a tensor (calls `{name}`); prune_network can cut "
                    "a part of it, by within"
                )
            found.give_up(found.names[id(parameters[0])], f"is read by `{name}`")
            return func(*args, **kwargs)
        if name.startswith("new_") or name.endswith("_like"):
            return func(*tree_map(hollow("cpu"), args), **kwargs)
        if any(isinstance(leaf, np.ndarray) for leaf in given):
            args, kwargs = tree_map(_no_array, (args, kwargs))
            given = leaves(*args, *kwargs.values())
        found.met.append(tags)
        fixed = leaves(*unfollowed(name, args, kwargs)) if name in FOLLOWS else given
        found.step(Step(name, found.described(fixed), tags))
        find_out = partial(_found_out, found, name, func, args, kwargs, tags)
        result = self.memory.result(func, args, kwargs, tags, find_out)
        found.met.append(found.mark(result))
        return result


def _found_out(
    found: Findings, name: str, func: Callable, args: tuple, kwargs: dict, tags: list[Tags]
):
    """The result of an operation on tags, by its rule."""
    found.told = []
    try:
        result = by_hand(found, func, args, kwargs)
        if result is None:
            for t in tags:
                _fix_what_is_averaged(found, t)
            result = _by_rule(found, name, func, args, kwargs)
    except NotImplementedError as error:
        if "nonzero" not in str(error):
            raise
        raise ValueError(f"its sizes depend on the values of a tensor ({name})") from error
    made = [t for t in tree_leaves(result) if isinstance(t, Tags)]
    if name not in RULES or name in CASTS or any(map(kind, tags)):
        _say_kinds(made, name, func, args, kwargs)
    elif name in COMPARISONS.split() or name.endswith("_with_indices"):
        made[-1].kind = torch.long if name.endswith("indices") else torch.bool
    return result


def _by_rule(found: Findings, name: str, func: Callable, args: tuple, kwargs: dict):
    """What the rule of the operation makes of its tags."""
    in_place = func.__name__ == f"{name}_" or name in IN_PLACE
    target = args[0] if in_place else kwargs.get("out")
    try:
        if name not in RULES:
            return no_rule(found, func, args, kwargs)
        if torch.is_tensor(target) and not (isinstance(target, Tags) or found.is_parameter(target)):
            return no_rule(found, func, args, kwargs, "is written into a tensor that has no tags")
        result = RULES[name](found, func, *args, **kwargs)
    except CannotFollow:
        raise
    except Computed as why:
        return no_rule(found, func, args, kwargs, str(why))
    except Exception as error:
        return no_rule(found, func, args, kwargs, f"enters `{name}`, which fails: {error}")
    if isinstance(target, Tags) and not same_tags(result, target):
        return no_rule(found, func, args, kwargs, f"is written over by `{name}`")
    return result


def _say_kinds(made: list[Tags], name: str, func: Callable, args: tuple, kwargs: dict) -> None:
    """Note of indices and masks that they hold no fractions, which what follows may insist on."""
    dtypes: list[torch.dtype] = []

    def dtype_of(value) -> torch.dtype:
        if isinstance(value, Tags):
            return kind(value) or torch.float32
        return value if isinstance(value, torch.dtype) else value.dtype

    if name in CASTS:
        asked = [v for v in tree_leaves((args[1:], kwargs)) if isinstance(v, torch.dtype | Tensor)]
        dtypes = [dtype_of(value) for value in [*asked, args[0]][:1]]
    else:
        with suppress(Exception):  # the rule has done without, and so may what follows
            outputs = tree_leaves(dry_run(func, args, kwargs))
            dtypes = [dtype_of(t) for t in outputs if torch.is_tensor(t)]
    for tags, dtype in zip(made, dtypes, strict=False):
        if not dtype.is_floating_point:
            tags.kind = dtype


def _no_array(value):
    return torch.as_tensor(value) if isinstance(value, np.ndarray) else value


def _attribute(found: Findings, get: Callable, tensor: Tensor):
    """An attribute of a tensor, such as `x.shape`, `x.T` or `x.dtype`."""
    if get.__self__ is Tensor.dtype:
        return kind(tensor) or found.dtype if isinstance(tensor, Tags) else get(tensor)
    value = get(tensor)
    if not torch.is_tensor(value) or get.__self__ is Tensor.grad:
        return value
    tags = as_tags(get(found.tags(tensor)))
    met = [tensor] if isinstance(tensor, Tags) else []
    _fix_what_is_averaged(found, tensor)
    found.met.append(met)
    name = getattr(get.__self__, "__name__", "attribute")
    found.step(Step(name, found.described([tensor]), met))
    if isinstance(tensor, Tags) and kind(tensor):
        tags.kind = kind(tensor)
    found.mark(tags)
    return tags


# --- what a network is followed with -------------------------------------------------------------


def twin(model: nn.Module) -> nn.Module:
    """A copy to run on tags, which live on the CPU; its parameters are not copied if they can be
    shared."""
    on_cpu = {id(p): _on_cpu(p) for p in model.parameters()}
    on_cpu |= {id(b): _empty(b) for b in model.buffers() if b.is_meta}
    on_cpu |= known_copies(model)
    return copy.deepcopy(model, on_cpu).cpu()


def as_arguments(example_inputs) -> tuple[tuple, dict]:
    """Arguments by position and by name, on the CPU."""
    if example_inputs is None:
        raise ValueError("example_inputs is missing; give a batch as the forward takes it")

    example_inputs = tree_map(_on_cpu, example_inputs)
    if isinstance(example_inputs, dict):
        return (), example_inputs
    is_sequence = isinstance(example_inputs, tuple | list)
    return tuple(example_inputs) if is_sequence else (example_inputs,), {}


def _on_cpu(value):
    if not torch.is_tensor(value) or value.device.type == "cpu":
        return value
    if value.is_meta:
        return _empty(value)
    on_cpu = value.detach().cpu()
    return nn.Parameter(on_cpu) if isinstance(value, nn.Parameter) else on_cpu


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty
