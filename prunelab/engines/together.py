"""Training many masked networks as one computation, for an accelerator."""

import copy
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from prunelab.data import Data, Split
from prunelab.engines.masked_mlp import Trained, check_arguments, linear_layers
from prunelab.masks import kept_weights, prunable_layers, set_mask
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.training import shuffled_batches


def fit_together(
    models: list[nn.Sequential],
    datas: list[Data],
    *,
    seeds: list[int],
    steps: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    eval_every: int = 100,
    eval_splits: tuple[str, ...] = ("valid",),
) -> list[Trained]:
    """Train masked networks of one architecture in place, all of them as one computation.

    Each is trained as `fit_masked` would train it alone, up to rounding. It is meant for a GPU,
    which one small network does not fill; on a CPU it saves nothing.

    Args:
        models: networks as `fit_masked` takes them, on one device; their masks may differ.
        datas: the data of each, all of the same sizes. Networks that are given the same object
            share its images on the device.
        seeds: the seed of each.
        steps, batch_size, lr, eval_every, eval_splits: those of all, as in `fit_masked`.

    Returns:
        What `fit_masked` returns, for each.

    Raises:
        ValueError: as `fit_masked`; splits of different sizes.
    """
    for data in datas:
        check_arguments(data, steps, batch_size, eval_every, eval_splits)
    network = _masked_copy(models[0])
    parameters, masks = stack_module_state([_masked_copy(model) for model in models])

    def outputs(parameters: State, masks: State, x: Tensor) -> Tensor:
        return functional_call(network, (parameters, masks), (x,))

    def loss(parameters: State, masks: State, x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(outputs(parameters, masks, x), y)

    all_outputs, gradients = vmap(outputs), vmap(grad(loss))
    device = next(iter(masks.values())).device
    train = _Pool([data.train for data in datas], device)
    pools = {name: _Pool([getattr(data, name) for data in datas], device) for name in eval_splits}
    batches = [shuffled_batches(train.size, batch_size, seed, device) for seed in seeds]
    on_gpu = device.type == "cuda"
    optimizer = torch.optim.Adam(list(parameters.values()), lr, fused=True, capturable=on_gpu)

    def advance(index: Tensor) -> None:
        batch = train[index]
        for name, gradient in gradients(parameters, masks, batch.x, batch.y).items():
            parameters[name].grad = gradient
        optimizer.step()

    if on_gpu:
        advance = _as_one_launch(advance, optimizer, (len(models), batch_size))

    histories: list[list[dict]] = [[] for _ in models]
    lowest = [float("inf")] * len(models)
    best = [_network(parameters, i) for i in range(len(models))]
    for step in range(steps + 1):
        if step % eval_every == 0 or step == steps:
            for name, pool in pools.items():
                scores = partial(all_outputs, parameters, masks)
                for i, found in enumerate(pool.evaluate(scores)):
                    histories[i].append({"step": step, "split": name, **found})
                    if name == "valid" and found["loss"] < lowest[i]:
                        lowest[i], best[i] = found["loss"], _network(parameters, i)
        if step < steps:
            advance(torch.stack([next(own) for own in batches]))

    trained = []
    for i, model in enumerate(models):
        state = snapshot(weight_rewinding(model, best[i]))
        weight_rewinding(model, _network(parameters, i))
        trained.append(Trained(pd.DataFrame(histories[i]), state))
    return trained


def _as_one_launch(
    step: Callable[[Tensor], None], optimizer: torch.optim.Optimizer, shape: tuple[int, int]
) -> Callable[[Tensor], None]:
    """The step as a CUDA graph, which starts its hundreds of kernels at once.

    A graph is of one shape; batches of another, as the last of an epoch, take the step as it is.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before = [weight.detach().clone() for weight in weights]
    recorded = torch.zeros(shape, dtype=torch.long, device=weights[0].device)
    graph = _graph(lambda: step(recorded))
    with torch.no_grad():
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)
        for moments in optimizer.state.values():
            for moment in moments.values():
                moment.zero_()

    def replay(index: Tensor) -> None:
        if index.shape != recorded.shape:
            step(index)
        else:
            recorded.copy_(index)
            graph.replay()

    return replay


def _graph(step: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """What a step starts on the GPU; it is taken three times before it can be recorded."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph


def _masked_copy(model: nn.Sequential) -> nn.Sequential:
    """A copy with a mask on every layer, so that all networks have tensors of the same names."""
    linear_layers(model)
    masked = copy.deepcopy(model)
    for layer in prunable_layers(masked).values():
        set_mask(layer, kept_weights(layer))
    return masked


def _network(parameters: State, i: int) -> State:
    """The weights and biases of one of the networks, as a state for `weight_rewinding`."""
    return {name.removesuffix("_orig"): p[i].detach().clone() for name, p in parameters.items()}


class _Pool:
    """The images of splits of one size, those of equal splits only once."""

    def __init__(self, splits: list[Split], device: torch.device):
        self.size = len(splits[0])
        if any(len(split) != self.size for split in splits):
            sizes = " and ".join(str(size) for size in sorted({len(split) for split in splits}))
            raise ValueError(f"datas have splits of {sizes} images; they must be equal")
        distinct = {id(split): split for split in splits}
        parts = [split.to(device) for split in distinct.values()]
        self.images = Split(torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts]))
        numbers = [list(distinct).index(id(split)) for split in splits]
        self.starts = torch.tensor(numbers, device=device).unsqueeze(1) * self.size

    def __getitem__(self, index: Tensor) -> Split:
        """Images of every split, `[R, B, ...]`, from the indices of all `[B]` or each `[R, B]`."""
        return self.images[self.starts + index]

    @torch.no_grad()
    def evaluate(self, outputs, batch_size: int = 1000) -> list[dict[str, float]]:
        """Loss and accuracy of each network on its split, as `training.evaluate` says them."""
        losses, correct = [], []
        for index in torch.arange(self.size, device=self.starts.device).split(batch_size):
            batch = self[index]
            scores = outputs(batch.x)
            losses.append(F.cross_entropy(scores.double().mT, batch.y, reduction="none"))
            correct.append((scores.argmax(dim=2) == batch.y).double())
        means = [torch.cat(parts, dim=1).mean(dim=1).tolist() for parts in (losses, correct)]
        return [{"loss": loss, "accuracy": share} for loss, share in zip(*means, strict=True)]
