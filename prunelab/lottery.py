"""Lottery tickets: prune, rewind, train again, with exact savings (notebook 11).

Thousands of runs of one small network need a loop of their own: `fit_masked` does what
`training.fit` does, for masked fully connected networks, at a fraction of the time, and
`fit_together` trains many of them as one computation, for an accelerator.
"""

import copy
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.optim.adam import adam

from prunelab.data import Data, Split
from prunelab.pruning import (
    apply_global_pruning,
    effective_weight,
    kept_weights,
    lowest,
    make_pruning_permanent,
    prunable_layers,
)
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.training import Evaluation, shuffled_batches


def prune_round(model: nn.Module, rates: dict[str, float]) -> nn.Module:
    r"""One round of pruning, in place: every layer loses a share of the weights it still has.

    $$N_l \leftarrow N_l - \operatorname{round}(p_l N_l) \tag{11.1}$$

    where layer $l$ has $N_l$ weights left and $p_l$ is its rate; those of the lowest magnitude
    go, chosen by equation (1.2). After $n$ rounds about $(1 - p_l)^n$ of the layer is kept.

    Args:
        model: a trained network, masked or not.
        rates: the rate of every convolution and linear layer, by name, 0 ≤ rate < 1.

    Returns:
        The same model, masked.

    Raises:
        ValueError: a layer without a rate, a rate without a layer, or a rate out of range.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 1.
    """
    layers = prunable_layers(model)
    if rates.keys() != layers.keys():
        raise ValueError(f"rates are for {', '.join(rates)}; the layers are {', '.join(layers)}")
    for rate in sorted(set(rates.values())):
        others = tuple(name for name in layers if rates[name] != rate)
        apply_global_pruning(model, rate, scope="layerwise", exclude=others)
    return model


def early_stop(history: pd.DataFrame) -> int:
    r"""The iteration at which validation loss was lowest, read after training has ended.

    $$t^* = \min \arg\min_t \mathcal{L}_\text{valid}(t) \tag{11.2}$$

    over the iterations $t$ at which it was measured; the earliest of equals.

    Args:
        history: what `fit_masked` returns.

    Raises:
        ValueError: no finite loss.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, section 2.
    """
    finite = history[history["valid_loss"].abs() < float("inf")]
    if finite.empty:
        raise ValueError("history has no finite valid_loss; try a smaller learning rate")
    return int(finite.loc[finite["valid_loss"].idxmin(), "iteration"])


