"""Every family of torchvision's zoo, half its channels cut by two tools (notebook 05).

Run it on an idle machine with `--jobs 1`. It needs Torch-Pruning, see `require_torch_pruning`.
"""

import copy
import importlib.util
import math
import multiprocessing
import textwrap
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torchvision.models import get_model
from torchvision.models.convnext import LayerNorm2d

from prunelab.sparsity import count_macs, latency
from prunelab.surgery import LeftAlone, prune_network

FAMILIES = {
    "alexnet": "AlexNet",
    "vgg11": "VGG",
    "resnet18": "ResNet",
    "resnext50_32x4d": "ResNeXt",
    "wide_resnet50_2": "Wide ResNet",
    "densenet121": "DenseNet",
    "googlenet": "GoogLeNet",
    "inception_v3": "Inception",
    "squeezenet1_1": "SqueezeNet",
    "mobilenet_v2": "MobileNet v2",
    "mobilenet_v3_small": "MobileNet v3",
    "mnasnet0_5": "MNASNet",
    "shufflenet_v2_x0_5": "ShuffleNet v2",
    "efficientnet_b0": "EfficientNet",
    "efficientnet_v2_s": "EfficientNet v2",
    "regnet_x_400mf": "RegNet X",
    "regnet_y_400mf": "RegNet Y",
    "convnext_tiny": "ConvNeXt",
    "vit_b_32": "ViT",
    "swin_t": "Swin",
    "swin_v2_t": "Swin v2",
    "maxvit_t": "MaxViT",
}
"""The smallest network of each family."""
RATIO = 0.5
MOST_SECONDS, MOST_BYTES = 60, 6 * 2**30
"""What a tool may take for one network; Torch-Pruning runs for many minutes on some."""
RESULT = {
    "params_after": np.nan,
    "macs_after": np.nan,
    "seconds": np.nan,
    "latency_before": np.nan,
    "latency_after": np.nan,
    "works": False,
    "problem": "",
    "error": np.nan,
    "change": np.nan,
}
"""What a cut gives: sizes; seconds to plan and cut, and of a forward pass on one image before and
after; whether a forward pass and a training step work, or what stops them; the distance of the
outputs to what they should be, and to those of the whole network, relative to the largest. Each
tool has a process of its own, so compare the two latencies of a row, not those of two tools."""


def grid(seeds: int) -> list[dict]:
    return [{"model": model, "seeds": seeds} for model in FAMILIES]


def measure(model: str, seeds: int) -> list[dict]:
    require_torch_pruning()
    network, x = build(model, seed=0)
    whole = {
        "model": model,
        "family": FAMILIES[model],
        "ratio": RATIO,
        "params_before": count_parameters(network),
        "macs_before": count_macs(network, x),
    }
    tools = {"prunelab": cut_with_prunelab, "torch-pruning": cut_with_torch_pruning}
    return [
        {"tool": tool, "seed": seed, **whole, **RESULT, **result}
        for tool, cut in tools.items()
        for seed, result in enumerate(within_limits(model, seeds, cut))
    ]


def require_torch_pruning() -> None:
    """Raise an error that says how to get Torch-Pruning, if it is not installed."""
    if importlib.util.find_spec("torch_pruning") is None:
        raise ModuleNotFoundError(
            "this compares with Torch-Pruning, which is not installed; in the folder of prunelab "
            "run: pip install --editable '.[benchmark]'"
        )


def build(name: str, seed: int) -> tuple[nn.Module, Tensor]:
    """A network of torchvision with random weights, and a random image for it.

    Also what is all ones or zeros in a new network is random: scales, biases, statistics, the
    head of a vision transformer. A cut that mixes them up would go unseen otherwise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        slow_to_draw = name in ("googlenet", "inception_v3")
        network = get_model(name, weights=None, **{"init_weights": False} if slow_to_draw else {})
        x = torch.randn(1, 3, *[299 if name == "inception_v3" else 224] * 2)
        with torch.no_grad():
            for key, tensor in network.state_dict().items():
                if not tensor.is_floating_point():
                    continue
                if key.endswith(("bias", "running_mean")) or (tensor == 0).all():
                    tensor.normal_(std=0.1)
                elif tensor.squeeze().dim() == 1:
                    tensor.uniform_(0.5, 1.5)
    return network.eval(), x


def cut_with_prunelab(network: nn.Module, x: Tensor, ratio: float, **options) -> nn.Module:
    """Remove that share of the channels of every group, those of the lowest L1 norm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftAlone)
        return prune_network(network, ratio, x, criterion="l1", **options)


def cut_with_torch_pruning(network: nn.Module, x: Tensor, ratio: float, **options) -> nn.Module:
    """The same with Torch-Pruning, which cuts the network itself, hence a copy of it."""
    import torch_pruning

    small = copy.deepcopy(network)
    layers = list(small.modules())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pruner = torch_pruning.pruner.MagnitudePruner(
            small,
            x,
            importance=torch_pruning.importance.MagnitudeImportance(p=1),
            pruning_ratio=ratio,
            ignored_layers=[layer for layer in layers if outputs(layer) == 1000],
            num_heads={a: a.num_heads for a in layers if isinstance(a, nn.MultiheadAttention)},
            **options,
        )
        pruner.step()
    return small


