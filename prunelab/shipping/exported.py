"""A network as an ONNX file, and that file run by onnxruntime (notebook 15)."""

import gzip
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from prunelab.checks import check_count
from prunelab.checks.files import checked_path
from prunelab.checks.tensors import check_model, check_tensor, first_line, running_on
from prunelab.shipping.needs import check_unmasked, needed
from prunelab.training import evaluation_mode


def to_onnx(model: nn.Module, example, path: Path | str) -> Path:
    """Write a network as an ONNX file: weights and operations, no Python, any number of inputs.

    `torch.onnx.export` follows the forward by `torch.export` ("dynamo"), in evaluation mode.

    Args:
        model: a network without masks.
        example: what it takes: a tensor, or a tuple of them, whose first dimension is the batch.
        path: the file to write.

    Returns:
        The path.

    Raises:
        ModuleNotFoundError: a package of the extra `ship` is missing.
        ValueError: masks, which would be stored beside the weights; a model that does not run on
            `example`, or can't be exported.

    Source: `torch.onnx`.
    """
    check_model(model)
    path = checked_path(path)
    check_unmasked(model)
    needed("onnx", "onnxscript")
    inputs = tuple(example) if isinstance(example, tuple) else (example,)
    for i, tensor in enumerate(inputs):
        check_tensor(f"example[{i}]" if isinstance(example, tuple) else "example", tensor)
    # of one image, torch.export takes the batch for a constant
    inputs = tuple(torch.cat([x, x]) if x.dim() and len(x) == 1 else x for x in inputs)
    with evaluation_mode(model):
        with running_on("example", example), torch.no_grad():
            model(*inputs)
        try:
            with warnings.catch_warnings():  # of what the exporter itself uses
                warnings.simplefilter("ignore")
                program = torch.onnx.export(
                    model,
                    inputs,
                    dynamo=True,
                    dynamic_shapes=[{0: torch.export.Dim("batch")} for _ in inputs],
                    input_names=[f"x{i}" if i else "x" for i in range(len(inputs))],
                    verbose=False,
                )
        except Exception as error:
            raise ValueError(f"model can't be exported: {first_line(error)}") from error
    if any(isinstance(one.shape[0], int) for one in program.model.graph.inputs):
        raise ValueError(
            "model works with one batch size only; write -1 where its forward has a number for it"
        )
    program.save(path)
    return path


class Shipped(nn.Module):
    """An ONNX file as onnxruntime runs it on the CPU, called like the network that it came from.

    So `evaluate` and `latency` take it as they take any network.

    Args:
        path: the file.
        threads: for the inside of an operation.

    Raises:
        ModuleNotFoundError: onnxruntime is missing.
        ValueError: no file that it can run.
    """

    def __init__(self, path: Path | str, threads: int = 1):
        super().__init__()
        path = checked_path(path)
        check_count("threads", threads)
        needed("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        options.log_severity_level = 3  # errors
        try:
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(path.read_bytes(), options, providers)
        except OSError:
            raise
        except Exception as error:
            raise ValueError(f"path={str(path)!r} can't be run: {first_line(error)}") from error
        self.names = [one.name for one in self.session.get_inputs()]

    def forward(self, *inputs: Tensor) -> Tensor:
        arrays = [np.ascontiguousarray(one.detach().numpy()) for one in inputs]
        outputs = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return torch.from_numpy(outputs[0])


class Size(NamedTuple):
    """Bytes of a file, as it is and compressed by gzip."""

    bytes: int
    gzipped: int


def size_of(path: Path | str) -> Size:
    """How large a file is, and how large when a download compresses it.

    Raises:
        OSError: there is no such file.
    """
    content = checked_path(path).read_bytes()
    return Size(len(content), len(gzip.compress(content, compresslevel=9, mtime=0)))