def random_masks(masks: State, seed: int) -> State:
    """Masks that keep as many weights of every layer, at random places.

    Args:
        masks: by layer name, as `get_masks` gives them.
        seed: draws the places, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[
            torch.randperm(mask.numel(), generator=generator).to(mask.device)
        ].view_as(mask)
        for name, mask in masks.items()
    }


SPARSE_DENSITY = 0.15
"""Up to here a sparse first layer makes the iterations of LeNet-300-100 faster on a CPU."""


class Trained(NamedTuple):
    """A finished run: its `history`, and the weights and biases at `early_stop` as a state."""

    history: pd.DataFrame
    best: State


def fit_masked(
    model: nn.Sequential,
    data: Data,
    *,
    iterations: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    seed: int = 0,
    eval_every: int = 100,
    test_curve: bool = False,
) -> Trained:
    """Train a masked fully connected network in place with Adam, cross-entropy (0.1) and ReLU.

    The same as `fit(model, data, optimizer=Adam(lr), …)` up to rounding, and faster: what cannot
    change the outputs or the gradients (see `MaskedMLP`) is left out, gradients need no graph,
    and all parameters are one tensor to the optimizer. Masked weights do not move.

    Args:
        model: linear layers with ReLU in between, such as `lenet300()`; it is left with the
            weights of the last iteration, in the device it was.
        data: what `load_data` returns.
        iterations: steps of one batch.
        batch_size: images a step; the last batch of an epoch may be smaller.
        lr: Adam's learning rate, constant. Its moments start at zero in every call.
        seed: draws the order of the images, anew in every epoch, as `fit` does.
        eval_every: iterations between evaluations; there is always one before the first
            iteration and one after the last.
        test_curve: evaluate on the test images as often as on the validation images. It has no
            influence on training nor on what is kept.

    Returns:
        `.history`, one row an evaluation: `iteration`, `valid_loss`, `valid_accuracy` and, with
        `test_curve`, `test_accuracy`; and `.best`, a state for `weight_rewinding`.

    Raises:
        ValueError: another kind of network, a number out of range, no validation images, a loss
            that is not finite.

    Source: Frankle & Carbin (2019), arXiv:1803.03635, figure 2.
    """
    for name, value in {"iterations": iterations, "eval_every": eval_every}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
    if not isinstance(batch_size, int) or not 1 <= batch_size <= len(data.train):
        raise ValueError(
            f"batch_size={batch_size!r} must be from 1 to the {len(data.train)} training images"
        )
    if len(data.valid) == 0:
        raise ValueError("data has no validation images to stop by; load_data(valid=5000) has")
    network = MaskedMLP(model)
    train, valid = network.reduced(data.train), network.reduced(data.valid)
    test = network.reduced(data.test) if test_curve else None
    targets = F.one_hot(train.y, network.weights[-1].shape[0]).to(train.x.dtype)
    optimizer = _Adam(network.parameters, lr)
    batches = shuffled_batches(len(train), batch_size, seed, train.x.device)

    history: list[dict] = []
    lowest, best = float("inf"), network.parameters.clone()
    for iteration in range(iterations + 1):
        if iteration % eval_every == 0 or iteration == iterations:
            loss, accuracy = network.evaluate(valid)
            row = {"iteration": iteration, "valid_loss": loss, "valid_accuracy": accuracy}
            if test is not None:
                row["test_accuracy"] = network.evaluate(test).accuracy
            history.append(row)
            if loss < lowest:
                lowest, best = loss, network.parameters.clone()
        if iteration < iterations:
            index = next(batches)
            network.differentiate(train.x.index_select(0, index), targets.index_select(0, index))
            optimizer.step()
    last = network.parameters.clone()
    network.parameters.copy_(best)
    best_state = snapshot(network.write_to(model))
    network.parameters.copy_(last)
    network.write_to(model)
    return Trained(pd.DataFrame(history), best_state)


def fit_together(
    models: list[nn.Sequential],
    datas: list[Data],
    *,
    seeds: list[int],
    iterations: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    eval_every: int = 100,
    test_curve: bool = False,
) -> list[Trained]:
    """Train masked networks of one architecture in place, all of them as one computation.

    Each is trained as `fit_masked` would train it alone, up to rounding. It is meant for an
    accelerator, which one small network does not fill; on a CPU it saves nothing.

    Args:
        models: networks as `fit_masked` takes them, on one device; their masks may differ.
        datas: the data of each, all of the same sizes. Networks that are given the same object
            share its images on the device.
        seeds: the seed of each.
        iterations, batch_size, lr, eval_every, test_curve: those of all, as in `fit_masked`.

    Returns:
        What `fit_masked` returns, for each.

    Raises:
        ValueError: another kind of network, or splits of different sizes.
    """
    stack = _Stack(models)
    train = _Pool([data.train for data in datas], stack.device)
    splits = {"valid": _Pool([data.valid for data in datas], stack.device)}
    if test_curve:
        splits["test"] = _Pool([data.test for data in datas], stack.device)
    batches = [shuffled_batches(train.size, batch_size, seed, stack.device) for seed in seeds]
    optimizer = torch.optim.Adam(list(stack.parameters.values()), lr, fused=True)

    history: dict[int, list[Tensor]] = {}  # read at the end: training does not wait for the device
    lowest = torch.full([len(models)], torch.inf, dtype=torch.double, device=stack.device)
    best = stack.parameters
    for iteration in range(iterations + 1):
        if iteration % eval_every == 0 or iteration == iterations:
            measured = {name: stack.evaluate(split) for name, split in splits.items()}
            loss = measured["valid"].loss
            history[iteration] = [loss, *(found.accuracy for found in measured.values())]
            better = loss < lowest
            lowest, best = torch.where(better, loss, lowest), stack.where(better, best)
        if iteration < iterations:
            stack.differentiate(train[torch.stack([next(own) for own in batches])])
            optimizer.step()

    table = torch.stack([torch.stack(row) for row in history.values()]).cpu()
    columns = ["valid_loss", *(f"{name}_accuracy" for name in splits)]
    trained = []
    for i, model in enumerate(models):
        rows = pd.DataFrame(table[:, :, i].numpy(), columns=columns)
        rows.insert(0, "iteration", list(history))
        trained.append(Trained(rows, stack.state(model, best, i)))
        weight_rewinding(model, stack.state(model, stack.parameters, i))
    return trained


class MaskedMLP:
    r"""What is alive of a masked fully connected network, with its gradient.

    A hidden unit is dropped if no weight leads from it to a living unit of the next layer, and an
    input if none leads from it to a living unit of the first: the outputs do not depend on them,
    so their gradients are zero and Adam never moves them. What is left is trained by

    $$\delta_L = \tfrac{1}{|B|} \big(\operatorname{softmax}(z_L) - Y\big), \qquad
    \delta_l = (\delta_{l+1} W_{l+1}) \odot \mathbb{1}[z_l > 0], \qquad
    \nabla W_l = (\delta_l^\top a_{l-1}) \odot m_l \tag{11.3}$$

    with $a_0 = x$, $z_l = a_{l-1} W_l^\top + b_l$, $a_l = \max(z_l, 0)$, masks $m_l$, one-hot
    labels $Y$, and $\nabla b_l$ the sum of $\delta_l$ over the batch $B$. Of a first layer with at
    most `SPARSE_DENSITY` of its living weights kept, only those are stored (CSR) and computed.

    Args:
        model: linear layers with ReLU in between, after an optional `nn.Flatten`.

    Attributes:
        parameters: all living weights and biases in one tensor, with `.grad`; masked ones are 0,
            or left out of a sparse first layer.
        weights, biases: layer by layer, views into it.

    Raises:
        ValueError: another kind of network.
    """

    def __init__(self, model: nn.Sequential):
        self.layers = _linear_layers(model)
        self.alive = living_units([kept_weights(layer) for layer in self.layers])
        masks = [self._block(kept_weights(layer), i) for i, layer in enumerate(self.layers)]
        weights = [self._block(effective_weight(layer), i) for i, layer in enumerate(self.layers)]
        biases = [layer.bias.detach()[self.alive[i + 1]] for i, layer in enumerate(self.layers)]
        stored_masks = list(masks)
        is_sparse = _is_faster_sparse(masks[0])
        if is_sparse:
            weights[0], stored_masks[0] = weights[0][masks[0]], masks[0][masks[0]]
        shapes = [tensor.shape for tensor in weights + biases]
        ones = [torch.ones_like(bias, dtype=torch.bool) for bias in biases]
        self.parameters = torch.cat([tensor.flatten() for tensor in weights + biases])
        self.parameters.grad = torch.zeros_like(self.parameters)
        self.masks = masks
        stored = torch.cat([mask.flatten() for mask in stored_masks + ones])
        self._mask = stored.to(self.parameters.dtype)
        self.weights, self.biases = _views(self.parameters, shapes)
        self._weight_grads, self._bias_grads = _views(self.parameters.grad, shapes)
        if is_sparse:
            for tensors in (self.weights, self._weight_grads):
                tensors[0] = _csr(masks[0], tensors[0])

    def reduced(self, split: Split) -> Split:
        """The split with only the living inputs, flat, on the device of the network."""
        split = split.to(self.parameters.device)
        return Split(split.x.flatten(1)[:, self.alive[0]].to(self.parameters.dtype), split.y)

    @torch.no_grad()
    def evaluate(self, split: Split, batch_size: int = 250) -> Evaluation:
        """Mean cross-entropy and accuracy on a `reduced` split, as `training.evaluate`."""
        outputs = torch.cat([self._activations(x)[-1] for x in split.x.split(batch_size)])
        loss = F.cross_entropy(outputs.double(), split.y).item()
        return Evaluation(loss, (outputs.argmax(dim=1) == split.y).double().mean().item())

    @torch.no_grad()
    def differentiate(self, x: Tensor, targets: Tensor) -> None:
        """Set `parameters.grad` to the gradient on a batch: equation (11.3).

        Args:
            x: living inputs `[B, inputs]`.
            targets: one-hot labels `[B, classes]`.
        """
        *inputs, outputs = self._activations(x)
        delta = outputs.softmax(dim=1).sub_(targets).div_(len(x))
        for i in reversed(range(len(self.weights))):
            gradient = self._weight_grads[i]
            if gradient.layout == torch.sparse_csr:
                torch.sparse.sampled_addmm(gradient, delta.t(), inputs[i], beta=0, out=gradient)
            else:
                torch.mm(delta.t(), inputs[i], out=gradient)
            torch.sum(delta, 0, out=self._bias_grads[i])
            if i > 0:
                delta = delta.mm(self.weights[i]).mul_(inputs[i] > 0)
        self.parameters.grad.mul_(self._mask)

    def write_to(self, model: nn.Sequential) -> nn.Sequential:
        """Put the living weights and biases where they belong in the model, and return it."""
        state = snapshot(model)
        for i, name in enumerate(prunable_layers(model)):
            inputs, units, weight = self.alive[i], self.alive[i + 1], self.weights[i]
            block = units.unsqueeze(1) & inputs
            kept = block.masked_scatter(block, self.masks[i])
            is_sparse = weight.layout == torch.sparse_csr
            state[f"{name}.weight"][kept] = weight.values() if is_sparse else weight[self.masks[i]]
            state[f"{name}.bias"][units] = self.biases[i]
        return weight_rewinding(model, state)

    def _activations(self, x: Tensor) -> list[Tensor]:
        """The inputs of every layer, and the outputs of the last."""
        values = [x]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            if len(values) > 1:
                values[-1].relu_()
            if weight.layout == torch.sparse_csr:  # several times faster this way round
                outputs = torch.addmm(bias.unsqueeze(1), weight, values[-1].t()).t()
            else:
                outputs = torch.addmm(bias, values[-1], weight.t())
            values.append(outputs)
        return values

    def _block(self, tensor: Tensor, i: int) -> Tensor:
        return tensor[self.alive[i + 1]][:, self.alive[i]]


class _Adam:
    """`torch.optim.Adam(fused=True)` of one tensor, without what its `step` does around Adam."""

    def __init__(self, parameters: Tensor, lr: float):
        self.parameters, self.lr = parameters, lr
        self.first, self.second = torch.zeros_like(parameters), torch.zeros_like(parameters)
        self.steps = torch.zeros((), device=parameters.device)

    def step(self) -> None:
        adam(
            [self.parameters],
            [self.parameters.grad],
            [self.first],
            [self.second],
            [],
            [self.steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.lr,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def living_units(masks: list[Tensor]) -> list[Tensor]:
    """Which inputs, hidden units and outputs the outputs of a masked network depend on.

    Args:
        masks: a mask `[outputs, inputs]` a layer, first layer first; True keeps a weight.

    Returns:
        A boolean vector for the inputs and one for the units of each layer; all outputs live.
    """
    alive = [torch.ones(len(masks[-1]), dtype=torch.bool, device=masks[-1].device)]
    for mask in reversed(masks):
        alive.insert(0, mask[alive[0]].any(dim=0))
    return alive


SUPERMASK_SCORES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "large final": lambda initial, trained: trained.abs(),
    "large final, same sign": lambda initial, trained: initial.sign() * trained,
    "magnitude increase": lambda initial, trained: trained.abs() - initial.abs(),
}


def supermask(
    initial: State,
    trained: State,
    keep: dict[str, int],
    criterion: str = "large final, same sign",
) -> State:
    r"""Masks that make a network good before it is trained, from what training did to it.

    $$s_i = |w_{T,i}|, \qquad s_i = \operatorname{sign}(w_{0,i})\, w_{T,i}, \qquad
    s_i = |w_{T,i}| - |w_{0,i}| \tag{11.4}$$

    for "large final", "large final, same sign" and "magnitude increase", with weights $w_0$ before
    and $w_T$ after training. Equation (1.2) prunes the lowest of each layer. The authors score all
    weights that changed their sign 0; here, where any of them are kept, it is the smallest.

    Args:
        initial, trained: a `snapshot` before and after training.
        keep: how many weights to keep of each layer, by its name.
        criterion: one of the three.

    Returns:
        A mask for each layer in `keep`, True where a weight is kept.

    Raises:
        ValueError: an unknown criterion, or more weights than the layer has.

    Source: Zhou et al. (2019), arXiv:1905.01067.
    """
    if criterion not in SUPERMASK_SCORES:
        known = ", ".join(map(repr, SUPERMASK_SCORES))
        raise ValueError(f"criterion={criterion!r} is unknown; choose one of {known}")
    masks = {}
    for name, count in keep.items():
        scores = SUPERMASK_SCORES[criterion](initial[f"{name}.weight"], trained[f"{name}.weight"])
        if not 0 <= count <= scores.numel():
            raise ValueError(
                f"keep[{name!r}]={count} must be from 0 to its {scores.numel()} weights"
            )
        masks[name] = ~lowest(scores.flatten(), scores.numel() - count).view_as(scores)
    return masks


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    kinds = [type(module) for module in model.children() if not isinstance(module, nn.Flatten)]
    expected = [nn.Linear, nn.ReLU] * (len(kinds) // 2) + [nn.Linear]
    if kinds != expected or any(layer.bias is None for layer in prunable_layers(model).values()):
        raise ValueError(
            f"model is {' '.join(kind.__name__ for kind in kinds)}; it must be linear layers with "
            "bias and ReLU in between; train other networks with fit"
        )
    return list(prunable_layers(model).values())


def _views(flat: Tensor, shapes: list[torch.Size]) -> tuple[list[Tensor], list[Tensor]]:
    """One flat tensor as weights and biases."""
    parts = [
        part.view(shape)
        for part, shape in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)
    ]
    return parts[: len(parts) // 2], parts[len(parts) // 2 :]


def _is_faster_sparse(mask: Tensor) -> bool:
    """Not without MKL, whose products with sparse matrices are what is fast."""
    has_kernel = mask.device.type == "cpu" and torch.backends.mkl.is_available()
    return has_kernel and mask.double().mean().item() <= SPARSE_DENSITY


def _csr(mask: Tensor, values: Tensor) -> Tensor:
    """A sparse matrix with these values, not a copy of them, where the mask is True."""
    row_starts, columns = F.pad(mask.sum(dim=1).cumsum(dim=0), (1, 0)), mask.nonzero()[:, 1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            row_starts, columns, values, size=mask.shape, check_invariants=True
        )


class _Stack:
    """The weights and biases of networks of one architecture, in one tensor `[R, ...]` a name."""

    def __init__(self, models: list[nn.Sequential]):
        layers = [_linear_layers(model) for model in models]
        self.parameters, self.masks = {}, {}
        for name, same in zip(prunable_layers(models[0]), zip(*layers, strict=True), strict=True):
            weight, bias = f"{name}.weight", f"{name}.bias"
            self.parameters[weight] = torch.stack([effective_weight(layer) for layer in same])
            self.parameters[bias] = torch.stack([layer.bias.detach() for layer in same])
            self.masks[weight] = torch.stack([kept_weights(layer) for layer in same])
            self.masks[bias] = torch.ones_like(self.parameters[bias], dtype=torch.bool)
        self.device = self.parameters[bias].device
        plain = make_pruning_permanent(copy.deepcopy(models[0]))

        def outputs(parameters, x):
            return functional_call(plain, parameters, (x,))

        def loss(parameters, x, y):
            return F.cross_entropy(outputs(parameters, x), y)

        self._outputs, self._gradients = vmap(outputs), vmap(grad(loss))

    def differentiate(self, batch: Split) -> None:
        """Set the gradient of every network on a batch of its own."""
        gradients = self._gradients(self.parameters, batch.x, batch.y)
        for name, tensor in self.parameters.items():
            tensor.grad = gradients[name].mul_(self.masks[name])

    @torch.no_grad()
    def evaluate(self, pool: "_Pool", batch_size: int = 1000) -> Evaluation:
        """Mean cross-entropy and accuracy `[R]` on a split, as `training.evaluate`."""
        losses, correct = [], []
        for index in torch.arange(pool.size, device=self.device).split(batch_size):
            part = pool[index]
            outputs = self._outputs(self.parameters, part.x)
            loss = F.cross_entropy(outputs.double().mT, part.y, reduction="none")
            losses.append(loss)
            correct.append(outputs.argmax(dim=2) == part.y)
        return Evaluation(*(torch.cat(parts, 1).double().mean(1) for parts in (losses, correct)))

    def where(self, chosen: Tensor, others: State) -> State:
        """A copy of the weights and biases of the chosen networks, and those of the others."""
        return {
            name: torch.where(chosen.view(-1, *[1] * (tensor.ndim - 1)), tensor, others[name])
            for name, tensor in self.parameters.items()
        }

    def state(self, model: nn.Sequential, parameters: State, i: int) -> State:
        """Network i as a state for `weight_rewinding`, with the model's own masked weights."""
        return {
            name: torch.where(self.masks[name][i], parameters[name][i], tensor)
            for name, tensor in snapshot(model).items()
        }


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