def cut_and_try(model: str, seed: int, cut: Callable) -> dict:
    """Cut a network and measure what has come of it; what fails is told, not raised."""
    network, x = build(model, seed)
    result, stage = {"problem": ""}, "cut"
    try:
        start = time.perf_counter()
        small = cut(network, x, RATIO)
        result["seconds"] = time.perf_counter() - start
        stage = "forward pass"
        result["params_after"] = count_parameters(small)
        result["macs_after"] = count_macs(small, x)
        result["latency_before"], result["latency_after"] = time_in_turns((network, small), x)
        if hasattr(small, "kept_channels"):
            result |= compare(network, small, x)
        stage = "training step"
        train_a_step(small, x)
        result["works"] = True
    except Exception as error:
        why = f"{stage}: {type(error).__name__}: {error}".splitlines()[0].rstrip(": ")
        result["problem"] = textwrap.shorten(why, 120, placeholder=" …")
    return result


def time_in_turns(networks: tuple[nn.Module, ...], x: Tensor) -> list[float]:
    """Seconds of a forward pass of each: the median of three measurements, taken in turn."""
    turns = [[latency(network, x, min_seconds=0.1).median for network in networks] for _ in "123"]
    return np.median(turns, axis=0).tolist()


def compare(network: nn.Module, small: nn.Module, x: Tensor) -> dict[str, float]:
    """In float64, how far the cut network is from what it should compute, and from the whole."""
    whole, x = copy.deepcopy(network).double(), x.double()
    with torch.no_grad():
        expected = without_channels(whole, small)(x)
        output, before = copy.deepcopy(small).double()(x), whole(x)
    return {
        "error": float((output - expected).abs().max() / expected.abs().max()),
        "change": float((output - before).abs().max() / before.abs().max()),
    }


def without_channels(network: nn.Module, small: nn.Module) -> nn.Module:
    """What `small` should compute: the whole network, with nothing reading the lost channels.

    The weights by which linear layers, convolutions and attention read them are zero, and layer
    normalization takes its mean and variance over the channels that are left.

    Args:
        network: a whole network.
        small: what `prune_channels` or `prune_network` has made of it.

    Returns:
        A network of the size of `network`, which is left as it is.
    """
    reference = copy.deepcopy(network)
    for name, layer in list(reference.named_modules()):
        kept = small.kept_channels.get(f"{name}.weight", {})
        reads = 0 if getattr(layer, "transposed", False) else 1
        if isinstance(layer, nn.LayerNorm) and 0 in kept:
            reference.set_submodule(name, KeptLayerNorm(layer, kept[0]))
        elif isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) and reads in kept:
            is_lost = torch.ones(layer.weight.shape[reads], dtype=torch.bool)
            is_lost[kept[reads]] = False
            with torch.no_grad():
                layer.weight.movedim(reads, 0)[is_lost] = 0
        elif isinstance(layer, nn.MultiheadAttention):
            for weight, parameter in layer.named_parameters(recurse=False):
                kept = small.kept_channels.get(f"{name}.{weight}".lstrip("."), {})
                if 1 in kept:
                    is_lost = torch.ones(parameter.shape[1], dtype=torch.bool)
                    is_lost[kept[1]] = False
                    with torch.no_grad():
                        parameter[:, is_lost] = 0
    return reference


class KeptLayerNorm(nn.Module):
    """Layer normalization as if only the kept channels were there; the others come out as zero."""

    def __init__(self, layer: nn.LayerNorm, kept: Tensor):
        super().__init__()
        self.layer, self.kept = layer, kept
        self.eps = math.nan  # equal to no other's, so that torch takes no fast path around it
        self.dim = 1 if isinstance(layer, LayerNorm2d) else -1

    def forward(self, x: Tensor) -> Tensor:
        x, layer, kept = x.movedim(self.dim, -1), self.layer, self.kept
        normalized = torch.zeros_like(x)
        normalized[..., kept] = F.layer_norm(
            x[..., kept], kept.shape, layer.weight[kept], layer.bias[kept], layer.eps
        )
        return normalized.movedim(-1, self.dim)


def train_a_step(network: nn.Module, x: Tensor) -> None:
    """A step of gradient descent on all outputs, those that are there only in training included."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    outputs = network.train()(torch.cat([x, -x]))
    sum(o.square().mean() for o in tree_leaves(outputs) if torch.is_tensor(o)).backward()
    optimizer.step()


def within_limits(model: str, seeds: int, cut: Callable) -> list[dict]:
    """`cut_and_try` in a process of its own, which is stopped if it takes too long.

    If a seed runs out of time or memory, so would the next ones: they are not tried.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_results, args=(sender, model, seeds, cut), daemon=True)
    process.start()
    sender.close()
    results: list[dict] = []
    try:
        while len(results) < seeds and _ran_through(results) and receiver.poll(MOST_SECONDS):
            results.append(receiver.recv())
        if len(results) < seeds and _ran_through(results):
            results.append({"problem": f"takes more than {MOST_SECONDS} s"})
    except EOFError:
        results.append({"problem": "its process died"})
    finally:
        process.kill()
        process.join()
    last = len(results) - 1
    skipped = {"problem": f"not tried, as seed {last}: {results[-1]['problem']}"}
    return results + [skipped] * (seeds - len(results))


def _ran_through(results: list[dict]) -> bool:
    return not any("memory" in result["problem"].lower() for result in results)


def _send_results(sender, model: str, seeds: int, cut: Callable) -> None:
    torch.set_num_threads(1)
    _limit_memory()
    for seed in range(seeds):
        sender.send(cut_and_try(model, seed, cut))


def _limit_memory() -> None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows knows no such limit
        return
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def outputs(layer: nn.Module) -> int | None:
    """How many channels a layer writes."""
    return getattr(layer, "out_features", getattr(layer, "out_channels", None))
