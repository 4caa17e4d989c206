"""Which networks channel surgery cuts, half of every group: torchvision's of all tasks, and the
smallest network of each of timm's architectures, all below 30 million parameters.

    python -m benchmarks.coverage [NAME ...] [--to build/coverage.csv]

A row for each network and tool: what has come of it, the parameters and MACs left, and the seconds
of planning and cutting. `prunelab`'s cuts are held against a masked network in float64, outputs,
gradients and statistics, in evaluation and in training mode. Torch-Pruning, which gives no indices
to check by, has cut if a forward and a training step run. Each has a process of its own, with
limits; what is in the table already is not measured again. It needs the extra [benchmark].
"""

import argparse
import copy
import multiprocessing
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn

from prunelab.sparsity import count_macs
from prunelab.studies.zoo import count_parameters, outputs, require_torch_pruning, train_a_step
from prunelab.surgery import CannotCut, LeftAlone, prune_network
from tests.surgery_oracle import assert_close, assert_exact, randomize, reference

SECONDS, BYTES = 120, 8 * 2**30
"""What a network may take with a tool, checks included."""
LARGEST = 30e6
FRESH = {"weights": None, "weights_backbone": None}
SIDES = (64, 96, 128, 224, 256, 299)


def names() -> list[str]:
    """timm's by architecture, and torchvision's by task."""
    import timm

    found: list[str] = []
    for architecture in timm.list_modules():
        tried = [n for n in timm.list_models(module=architecture) if not n.startswith("test_")]
        sizes = {f"timm {name}": size_of(timm.create_model, name) for name in tried}
        smallest = min(sizes, key=sizes.__getitem__, default="")
        found += [smallest] if sizes.get(smallest, LARGEST) < LARGEST else []
    tasks = ("segmentation", "video", "optical_flow", "detection")
    for module in (*(getattr(torchvision.models, task) for task in tasks), torchvision.models):
        for name in torchvision.models.list_models(module):
            is_small = size_of(torchvision.models.get_model, name, **FRESH) < LARGEST
            found += [f"torchvision {name}"] if is_small else []
    return found


def size_of(make: Callable, name: str, **options) -> float:
    """Its number of parameters, without any; infinite if it can't be made so."""
    with torch.device("meta"):
        try:
            return count_parameters(make(name, **options))
        except TypeError:
            return size_of(make, name) if options else float("inf")
        except Exception:
            return float("inf")


def build(name: str) -> tuple[nn.Module, tuple, str]:
    """A network with random weights, an example at the smallest size that it takes, and the part to
    be cut."""
    library, name = name.split()
    torch.manual_seed(0)
    if library == "timm":
        import timm

        model = timm.create_model(name)
    else:
        try:
            model = torchvision.models.get_model(name, **FRESH)
        except TypeError:
            model = torchvision.models.get_model(name)
    is_detector = hasattr(model, "backbone") and hasattr(model, "transform")
    within = "backbone" if is_detector else ""
    for side in SIDES:
        example = example_of(name, side)
        try:
            with torch.no_grad():
                for training in (not within, False):
                    model.train(training)(*example)
        except Exception:
            continue
        return model, example, within
    raise ValueError(f"{name} takes none of the sizes {SIDES}")


def example_of(name: str, side: int) -> tuple:
    video, flow, detection = (
        torchvision.models.list_models(getattr(torchvision.models, task))
        for task in ("video", "optical_flow", "detection")
    )
    if name in flow:
        return torch.randn(1, 3, 128, 128), torch.randn(1, 3, 128, 128)
    if name in detection:
        return ([torch.rand(3, side, side)],)
    return (torch.randn(2, 3, 16, side, side) if name in video else torch.randn(2, 3, side, side),)


# --- two tools -----------------------------------------------------------------------------------


def first_use(cut: Callable[[nn.Module, torch.Tensor], object]) -> None:
    """A tool loads much when it is used first, which is not what a network costs."""
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3)]
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)]
    cut(nn.Sequential(*layers, *pooled), torch.randn(2, 3, 16, 16))


def with_prunelab(name: str) -> dict:
    first_use(lambda network, x: prune_network(network, 0.5, x))
    model, example, within = build(name)
    randomize(model)
    without_chance(model)
    example, tolerance = converted(example, torch.float64), 1e-9
    try:
        with torch.no_grad():
            model(*example)
    except RuntimeError:  # numbers of its own that are float32
        model, example, tolerance = model.float(), converted(example, torch.float32), 1e-3
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeftAlone)
        try:
            small = prune_network(model, 0.5, example, within=within)
        except CannotCut as error:
            return {"outcome": "refused", "why": str(error)}
    row = {"seconds": time.perf_counter() - start} | left(model, small, example, within)
    return row | checked(model, small, example, tolerance, within)


def checked(
    model: nn.Module, small: nn.Module, example: tuple, tolerance: float, within: str
) -> dict[str, str]:
    """Whether a cut network computes what its masked twin does. Two images can make normalization
    ill-conditioned; where they differ, sixteen decide."""
    examples = [example]
    if len(example) == 1 and torch.is_tensor(example[0]):
        examples.append((torch.randn(16, *example[0].shape[1:]).to(example[0]),))
    why = ""
    for images in examples:
        try:
            if within:
                compare_answers(model, copy.deepcopy(small), images)
            else:
                assert_exact(model, copy.deepcopy(small), images, tolerance=tolerance)
            return {"outcome": "cut"}
        except AssertionError as error:
            why = str(error)
        except Exception as error:
            return {"outcome": "not checked", "why": f"the masked network fails: {error}"}
    is_known = "the reference itself" not in why
    return {"outcome": "wrong" if is_known else "not checked", "why": why}


