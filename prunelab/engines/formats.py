"""Weights written in several formats or not counted, and attention that can be counted."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunelab.checks.tensors import memory_of


@contextmanager
def plain_attention() -> Iterator[None]:
    """Attention as matrix products, not as one fused operation that is counted as nothing."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def saved(tensors: dict[str, Tensor]) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, file)
    return file.getvalue()


def to_csr(matrix: Tensor) -> Tensor:
    """In compressed sparse row format, without torch's warning."""
    with warnings.catch_warnings():  # torch calls its CSR tensors beta, once a process
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return matrix.to_sparse_csr()


def csr_bytes(weight: Tensor) -> int:
    """Bytes in compressed sparse row format, with 32-bit indices."""
    sparse = to_csr(weight.flatten(1))
    rows, columns = sparse.crow_indices().int(), sparse.col_indices().int()
    return sum(len(array.numpy().tobytes()) for array in (rows, columns, sparse.values()))


def bitmap_bytes(weight: Tensor, kept: Tensor) -> int:
    """Bytes of one bit a weight, and the kept values."""
    bitmap = np.packbits(kept.numpy())
    return len(bitmap.tobytes()) + len(weight[kept].numpy().tobytes())


def not_counted(model, counted: set[range]) -> list[tuple[str, int, int]]:
    """Name, kept and total of every matrix of weights that is not prunable."""
    return [
        (f"{name} (not counted)", int(weight.count_nonzero()), weight.numel())
        for name, weight in model.named_parameters()
        if weight.ndim > 1 and memory_of(weight) not in counted
    ]
