"""The memory format in which convolutions are fast, but not where it is unsafe."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

UNSAFE_CHANNELS = range(2, 16)
"""Numbers of input channels that do not fill one block of the CPU's kernels (16 with AVX-512, 8
with AVX2)."""


@contextmanager
def fast_convolutions(model: nn.Module) -> Iterator[None]:
    """Train in `channels_last`, but strided 1×1 convolutions of few channels as they were.

    The gradient of such a convolution's weights is written past its memory in `channels_last`: it
    comes out wrong, or the process crashes (oneDNN issue 6035, seen with torch 2.14.1). Residual
    networks have them as shortcuts, and pruning makes them narrow. A model that has one is left in
    the ordinary format, so that training it elsewhere is safe, too.
    """
    unsafe = [module for module in model.modules() if _is_unsafe(module)]
    model.to(memory_format=torch.channels_last)
    for convolution in unsafe:
        convolution.to(memory_format=torch.contiguous_format)
    hooks = [convolution.register_forward_pre_hook(_as_contiguous) for convolution in unsafe]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        if unsafe:
            model.to(memory_format=torch.contiguous_format)


def _is_unsafe(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride != (1, 1)
        and module.in_channels // module.groups in UNSAFE_CHANNELS
    )


def _as_contiguous(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.contiguous() for tensor in inputs)
