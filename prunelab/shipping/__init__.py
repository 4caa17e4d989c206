"""From a recovered network to a file that a product runs (notebook 15).

BatchNorm is folded away, the network is written as ONNX, which onnxruntime runs without torch, and
the file may be rounded to 8 bits. All but the folding needs `pip install 'prunelab[ship]'`.
"""

from prunelab.shipping.exported import Shipped, Size, size_of, to_onnx
from prunelab.shipping.folding import fold_batchnorm
from prunelab.shipping.integers import quantized, rounded

__all__ = ["Shipped", "Size", "fold_batchnorm", "quantized", "rounded", "size_of", "to_onnx"]