def without_chance(model: nn.Module) -> None:
    """Nothing is dropped in training, as a smaller network would draw other numbers."""
    for module in model.modules():
        for name in ("drop", "drop_path", "drop_prob", "drop_rate", "p"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def compare_answers(model: nn.Module, small: nn.Module, example: tuple) -> None:
    """Of a detector, which looks at values: in evaluation mode alone."""
    with torch.no_grad():
        answers = [
            [t for found in network.eval()(*example) for t in found.values()]
            for network in (reference(model, small), small)
        ]
    assert_close(*answers, 1e-9, "answers")


def with_torch_pruning(name: str) -> dict:
    import torch_pruning

    first_use(torch_pruning.DependencyGraph().build_dependency)
    model, example, _ = build(name)
    sizes = count_parameters(model), macs_of(model, example)
    start = time.perf_counter()
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        example if len(example) > 1 else example[0],
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=0.5,
        ignored_layers=[m for m in model.modules() if outputs(m) in (1000, 400, 91, 21, 2)],
        num_heads=heads(model),
    )
    pruner.step()
    row = {"seconds": time.perf_counter() - start}
    with torch.no_grad():
        model(*example)
    if len(example) == 1:
        train_a_step(model, example[0])
    row["parameters left"] = count_parameters(model) / sizes[0]
    return row | {"MACs left": macs_of(model, example) / sizes[1], "outcome": "cut"}


def heads(model: nn.Module) -> dict[nn.Module, int]:
    """How many heads an attention has, by its layer that writes queries, keys and values."""
    found = {m: m.num_heads for m in model.modules() if isinstance(m, nn.MultiheadAttention)}
    for module in model.modules():
        if isinstance(getattr(module, "qkv", None), nn.Linear) and hasattr(module, "num_heads"):
            found[module.qkv] = module.num_heads
    return found


TOOLS: dict[str, Callable[[str], dict]] = {
    "prunelab": with_prunelab,
    "torch-pruning": with_torch_pruning,
}


def left(model: nn.Module, small: nn.Module, example: tuple, within: str) -> dict:
    parts = [network.get_submodule(within) for network in (model, small)]
    share = count_parameters(parts[1]) / count_parameters(parts[0])
    return {
        "parameters left": share,
        "MACs left": macs_of(small, example) / macs_of(model, example),
    }


def macs_of(model: nn.Module, example: tuple) -> float:
    is_image = len(example) == 1 and torch.is_tensor(example[0])
    with suppress(ValueError):  # what the counter can't run
        return count_macs(model, example[0]) if is_image else float("nan")
    return float("nan")


def converted(value, dtype: torch.dtype):
    if torch.is_tensor(value):
        return value.to(dtype)
    return type(value)(converted(v, dtype) for v in value)


# --- each in a process of its own ----------------------------------------------------------------


def within_limits(tool: str, name: str) -> dict:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, tool, name), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(SECONDS) else {"why": f"more than {SECONDS} s"}
    except EOFError:
        return {"why": "its process died"}
    finally:
        process.kill()
        process.join()


def _send(sender, tool: str, name: str) -> None:
    import resource

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    try:
        sender.send(TOOLS[tool](name))
    except Exception as error:
        sender.send({"why": f"{type(error).__name__}: {error}".splitlines()[0][:200]})


def summary(table: pd.DataFrame) -> str:
    """How often each tool has cut, refused and so on; and, where both have cut, what prunelab
    leaves and takes over what Torch-Pruning does."""
    outcomes = pd.crosstab(table["tool"], table["outcome"])
    columns = ["parameters left", "MACs left", "seconds"]
    cuts = table[table["outcome"] == "cut"].pivot_table(columns, index="network", columns="tool")
    if not {"prunelab", "torch-pruning"} <= set(cuts.columns.get_level_values("tool")):
        return outcomes.to_string()
    ratios = pd.DataFrame({c: cuts[c]["prunelab"] / cuts[c]["torch-pruning"] for c in columns})
    quantiles = ratios.quantile([0, 0.1, 0.5, 0.9, 1])
    quantiles.loc["geometric mean"] = np.exp(np.log(ratios).mean())
    title = f"prunelab / torch-pruning, {len(ratios.dropna())} networks that both cut"
    return f"{outcomes.to_string()}\n\n{title}\n{quantiles.round(2).to_string()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help='such as "timm resnet18"; all of them if none')
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--to", type=Path, default=Path("build/coverage.csv"))
    arguments = parser.parse_args()
    if "torch-pruning" in arguments.tools:
        require_torch_pruning()
    arguments.to.parent.mkdir(parents=True, exist_ok=True)
    columns = ["network", "tool", "outcome", "parameters left", "MACs left", "seconds", "why"]
    if not arguments.to.exists():
        pd.DataFrame(columns=columns).to_csv(arguments.to, index=False)
    done = set(pd.read_csv(arguments.to)[["network", "tool"]].itertuples(index=False, name=None))
    for name in arguments.names or names():
        for tool in arguments.tools:
            if (name, tool) in done:
                continue
            row = {"network": name, "tool": tool, "outcome": "fails"} | within_limits(tool, name)
            pd.DataFrame([row], columns=columns).to_csv(
                arguments.to, mode="a", header=False, index=False
            )
            print(*(row.get(column, "") for column in columns), flush=True)
    print(summary(pd.read_csv(arguments.to)))


if __name__ == "__main__":
    main()
