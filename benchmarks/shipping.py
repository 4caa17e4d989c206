"""Milliseconds of cut networks as PyTorch and onnxruntime run them, side by side in one run.

    python benchmarks/shipping.py

New networks, one thread. For every number of images all contenders take turns, so that what else
the machine does falls on all of them alike: dense, and without a share of the channels, as they
come out and rounded to multiples of 8 and 16; each in PyTorch, in PyTorch with BatchNorm folded, in
onnxruntime, and there in 8 bits. Tables give medians of the turns, and medians of the ratios
within each turn: how many times as fast as the dense network in the same form, and as that in
PyTorch. It needs `pip install --editable '.[ship]'`.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet18

from prunelab.models import resnet20, small_convnet
from prunelab.shipping import Shipped, fold_batchnorm, quantized, to_onnx
from prunelab.sparsity import count_macs, latency
from prunelab.surgery import prune_network

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "small_convnet": (small_convnet, (1, 28, 28)),
    "resnet20": (resnet20, (1, 28, 28)),
    "resnet18": (lambda: resnet18(num_classes=10), (3, 64, 64)),
    "mobilenet_v2": (lambda: mobilenet_v2(num_classes=10), (3, 64, 64)),
}
MULTIPLES = (None, 8, 16)
FORMS = ("torch", "folded", "onnx", "int8")


def cuts(dense: nn.Module, ratio: float, x: Tensor) -> dict[str, nn.Module]:
    """The network whole, and cut to widths that are any number, or multiples."""
    names = {number: f"to {number}" if number else "cut" for number in MULTIPLES}
    small = {names[n]: prune_network(dense, ratio, x, round_to=n) for n in MULTIPLES}
    return {"dense": dense} | small


def forms(model: nn.Module, images: Tensor, folder: Path) -> dict[str, nn.Module]:
    """The network in each of `FORMS`."""
    whole = to_onnx(model, images[:1], folder / "model.onnx")
    small = quantized(whole, images, folder / "int8.onnx", batch_size=16)
    folded = fold_batchnorm(model, images[:1])
    return dict(zip(FORMS, (model.eval(), folded, Shipped(whole), Shipped(small)), strict=True))


def turns(
    contenders: dict[tuple[str, str], nn.Module], x: Tensor, rounds: int, seconds: float
) -> pd.DataFrame:
    """Milliseconds of each contender (columns) in each of the rounds in which they take turns."""
    return pd.DataFrame(
        [
            {which: 1000 * latency(model, x, 1, seconds).median for which, model in each}
            for each in [contenders.items()] * rounds
        ]
    )


def speed(
    name: str, ratio: float, batches: list[int], rounds: int, seconds: float = 0.05
) -> pd.DataFrame:
    """A row for each number of images, width and form."""
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    dense, images = build().eval(), torch.rand(max(16, *batches), *shape)
    contenders, macs = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for widths, model in cuts(dense, ratio, images[:1]).items():
            macs[widths] = count_macs(model, images[:1]) / 1e6
            for form, shipped in forms(model, images, Path(folder)).items():
                contenders[widths, form] = shipped
    rows = []
    for batch in batches:
        turns(contenders, images[:batch], 1, seconds)
        took = turns(contenders, images[:batch], rounds, seconds)
        rows += [
            {
                "network": name,
                "images": batch,
                "widths": widths,
                "form": form,
                "M MACs": macs[widths],
                "ms": took[widths, form].median(),
                "times dense": (took["dense", form] / took[widths, form]).median(),
                "times torch": (took["dense", "torch"] / took[widths, form]).median(),
            }
            for widths, form in contenders
        ]
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--ratio", type=float, default=0.4, help="share of the channels to cut")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16], help="images a pass")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each")
    arguments = parser.parse_args()
    for name in arguments.networks:
        table = speed(name, arguments.ratio, arguments.batches, arguments.rounds)
        print(table.round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
