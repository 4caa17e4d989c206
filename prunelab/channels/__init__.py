"""Run a network on labels instead of numbers: which channels belong together (notebook 05).

Every index of every parameter axis gets a label, an integer. The network's own forward is run on
tensors that hold labels where activations would be. An operation that only moves data (a reshape,
a concatenation, a channel shuffle) is executed on the labels as it is. An operation that combines
channels says one of two things: these labels are one channel (a *tie*), or this label may not go
(it is *fixed*). An operation without a rule fixes all it touches. The steps are written down, to
hold the cut network against the whole one.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEUTRAL, INPUT, FIXED = 0, 1, 2
"""Labels of a constant (padding, a number), which ties to nothing; of the model's input; and of
whatever else may not go."""
RESERVED = {INPUT: "reads the model's input", FIXED: "meets what may not go"}

ELEMENTWISE = _names(
    """relu relu6 hardtanh sigmoid hardsigmoid tanh hardswish gelu silu mish leaky_relu elu selu
    celu softplus softsign logsigmoid threshold clamp clip neg abs exp log sqrt rsqrt square erf
    pow where add sub mul div true_divide rsub maximum minimum lerp __pow__ __neg__ __add__
    __sub__ __mul__ __truediv__ __radd__ __rsub__ __rmul__ __rtruediv__ __iadd__ __isub__
    __imul__ __itruediv__"""
)
PASSES = _names(
    """contiguous clone detach to type type_as float double half bfloat16 requires_grad dropout
    dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout nan_to_num cpu cuda"""
)
MOVES = _names(
    """view view_as reshape reshape_as flatten unflatten permute transpose swapaxes swapdims
    moveaxis movedim t unsqueeze squeeze stack chunk split tensor_split unbind narrow select
    index_select __getitem__ expand expand_as repeat repeat_interleave roll flip channel_shuffle
    pixel_shuffle pixel_unshuffle"""
)
POOLS = _names(
    """max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool1d lp_pool2d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool2d adaptive_max_pool3d interpolate upsample max_pool2d_with_indices
    adaptive_max_pool2d_with_indices"""
)
REDUCTIONS = _names("mean sum amax amin var std")
QUESTIONS = _names(
    """size dim ndimension numel nelement stride is_contiguous is_complex is_nested get_device
    element_size __len__ assert"""
)
VALUES = _names("__bool__ __int__ __float__ __index__ __array__ item tolist numpy nonzero unique")


class Label(Tensor):
    """Integer labels in the shape of the activation they stand for."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class CannotFollow(ValueError):
    """A cut network does something else with these labels than the whole one, or fails."""

    def __init__(self, labels: Tensor, why: str):
        super().__init__(why)
        self.labels = labels


