"""Numbers of 8 bits: what rounding does to them, and ONNX files that hold them (notebook 15)."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from prunelab.checks import check_between, check_count, is_number, said
from prunelab.checks.files import checked_path
from prunelab.checks.tensors import check_numbers, first_line
from prunelab.shipping.needs import needed

LEVELS = 255
"""Steps between the smallest and the largest of 256 numbers."""


def rounded(x: Tensor, low: float, high: float) -> Tensor:
    r"""What is left of numbers that were stored as whole numbers from 0 to 255.

    $$s = \frac{h - l}{255}, \qquad z = \operatorname{round}(-l / s), \qquad
    q = \operatorname{clip}\big(\operatorname{round}(x / s) + z,\; 0,\; 255\big), \qquad
    \hat{x} = s \, (q - z) \tag{15.2}$$

    for numbers from $l$ to $h$. The scale $s$ and the zero point $z$ are stored once, $q$ for every
    number. Zero stays exactly zero; a number outside of the range comes back as the nearest end.

    Args:
        x: numbers of any shape.
        low: $l$, at most 0.
        high: $h$, at least 0.

    Returns:
        $\hat{x}$, of the shape and type of `x`.

    Raises:
        ValueError: a range that is empty or does not include zero.

    Source: Jacob et al. (2018), arXiv:1712.05877, equation (1).
    """
    check_numbers("x", x)
    for name, value in (("low", low), ("high", high)):
        if not is_number(value):
            raise ValueError(f"{name}={said(value)} must be a finite number")
    check_between("low", low, float("-inf"), 0)
    check_between("high", high, 0, float("inf"))
    if low == high:
        raise ValueError(f"low={low} and high={high} leave no range; give the smallest and largest")
    scale = (high - low) / LEVELS
    zero = round(-low / scale)
    return ((x / scale).round() + zero).clamp(0, LEVELS).sub(zero).mul(scale)


def quantized(path: Path | str, images: Tensor, to: Path | str, batch_size: int = 100) -> Path:
    r"""Write an ONNX file whose convolutions and matrix products work on 8-bit whole numbers.

    Activations are stored by equation (15.2); their ranges are the smallest and largest values
    that `images` make in the network, which is called calibration. The weights of an output
    channel get a scale of their own, $s = \max |w| / 64$, with $z = 0$: a bit less than they could
    have, so that sums do not overflow on processors that add pairs of products in 16 bits.

    Args:
        path: a file of `to_onnx` with one input.
        images: training images `[N, C, H, W]`; some hundreds suffice.
        to: the file to write.
        batch_size: images a pass.

    Returns:
        The path of the new file.

    Raises:
        ModuleNotFoundError: a package of the extra `ship` is missing.
        OSError: there is no file at `path`.
        ValueError: no images, or images that the network does not take.

    Source: `onnxruntime.quantization.quantize_static`; Jacob et al. (2018), arXiv:1712.05877.
    """
    path, to = checked_path(path), checked_path(to, "to")
    check_numbers("images", images, dimensions=1)
    check_count("batch_size", batch_size)
    if len(images) == 0:
        raise ValueError("images is empty; give some hundreds, such as data.train.x[:500]")
    needed("onnx", "onnxruntime")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path.read_bytes()  # an error in Python's words if there is none
    with tempfile.TemporaryDirectory() as folder, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(path, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                to,
                _Batches(prepared, images.split(int(batch_size))),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
        except Exception as error:
            shape = tuple(images.shape)
            raise ValueError(
                f"path={str(path)!r} can't be quantized with images {shape}: {first_line(error)}"
            ) from error
    return to


class _Batches:
    """Calibration images, as onnxruntime asks for them."""

    def __init__(self, path: Path, batches: tuple[Tensor, ...]):
        import onnx

        self.name = onnx.load(str(path)).graph.input[0].name
        self.batches = iter(batches)

    def get_next(self) -> dict | None:
        batch = next(self.batches, None)
        return None if batch is None else {self.name: batch.contiguous().numpy()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that onnxruntime logs, which this room follows."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
