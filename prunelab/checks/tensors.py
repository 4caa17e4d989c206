"""What a model, a tensor, a mask, a split or a device must be."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from types import UnionType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prunelab.checks import said


def check_type(name: str, value, kind: type | UnionType, wanted: str) -> None:
    """Refuse what is not of a class.

    Raises:
        TypeError: naming the argument, what is wanted, and what was given.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {wanted}, not {type(value).__name__}")


def check_tensor(name: str, value) -> None:
    """Refuse what is no tensor, with a TypeError."""
    check_type(name, value, Tensor, "a tensor")


def check_numbers(name: str, value, dimensions: int = 0) -> Tensor:
    """The tensor, if its numbers can be ranked: real, dense and there.

    Raises:
        TypeError: no tensor.
        ValueError: of another kind, or of fewer dimensions.
    """
    check_tensor(name, value)
    kind = value.dtype if value.layout is torch.strided else value.layout
    is_small = value.is_floating_point() and value.element_size() < 2
    if value.is_quantized or value.is_complex() or is_small or kind in (torch.bool, value.layout):
        raise ValueError(f"{name} is {kind}; give plain real numbers, such as float32")
    if value.is_meta:
        raise ValueError(f'{name} has no numbers, being on the device "meta"')
    if value.dim() < dimensions:
        raise ValueError(f"{name} {tuple(value.shape)} must have at least {dimensions} dimensions")
    return value


def check_model(model, name: str = "model", with_numbers: bool = True) -> None:
    """Refuse what is no model, or one whose numbers cannot be computed with.

    Args:
        model, name: the argument and its name.
        with_numbers: whether its numbers are needed; else it may be on the device "meta".

    Raises:
        TypeError: no `nn.Module`.
        ValueError: a tensor of it is on the device "meta", has no shape yet,
            has 8 bits or is complex.
    """
    check_type(name, model, nn.Module, "a torch.nn.Module")
    for tensor_name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if is_lazy(tensor):
            why = "has no shape yet; run the model on a batch first"
        elif tensor.is_meta and with_numbers:
            why = 'has no numbers, being on the device "meta"; load the weights first'
        elif tensor.is_floating_point() and tensor.element_size() < 2:
            why = f"is {tensor.dtype}, which torch cannot compute with; convert it with .float()"
        elif isinstance(tensor, nn.Parameter) and tensor.is_complex():
            why = "has complex numbers; only real weights are pruned"
        else:
            continue
        raise ValueError(f"{name} cannot be used: its {tensor_name!r} {why}")


def check_batch_norm(layer) -> None:
    """Refuse what is no BatchNorm layer with statistics and weights of its own.

    Raises:
        TypeError: no BatchNorm layer.
        ValueError: naming what it does not have.
    """
    check_type("batch_norm", layer, nn.modules.batchnorm._BatchNorm, "a BatchNorm layer")
    check_model(layer, "batch_norm")
    for name in ("running_mean", "running_var", "weight", "bias"):
        if getattr(layer, name) is None:
            raise ValueError(f"batch_norm has no {name}, of which its constant is made")


def check_finite(model: nn.Module) -> None:
    """Refuse no weights, or some that are NaN or infinite, with a ValueError that names them."""
    if not list(model.parameters()):
        raise ValueError("model has no parameters")
    for name, parameter in model.named_parameters():
        if not parameter.is_meta and not is_finite(parameter.detach()):
            raise ValueError(
                f"model's {name!r} has a weight that is NaN or infinite; was training stable? try "
                "a smaller learning rate"
            )


def is_finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite: the extremes tell, ten times as fast as all numbers."""
    if tensor.layout == torch.strided and tensor.is_floating_point() and tensor.numel():
        return all(extreme.isfinite() for extreme in tensor.aminmax())
    return bool(tensor.isfinite().all())


def check_mask(name: str, mask, shape: torch.Size) -> None:
    """Refuse what is no mask of these weights.

    Raises:
        TypeError: no tensor.
        ValueError: another shape, also one that could be broadcast, or values beside 0 and 1.
    """
    check_tensor(name, mask)
    if mask.shape != shape:
        raise ValueError(f"{name} {tuple(mask.shape)} does not fit the weights {tuple(shape)}")
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"{name} must be 0 or 1 everywhere; 1 keeps a weight")


def memory_of(tensor) -> range:
    """Where its numbers are: the same of parameters that were tied by `.data`, as by `is`."""
    if is_lazy(tensor) or not (start := tensor.data_ptr()):  # as on the device "meta"
        return range(-id(tensor) - 1, -id(tensor))
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    length = 1 + sum((size - 1) * stride for size, stride in steps)
    return range(start, start + length * tensor.element_size())


def check_own_weights(model: nn.Module, weights: dict[str, nn.Parameter | None]) -> None:
    """Refuse layers whose weight another module uses too: a mask would act in one of them only.

    Args:
        model: the whole network.
        weights: the parameter behind the weight of each layer, by the layer's name.

    Raises:
        ValueError: naming the layer and the other module.
    """
    owned = [
        (memory_of(tensor), name)
        for name, module in model.named_modules()
        for tensor in (*module._parameters.values(), *module._buffers.values())
        if tensor is not None
    ]
    for name, weight in weights.items():
        own = memory_of(weight)
        others = [
            other
            for memory, other in owned
            if other != name and memory.start < own.stop and own.start < memory.stop
        ]
        if others:
            raise ValueError(
                f"layer {name!r} shares its weight with {others[0]!r}, where a mask would not act; "
                f"exclude={name!r} leaves it as it is"
            )


def check_split(name: str, split) -> None:
    """Refuse what has neither a label for each image nor one for each character of a text.

    Raises:
        TypeError: no `Split`.
        ValueError: different numbers of both.
    """
    x, y = getattr(split, "x", None), getattr(split, "y", None)
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        raise TypeError(
            f"{name} must be a Split of images and labels, not {type(split).__name__}; "
            "give load_data().test, for instance"
        )
    if y.shape not in (x.shape[:1], x.shape):
        raise ValueError(f"{name}.y {tuple(y.shape)} must have a label for each of {len(x)} images")


def usable_device(device: torch.device | str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: a device that this machine does not have, or that does not compute.
    """
    try:
        torch.zeros(1, device=device).item()
    except Exception:  # of many classes, each with other words
        found = torch.accelerator.current_accelerator(check_available=True)
        wanted = f'"cpu" or "{found}"' if found else '"cpu"'
        raise ValueError(f"device={said(device)} cannot be used here; choose {wanted}") from None
    return torch.device(device)


def first_line(error: Exception) -> str:
    """What an error says, without what follows."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def check_function(name: str, value, optional: bool = True) -> None:
    """Refuse what cannot be called, with a TypeError."""
    if not callable(value) and not (optional and value is None):
        wanted = "a function, or left out" if optional else "a function"
        raise TypeError(f"{name}={said(value)} must be {wanted}")


@contextmanager
def calling(name: str) -> Iterator[None]:
    """What goes wrong in a function that was given, as a ValueError of one line that names it."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{name} failed: {first_line(error)}") from error


@contextmanager
def running_on(name: str, x) -> Iterator[None]:
    """What goes wrong when a model runs on `x`, as a ValueError of one line."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"model does not run on {name}={shape}: {first_line(error)}") from error