class LabelRun(TorchFunctionMode):
    """Follows labels through a network and collects what is tied and what is fixed.

    Args:
        model: the network whose parameters and buffers are known by name.

    Attributes:
        axes: the labels of each parameter by dimension; under None, a label for each element.
        writes, reads: weights, each with the dimension of its output or of its input channels.
        ties: pairs of labels that are one channel, as `pair_codes`.
        fixed: labels that may not go, with the reason.
        given_up: parameters without labels, with the reason.
        steps: the operations in order, with their numbers, and where they moved labels to.
        count: labels in use, the reserved ones included.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.names: dict[int, str] = {}
        self.tensors = []  # kept alive, as an id is given again
        for tensors in (model.named_parameters, model.named_buffers):
            for name, tensor in tensors(remove_duplicate=False):
                self.names.setdefault(id(tensor), name)
                self.tensors.append(tensor)
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._NormBase) and not module.state_dict():
                module.register_forward_pre_hook(partial(self._count_features, name))
        floats = [t.dtype for t in self.tensors if t.is_floating_point()]
        self.dtype = floats[0] if floats else torch.float32
        self.axes: dict[str, dict[int | None, Tensor]] = {}
        self.writes: list[tuple[str, int]] = []
        self.reads: list[tuple[str, int]] = []
        self.ties: list[Tensor] = []
        self.fixed: list[tuple[Tensor, str]] = []
        self.given_up: dict[str, str] = {}
        self.steps: list[tuple[str, list | Tensor]] = []
        self.count = FIXED + 1
        self.met: list[list[Label]] = []

    def follow(self, model: nn.Module, arguments: tuple, named_arguments: dict) -> None:
        """Run the forward of `model` on labels. Its inputs and outputs may not go."""

        def enter(value):
            is_input = isinstance(value, Tensor) and value.is_floating_point()
            return _label(_all(INPUT, value.shape)) if is_input else value

        arguments, named_arguments = tree_map(enter, (arguments, named_arguments))
        self.met.clear()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), self:
            torch.default_generator.manual_seed(0)
            outputs = model(*arguments, **named_arguments)
        for label in _labels_in(outputs):
            self.fix(label, "is the model's output")

    def tie(self, a: Tensor, b: Tensor) -> None:
        """These labels are one channel, element by element."""
        a, b = torch.broadcast_tensors(a, b)
        for d in range(a.dim()):
            if a.size(d) > 1 and a.stride(d) == b.stride(d) == 0:
                a, b = a.narrow(d, 0, 1), b.narrow(d, 0, 1)
        a, b = a.reshape(-1), b.reshape(-1)
        low, high = torch.minimum(a, b), torch.maximum(a, b)
        different = (low != high) & (low != NEUTRAL)
        if not different.all():
            low, high = low[different], high[different]
        if not len(low):
            return
        if low.min() <= FIXED:
            for reserved, why in RESERVED.items():
                self.fix(high[low == reserved], why)
            low, high = low[low > FIXED], high[low > FIXED]
        self.note(pair_codes(low, high))

    def note(self, pairs: Tensor) -> None:
        self.ties.append(pairs)

    def fix(self, labels: Tensor, why: str) -> None:
        """These labels may not go."""
        labels = self._distinct_labels(labels)
        if len(labels):
            self.fixed.append((labels, why))

    def _distinct_labels(self, labels: Tensor) -> Tensor:
        """In ascending order, without the reserved ones."""
        seen = torch.zeros(self.count, dtype=torch.bool)
        seen[distinct(_plain(labels))] = True
        seen[: FIXED + 1] = False
        return seen.nonzero().flatten()

    def step(self, name: str, numbers_or_labels: list | Tensor) -> None:
        """What the forward does next, to be done by the cut network as well."""
        self.steps.append((name, numbers_or_labels))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.__name__
        name = name if name.startswith("__") else name.strip("_")
        leaves = tree_leaves((args, kwargs))
        labels = [t for t in leaves if isinstance(t, Label)]
        registered = [t for t in leaves if self._is_registered(t)]
        if name in QUESTIONS or not (labels or registered):
            return func(*args, **kwargs)
        if name == "__get__":
            return self._attribute(func, args[0])
        if name == "is_floating_point":
            return True
        if name in VALUES:
            if labels:
                raise ValueError(f"it depends on the values of a tensor (calls `{name}`)")
            self._give_up(self.names[id(registered[0])], f"is read by `{name}`")
            return func(*args, **kwargs)
        if name.startswith("new_") or name.endswith("_like"):
            return func(*tree_map(_hollow("cpu"), args), **kwargs)
        self.met.append(labels)
        may_vary = name in MOVES or name in RESIZED
        self.step(name, [] if may_vary else self._numbers(leaves))
        try:
            return self._apply(name, func, args, kwargs)
        except CannotFollow:
            raise
        except Exception as error:
            return self._no_rule(func, args, kwargs, f"enters `{name}`, which fails: {error}")

    def _apply(self, name: str, func: Callable, args: tuple, kwargs: dict):
        rule = RULES.get(name)
        if rule:
            return rule(self, func, *args, **kwargs)
        if name in ELEMENTWISE:
            return self._elementwise([t for t in tree_leaves((args, kwargs)) if torch.is_tensor(t)])
        if name in PASSES:
            return _label(self._labels(args[0] if args else kwargs["input"]))
        if name in MOVES:
            return self._move(name, func, args, kwargs)
        return self._no_rule(func, args, kwargs)

    def _no_rule(self, func: Callable, args: tuple, kwargs: dict, why: str = ""):
        why = why or f"enters `{func.__name__.strip('_')}`, which may mix channels"
        self.step("fixes", [])
        for tensor in tree_leaves((args, kwargs)):
            if isinstance(tensor, Label):
                self.fix(tensor, why)
            elif self._is_registered(tensor):
                self._give_up(self.names[id(tensor)], why)
        return tree_map(
            lambda t: _label(_all(FIXED, t.shape)) if torch.is_tensor(t) else t,
            _dry_run(func, args, kwargs),
        )

    # --- parameters ------------------------------------------------------------------------------

    def _numbers(self, leaves: list) -> list:
        """The numbers among the arguments of an operation; a plain tensor may be one, too."""
        plain = [t for t in leaves if torch.is_tensor(t) and not isinstance(t, Label)]
        plain = [t for t in plain if t.numel() == 1 and not (self._is_registered(t) or t.is_meta)]
        return [v for v in leaves if isinstance(v, int | float)] + [t.item() for t in plain]

    def _is_registered(self, tensor) -> bool:
        return torch.is_tensor(tensor) and id(tensor) in self.names and tensor.is_floating_point()

    def _attribute(self, get: Callable, tensor: Tensor):
        if get.__self__ is Tensor.dtype:
            return self.dtype if isinstance(tensor, Label) else get(tensor)
        value = get(tensor)
        is_data = torch.is_tensor(value) and get.__self__ is not Tensor.grad
        return _label(get(self._labels(tensor))) if is_data else value

    def _axis(self, tensor: Tensor, dim: int | None, role: list | None = None) -> Tensor:
        """Labels of a parameter along a dimension; for None, a label for each element."""
        if not self._is_registered(tensor):
            raise TypeError("not a parameter")
        shape = tensor.shape if dim is None else tensor.shape[dim : dim + 1]
        return self._named_axis(self.names[id(tensor)], dim, shape, role)

    def _named_axis(self, name: str, dim: int | None, shape, role: list | None = None) -> Tensor:
        labels = self.axes.setdefault(name, {})
        if labels and (None in labels) != (dim is None):
            self._give_up(name, "is used in two ways")
        if name in self.given_up:
            return _all(FIXED, shape)
        if dim not in labels:
            end = self.count + shape.numel()
            labels[dim] = torch.arange(self.count, end).view(shape)
            self.count = end
        if role is not None and (name, dim) not in role:
            role.append((name, dim))
        return labels[dim]

    def _give_up(self, name: str, why: str) -> None:
        self.given_up.setdefault(name, why)
        for labels in self.axes.get(name, {}).values():
            self.fix(labels, why)

    def _labels(self, tensor) -> Tensor:
        if isinstance(tensor, Label):
            return _plain(tensor)
        if self._is_registered(tensor):
            return self._axis(tensor, None)
        return _all(FIXED, tensor.shape)

    def _carry(self, vector, labels: Tensor) -> None:
        """A bias or a normalization vector belongs to these channels."""
        if self._is_registered(vector):
            self.tie(self._axis(vector, 0 if vector.dim() == 1 else None), labels)
        elif torch.is_tensor(vector):
            self.tie(self._labels(vector), labels)

    # --- operations ------------------------------------------------------------------------------

    def _elementwise(self, operands: list[Tensor]) -> Label:
        result = operands[0]
        for other in operands[1:]:
            left, right = self._beside(result, other), self._beside(other, result)
            self.tie(left, right)
            shape = torch.broadcast_shapes(result.shape, other.shape)
            if (distinct(left) == NEUTRAL).any():
                left = (
                    right
                    if left.numel() == 1
                    else torch.maximum(*torch.broadcast_tensors(left, right))
                )
            result = _label(left.expand(shape))
        return result if isinstance(result, Label) else _label(self._labels(result))

    def _beside(self, a: Tensor, b: Tensor) -> Tensor:
        """Labels of `a` where it meets `b` elementwise; neutral where one value of it serves many
        channels of `b`."""
        if isinstance(b, Label) and not _meets(a, b):
            if not isinstance(a, Label):
                return torch.tensor(NEUTRAL)
            if any(_varies(b, d) for d in range(b.dim())):
                self.fix(a, "is one value for many channels")
                return torch.tensor(NEUTRAL)
        return self._labels(a)

    def _move(self, name: str, func: Callable, args: tuple, kwargs: dict):
        indices = args[1:] if name in ("__getitem__", "index_select") else ()
        if any(isinstance(t, Label) for t in tree_leaves(indices)):
            return self._no_rule(func, args, kwargs)
        if func.__name__ == f"{name}_":  # in place
            return func(*args, **kwargs)
        if name in ("view", "view_as"):  # expanded labels have no contiguous view
            func = torch.Tensor.reshape if name == "view" else torch.Tensor.reshape_as

        def movable(value):
            is_data = isinstance(value, Label) or (
                torch.is_tensor(value) and value.is_floating_point()
            )
            return self._labels(value) if is_data else value

        moved = func(*tree_map(movable, args), **tree_map(movable, kwargs))
        for part in tree_leaves(moved):
            self.step("moves", part)
        return tree_map(lambda t: _label(t) if torch.is_tensor(t) else t, moved)

    def _iterate(self, func, input):
        return iter(self._move("unbind", torch.unbind, (input,), {}))

    def _pad(self, func, input, pad, mode="constant", value=None):
        labels, pad = self._labels(input), list(pad)
        for i in range(len(pad) // 2):  # pairs from the last dimension on
            d = labels.dim() - 1 - i
            if not _varies(labels, d):  # the border belongs to the same channel
                shape = list(labels.shape)
                shape[d] += pad[2 * i] + pad[2 * i + 1]
                labels = labels.narrow(d, 0, 1).expand(shape)
                pad[2 * i : 2 * i + 2] = 0, 0
        if not any(pad):
            return _label(labels)
        if mode == "constant":
            labels = F.pad(labels, pad, value=NEUTRAL)
        else:  # torch mirrors no integers
            labels = F.pad(labels.double(), pad, mode).long()
        self.step("moves", labels)
        return _label(labels)

    def _cat(self, func, tensors, dim=0, **kwargs):
        parts = [self._labels(t) for t in tensors]
        dim = kwargs.get("axis", dim) % parts[0].dim()
        shape = list(parts[0].shape)
        shape[dim] = sum(part.size(dim) for part in parts)
        ends = [part.narrow(dim, 0, 1) for part in parts]
        if any(_varies(ends[0], d) for d in range(len(shape))):  # channels beside one another
            for end in ends[1:]:
                self.tie(end, ends[0])
        for d in range(len(shape)):  # keep what is expanded expanded
            if d != dim and all(part.stride(d) == 0 for part in parts):
                parts = [part.narrow(d, 0, 1) for part in parts]
        labels = torch.cat(parts, dim).expand(shape)
        self.step("moves", labels)
        return _label(labels)

    def _pool(self, func, *args, **kwargs):
        labels = self._labels(args[0] if args else kwargs["input"])
        pooled = next((int(c) for c in func.__name__ if c.isdigit()), labels.dim() - 2)
        dims = range(labels.dim() - pooled, labels.dim())
        if any(_varies(labels, d) for d in dims):
            return self._no_rule(func, args, kwargs)
        for d in dims:
            labels = labels.narrow(d, 0, 1)
        return tree_map(lambda t: _label(labels.expand(t.shape)), _dry_run(func, args, kwargs))

    def _reduce(self, func, input, dim=None, *args, **kwargs):
        labels = self._labels(input)
        if dim is None or isinstance(dim, bool):
            return self._no_rule(func, (input,) if dim is None else (input, dim), kwargs)
        dims = [d % labels.dim() for d in ([dim] if isinstance(dim, int) else dim)]
        if any(_varies(labels, d) for d in dims):
            return self._no_rule(func, (input, dim, *args), kwargs)
        self.step("reduces", [labels.size(d) for d in dims])
        for d in dims:
            labels = labels.narrow(d, 0, 1)
        return _label(labels.reshape(_dry_run(func, (input, dim, *args), kwargs).shape))

    def _softmax(self, func, input, dim=None, *args, **kwargs):
        labels = self._labels(input)
        if dim is None or _varies(labels, dim % labels.dim()):
            return self._no_rule(func, (input, dim, *args), kwargs)
        self.step("reduces", [labels.size(dim)])
        return _label(labels)

    def _glu(self, func, input, dim=-1):
        _dry_run(func, (input, dim), {})
        return self._elementwise([_label(half) for half in self._labels(input).chunk(2, dim)])

    def _linear(self, func, input, weight, bias=None):
        shape = _dry_run(func, (input, weight, bias), {}).shape
        written = self._axis(weight, 0, self.writes)
        self.tie(self._labels(input), self._axis(weight, 1, self.reads))
        self._carry(bias, written)
        return _label(written.expand(shape))

    def _conv(self, func, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        shape = _dry_run(func, (input, weight, bias, stride, padding, dilation, groups), {}).shape
        labels, channel = self._labels(input), input.dim() - weight.dim() + 1
        written = self._axis(weight, 0, self.writes)
        if groups == 1 and not self._was_grouped(weight):
            self.tie(labels, _along(self._axis(weight, 1, self.reads), channel, labels.dim()))
        else:  # a group goes as a whole, its inputs with its outputs
            first = written.view(groups, -1)[:, :1]
            self.tie(written.view(groups, -1), first)
            inputs = labels.movedim(channel, -1).unflatten(-1, (groups, -1))
            self.tie(inputs, first)
        self._carry(bias, written)
        return _label(_along(written, channel, len(shape)).expand(shape))

    def _was_grouped(self, weight: Tensor) -> bool:
        return False

    def _conv_transpose(
        self,
        func,
        input,
        weight,
        bias=None,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        dilation=1,
    ):
        arguments = (input, weight, bias, stride, padding, output_padding, groups, dilation)
        if groups != 1:
            return self._no_rule(func, arguments, {})
        shape = _dry_run(func, arguments, {}).shape
        labels, channel = self._labels(input), input.dim() - weight.dim() + 1
        written = self._axis(weight, 1, self.writes)
        self.tie(labels, _along(self._axis(weight, 0, self.reads), channel, labels.dim()))
        self._carry(bias, written)
        return _label(_along(written, channel, len(shape)).expand(shape))

    def _embedding(self, func, input, weight, padding_idx=None, max_norm=None, *args, **kwargs):
        if max_norm is not None:
            return self._no_rule(func, (input, weight, padding_idx, max_norm, *args), kwargs)
        written = self._axis(weight, 1, self.writes)
        return _label(written.expand(*input.shape, -1))

    def _channelwise(self, func, input, *args, **kwargs):
        """Normalization and PReLU: every tensor argument is a vector over the channels."""
        labels = self._labels(input)
        vectors = [v for v in (*args, *kwargs.values()) if torch.is_tensor(v) and v.numel() > 1]
        if vectors:
            axes = [_along(self._axis(vector, 0), 1, labels.dim()) for vector in vectors]
            self.tie(torch.stack(axes), labels)
        return _label(labels)

    def _count_features(self, name: str, module: nn.Module, inputs: tuple) -> None:
        """A normalization without any tensor still says how many channels it expects."""
        with torch._C.DisableTorchFunction():
            labels = self._labels(inputs[0])
            counted = self._named_axis(f"{name}.num_features", 0, labels.shape[1:2])
            self.tie(_along(counted, 1, labels.dim()), labels)

    def _layer_norm(self, func, input, normalized_shape, weight=None, bias=None, *args, **kwargs):
        labels = self._labels(input)
        if weight is None or input.shape[-len(normalized_shape) :] != tuple(normalized_shape):
            return self._no_rule(func, (input, normalized_shape, weight, bias), {})
        self._carry(weight, labels)
        if isinstance(bias, Tensor):  # for rms_norm it is the number eps
            self._carry(bias, labels)
        return _label(labels)

    def _group_norm(self, func, input, num_groups, weight=None, bias=None, *args, **kwargs):
        labels = self._labels(input)
        if weight is None:
            return self._no_rule(func, (input, num_groups), {})
        groups = labels.unflatten(1, (num_groups, -1))
        self.tie(groups, groups[:, :, :1])  # a group goes as a whole
        for vector in (weight, bias):
            if vector is not None:
                self.tie(_along(self._axis(vector, 0), 1, labels.dim()), labels)
        return _label(labels)


RULES: dict[str, Callable] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), LabelRun._conv),
    **dict.fromkeys(
        ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), LabelRun._conv_transpose
    ),
    **dict.fromkeys(("batch_norm", "instance_norm", "prelu"), LabelRun._channelwise),
    **dict.fromkeys(("layer_norm", "rms_norm"), LabelRun._layer_norm),
    **dict.fromkeys(("cat", "concat", "concatenate"), LabelRun._cat),
    **dict.fromkeys(("softmax", "log_softmax"), LabelRun._softmax),
    **dict.fromkeys(REDUCTIONS, LabelRun._reduce),
    **dict.fromkeys(POOLS, LabelRun._pool),
    "linear": LabelRun._linear,
    "embedding": LabelRun._embedding,
    "group_norm": LabelRun._group_norm,
    "pad": LabelRun._pad,
    "glu": LabelRun._glu,
    "__iter__": LabelRun._iterate,
}
RESIZED = frozenset(n for n in RULES if "conv" in n or n.endswith("_norm")) | {"pad"}


class Rehearsal(LabelRun):
    """Follows the surviving labels through a cut network: all must do as they did before.

    The same operations in the same order, with the same numbers, and every operation that moves
    labels must leave the survivors in the same order, so that each channel meets what it met.

    Args:
        model: the cut network.
        whole: the run of the whole network.
        axes: the surviving labels of the parameters.
        pairs: the ties of the whole network, as sorted `pair_codes`.
        gone: for each label of the whole network, whether it has been cut.

    Raises:
        CannotFollow: on `follow`, at the first step that differs.
    """

    def __init__(self, model, whole: LabelRun, axes: dict, pairs: Tensor, gone: Tensor):
        super().__init__(model)
        self.axes, self.pairs, self.gone = axes, pairs, gone
        self.count = whole.count
        self.expected = iter(whole.steps)

    def step(self, name: str, numbers_or_labels: list | Tensor) -> None:
        expected, before = next(self.expected, ("nothing", []))
        if name != expected:
            why = f"the cut forward takes another path: `{name}` instead of `{expected}`"
        elif isinstance(before, list):
            if numbers_or_labels == before:
                return
            why = f"`{name}` computes with numbers that depend on how many channels there are"
        else:
            if torch.equal(numbers_or_labels, surviving(before, self.gone)):
                return
            why = "the forward picks or orders channels by number"
        met = self.met[-1] if self.met else []
        raise CannotFollow(torch.cat([distinct(_plain(t)).flatten() for t in met]), why)

    def note(self, pairs: Tensor) -> None:
        place = torch.searchsorted(self.pairs, pairs).clamp(max=len(self.pairs) - 1)
        new = pairs[self.pairs[place] != pairs]
        if len(new):
            new = torch.cat([new // MOST_LABELS, new % MOST_LABELS])
            raise CannotFollow(new, "channels meet that had not met before")

    def fix(self, labels: Tensor, why: str) -> None:
        pass

    def _was_grouped(self, weight: Tensor) -> bool:
        return 1 not in self.axes.get(self.names.get(id(weight)), {1: None})


MOST_LABELS = 2**31


def pair_codes(low: Tensor, high: Tensor) -> Tensor:
    """One integer for each pair of labels."""
    return low * MOST_LABELS + high


def _label(tensor: Tensor) -> Label:
    return torch.Tensor._make_subclass(Label, tensor)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_subclass(Tensor)


def _all(label: int, shape) -> Tensor:
    return torch.tensor(label).expand(shape)


def distinct(tensor: Tensor) -> Tensor:
    """Without the copies along expanded dimensions."""
    for d in range(tensor.dim()):
        if tensor.size(d) > 1 and tensor.stride(d) == 0:
            tensor = tensor.narrow(d, 0, 1)
    return tensor


def surviving(labels: Tensor, gone: Tensor) -> Tensor:
    """Without the slices, along any dimension, of which every label is gone."""
    compact, shape = distinct(labels), list(labels.shape)
    is_gone = gone[compact]
    for d in range(labels.dim()) if is_gone.any() else ():
        kept = kept_along(is_gone, d)
        if len(kept) < compact.size(d):
            compact, shape[d] = compact.index_select(d, kept), len(kept)
    return compact.expand(shape)


def kept_along(gone: Tensor, dim: int) -> Tensor:
    """Indices of the slices that are not gone altogether."""
    return (~gone.movedim(dim, 0).reshape(gone.size(dim), -1).all(dim=1)).nonzero().flatten()


def _varies(labels: Tensor, dim: int) -> bool:
    if labels.size(dim) == 1 or labels.stride(dim) == 0:
        return False
    labels = distinct(_plain(labels))
    return bool((labels != labels.narrow(dim, 0, 1)).any())


def _meets(a: Tensor, b: Label) -> bool:
    """Whether broadcasting pairs different entries of `a` with different labels of `b`."""
    dims = range(1, 1 + min(a.dim(), b.dim()))
    return any(a.size(-d) > 1 and _varies(b, b.dim() - d) for d in dims)


def _along(vector: Tensor, dim: int, dims: int) -> Tensor:
    return vector.view([-1 if d == dim else 1 for d in range(dims)])


def _hollow(device: str) -> Callable:
    """Replaces tensors by empty ones of their shape; labels count as float32."""

    def hollow(value):
        if not isinstance(value, Tensor):
            return value
        is_float = isinstance(value, Label) or value.is_floating_point()
        dtype = torch.float32 if is_float else value.dtype
        return torch.zeros(value.shape, dtype=dtype, device=device)

    return hollow


def _dry_run(func: Callable, args: tuple, kwargs: dict):
    """The outputs of an operation, without their values."""
    hollow = _hollow("meta")
    return func(*tree_map(hollow, args), **tree_map(hollow, kwargs))


def _labels_in(outputs, depth: int = 0) -> Iterator[Label]:
    """Labels in containers and in the attributes of objects."""
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, Label):
            yield leaf
        elif depth < 4 and hasattr(leaf, "__dict__"):
            yield from _labels_in(vars(leaf), depth + 1)
