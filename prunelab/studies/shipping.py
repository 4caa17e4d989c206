"""What is shipped of a cut network: file, answers and accuracy in torch, ONNX and 8 bits (15).

Four variants of a network, all trained for as long: dense, with single weights masked, with
channels cut, and with channels cut to multiples of 8. Masked and cut ones have about as many
weights left. Nothing is chosen here: the learning rate is the one that validation chose in the
study `recovery_convnet`, for a narrower network. Which way of pruning is best is not asked (13),
so there are neither random masks nor new weights.
"""

import copy
import gzip
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunelab.data import Data, load_data
from prunelab.finetuning import learning_rate_rewinding
from prunelab.lab.cache import remember
from prunelab.masks import kept_weights, make_pruning_permanent, prunable_layers
from prunelab.models import small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import State
from prunelab.shipping import Shipped, Size, fold_batchnorm, quantized, size_of, to_onnx
from prunelab.studies.shared import cost, retrain, with_weights
from prunelab.surgery import prune_network


class Original(NamedTuple):
    """A network, the steps it is trained for before it is pruned, and their learning rate."""

    build: Callable[..., nn.Module]
    steps: int
    rate: float


ORIGINALS = {
    "small_convnet": Original(small_convnet, 1290, 0.1),  # 1.5 epochs
}
BATCH_SIZE = 64
AGAIN = 0.5
"""Every variant is trained again, for this share of the steps before."""
RATIO = 0.4
"""Of the channels that are cut. A half would leave multiples of 8 by itself."""
MULTIPLE = 8
VARIANTS = ("dense", "masked", "cut", "cut, rounded")
FORMS = ("torch", "folded", "onnx", "int8")
CALIBRATION = 500
"""Training images that set the ranges of 8-bit numbers."""


def grid(seeds: int) -> list[dict]:
    return [{"network": network, "seed": seed} for network in ORIGINALS for seed in range(seeds)]


def measure(network: str, seed: int) -> list[dict]:
    data = load_data()
    x = data.test.x
    states = remember(trained, network=network, seed=seed)
    original = with_weights(ORIGINALS[network].build, states["original"])
    rows = []
    for variant, model in variants(original, x[:1]).items():
        model.load_state_dict(states[variant])
        left = cost(model, x[:1])
        for form, (shipped, size) in forms(model, data):
            answers = outputs(shipped, x)
            if form == "torch":
                by_torch = answers
            rows.append(
                {
                    "network": network,
                    "seed": seed,
                    "variant": variant,
                    "form": form,
                    **left,
                    **size._asdict(),
                    "test_accuracy": (answers.argmax(1) == data.test.y).float().mean().item(),
                    **compared(answers, by_torch),
                }
            )
    return rows


def trained(network: str, seed: int) -> dict[str, State]:
    """The weights of a network before it is pruned, and of each variant after it has retrained."""
    build, steps, rate = ORIGINALS[network]
    data = load_data()
    model = build(seed=seed)
    pair = learning_rate_rewinding(model, steps, lr=rate)
    retrain(model, data, pair, steps, seed, batch_size=BATCH_SIZE)
    states = {"original": state(model)}
    again = round(AGAIN * steps)
    for variant, pruned in variants(model, data.train.x[:1]).items():
        pair = learning_rate_rewinding(pruned, again, lr=rate)
        retrain(pruned, data, pair, again, 1000 + seed, batch_size=BATCH_SIZE)
        states[variant] = state(pruned)
    return states


def variants(dense: nn.Module, x: Tensor) -> dict[str, nn.Module]:
    """Copies of a network: dense, masked and cut, not retrained."""
    cut = prune_network(dense, RATIO, x)
    weights = sum(kept_weights(layer).numel() for layer in prunable_layers(dense).values())
    kept = sum(kept_weights(layer).numel() for layer in prunable_layers(cut).values())
    masked = apply_global_pruning(copy.deepcopy(dense), sparsity=1 - kept / weights)
    rounded = prune_network(dense, RATIO, x, round_to=MULTIPLE)
    return dict(zip(VARIANTS, (copy.deepcopy(dense), masked, cut, rounded), strict=True))


def forms(model: nn.Module, data: Data, threads: int = 1) -> Iterator[tuple[str, tuple]]:
    """A network as torch has it and as it can be shipped, each with the size of its file.

    Only torch gets the masks; from the others they are gone, and their zeros stay.
    """
    plain = make_pruning_permanent(copy.deepcopy(model)).eval()
    example = data.train.x[:1]
    yield "torch", (model.eval(), size_of_state(model))
    folded = fold_batchnorm(plain, example)
    yield "folded", (folded, size_of_state(folded))
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        to_onnx(plain, example, whole)
        yield "onnx", (Shipped(whole, threads), size_of(whole))
        quantized(whole, data.train.x[:CALIBRATION], small)
        yield "int8", (Shipped(small, threads), size_of(small))


def size_of_state(model: nn.Module) -> Size:
    """What `torch.save` makes of a network's tensors."""
    file = io.BytesIO()
    torch.save(state(model), file)
    content = file.getvalue()
    return Size(len(content), len(gzip.compress(content, mtime=0)))


def state(model: nn.Module) -> State:
    return {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}


@torch.no_grad()
def outputs(model: nn.Module, x: Tensor) -> Tensor:
    return torch.cat([model(images) for images in x.split(500)])


def compared(answers: Tensor, others: Tensor) -> dict[str, float]:
    """The largest difference, relative to the largest output, and the share of other classes."""
    difference = (answers - others).abs().max() / others.abs().max()
    changed = (answers.argmax(1) != others.argmax(1)).float().mean()
    return {"difference": difference.item(), "changed": changed.item()}
