"""Fast training of one masked fully connected network (notebook 11)."""

import warnings
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam

from prunelab.data import Data, Split
from prunelab.masks import effective_weight, kept_weights, prunable_layers
from prunelab.rewinding import State, snapshot, weight_rewinding
from prunelab.training import Evaluation, shuffled_batches

SPARSE_DENSITY = 0.15
"""Up to here a sparse first layer makes the steps of LeNet-300-100 faster on a CPU."""


class Trained(NamedTuple):
    """A finished run: its `history`, and the weights and biases at `early_stop` as a state."""

    history: pd.DataFrame
    best: State


def fit_masked(
    model: nn.Sequential,
    data: Data,
    *,
    steps: int,
    batch_size: int = 60,
    lr: float = 1.2e-3,
    seed: int = 0,
    eval_every: int = 100,
    eval_splits: tuple[str, ...] = ("valid",),
) -> Trained:
    """Train a masked fully connected network in place with Adam, cross-entropy (0.1) and ReLU.

    The same as `fit(model, data, optimizer=Adam(lr), …)` up to rounding, and faster: what cannot
    change the outputs or the gradients (see `MaskedMLP`) is left out, gradients need no graph,
    and all parameters are one tensor to the optimizer. Masked weights do not move.

    Args:
        model: linear layers with ReLU in between, such as `lenet300()`; it is left with the
            weights of the last step, in the device it was.
        data, steps, batch_size, seed: as in `fit`.
        lr: Adam's learning rate, constant. Its moments start at zero in every call.
        eval_every: steps between evaluations; there is always one before the first step and one
            after the last.
        eval_splits: which of "train", "valid" and "test" to evaluate. "valid" has to be one of
            them; the others have no influence on training nor on what is kept.

    Returns:
        `.history`, one row an evaluation and split: `step`, `split`, `loss` and `accuracy`, as
        `fit` says them; and `.best`, a state for `weight_rewinding`.

    Raises:
        ValueError: another kind of network, a number out of range, no validation images, splits
            without "valid".

    Source: Frankle & Carbin (2019), arXiv:1803.03635, figure 2.
    """
    check_arguments(data, steps, batch_size, eval_every, eval_splits)
    network = MaskedMLP(model)
    train = network.reduced(data.train)
    splits = {name: network.reduced(getattr(data, name)) for name in eval_splits}
    targets = F.one_hot(train.y, network.weights[-1].shape[0]).to(train.x.dtype)
    optimizer = _Adam(network.parameters, lr)
    batches = shuffled_batches(len(train), batch_size, seed, train.x.device)

    history: list[dict] = []
    lowest, best = float("inf"), network.parameters.clone()
    for step in range(steps + 1):
        if step % eval_every == 0 or step == steps:
            found = {name: network.evaluate(split) for name, split in splits.items()}
            history += [
                {"step": step, "split": name, **result._asdict()} for name, result in found.items()
            ]
            if found["valid"].loss < lowest:
                lowest, best = found["valid"].loss, network.parameters.clone()
        if step < steps:
            index = next(batches)
            network.differentiate(train.x.index_select(0, index), targets.index_select(0, index))
            optimizer.step()
    last = network.parameters.clone()
    network.parameters.copy_(best)
    best_state = snapshot(network.write_to(model))
    network.parameters.copy_(last)
    network.write_to(model)
    return Trained(pd.DataFrame(history), best_state)


def check_arguments(
    data: Data, steps: int, batch_size: int, eval_every: int, eval_splits: tuple[str, ...]
) -> None:
    """Refuse what `fit_masked` and `fit_together` cannot do, before anything is changed."""
    for name, value in {"steps": steps, "eval_every": eval_every}.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r} must be a whole number of at least 1")
    if not isinstance(batch_size, int) or not 1 <= batch_size <= len(data.train):
        raise ValueError(
            f"batch_size={batch_size!r} must be from 1 to the {len(data.train)} training images"
        )
    unknown = set(eval_splits) - {"train", "valid", "test"}
    if isinstance(eval_splits, str) or unknown or "valid" not in eval_splits:
        raise ValueError(
            f'eval_splits={eval_splits!r} must be a tuple of "train", "valid" and "test", with '
            '"valid": the lowest validation loss says which weights are kept'
        )
    for name in eval_splits:
        if len(getattr(data, name)) == 0:
            raise ValueError(
                f"data has no {name} images; load_data(valid=5000) sets images for validation aside"
            )


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
        layers = linear_layers(model)
        self.alive = living_units([kept_weights(layer) for layer in layers])
        masks = [self._block(kept_weights(layer), i) for i, layer in enumerate(layers)]
        weights = [self._block(effective_weight(layer), i) for i, layer in enumerate(layers)]
        biases = [layer.bias.detach()[self.alive[i + 1]] for i, layer in enumerate(layers)]
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


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The layers of a network of linear layers with ReLU in between; an error for any other."""
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
