"""Channel surgery: remove channels for real, and get a smaller ordinary network (notebook 05).

`LabelRun` says which channels belong together; here they are chosen, cut out of every tensor, and
the cut network is rehearsed: run on the surviving labels, all of them must meet as they did before.
"""

import copy
import difflib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from prunelab.channels import (
    INPUT,
    MOST_LABELS,
    RESERVED,
    CannotFollow,
    LabelRun,
    Rehearsal,
    distinct,
    kept_along,
)
from prunelab.filters import filter_norms
from prunelab.pruning import lowest

VECTORS = ("weight", "bias", "running_mean", "running_var", "num_features")
CRITERIA = ("l1", "l2", "random", "bn_scale")


class CannotCut(ValueError):
    """These channels can't be removed; the message says why."""


class LeftAlone(UserWarning):
    """Channels that were not cut, because nothing proves that it would be right."""


def masked_filter_output(batch_norm: nn.Module) -> Tensor:
    r"""What BatchNorm makes, in evaluation mode, of a channel whose filter is all zeros.

    $$y_c = \beta_c - \gamma_c \frac{\mu_c}{\sqrt{\sigma_c^2 + \epsilon}} \tag{5.1}$$

    A masked filter is not a removed one: this constant goes on into the next layer.

    Args:
        batch_norm: a BatchNorm layer with running statistics, weight and bias.

    Returns:
        The constant of each channel `[channels]`.
    """
    deviation = (batch_norm.running_var + batch_norm.eps).sqrt()
    return (batch_norm.bias - batch_norm.weight * batch_norm.running_mean / deviation).detach()


def prune_channels(model: nn.Module, layer_name: str, channel_indices, example_inputs) -> nn.Module:
    r"""Remove output channels of a layer, and all that belongs to them elsewhere.

    $$W'_{\text{writer}} = W[\text{kept}, :], \qquad W'_{\text{reader}} = W[:, \text{kept}]
    \tag{5.2}$$

    for every layer that writes these channels and every one that reads them; BatchNorm vectors
    and biases in between are cut alike. The result computes what `model` computes with the
    readers' weights for the removed channels set to zero; only LayerNorm, RMSNorm and GroupNorm
    average over the channels that are left.

    Args:
        model: any network whose forward does not depend on the values of its tensors.
        layer_name: a convolution, linear or embedding layer, as in `model.named_modules()`.
        channel_indices: the output channels to remove.
        example_inputs: what the forward takes: a tensor, a tuple of arguments, or a dictionary of
            named arguments. Only shapes matter; one or two examples suffice.

    Returns:
        A new network of ordinary modules with the same weights, in the modes of `model`, which
        is left as it is. `save_network` stores it.

    Raises:
        CannotCut: an unknown layer, a channel that does not exist, all channels of a layer, part
            of what goes together, or channels that may not go, such as the model's outputs.
    """
    plan = ChannelPlan(model, example_inputs)
    units = plan.units_of(layer_name, channel_indices)
    try:
        return plan.cut(units)
    except CannotFollow as conflict:
        raise CannotCut(f"channels of {layer_name!r} can't go: {conflict}") from conflict


def prune_network(
    model: nn.Module,
    ratio: float = 0.5,
    example_inputs=None,
    criterion: str | Callable[[Tensor], Tensor] = "l1",
    scope: str = "uniform",
    exclude: str | tuple[str, ...] = (),
    round_to: int | None = None,
    seed: int = 0,
) -> nn.Module:
    r"""Remove the lowest-scoring channels of the whole network.

    A *unit* $u$ is a set of channels that must go together. Its score adds up the filters $W_j$
    that write it,

    $$s_u = \sum_{j \in u} \|W_j\|_p \tag{5.3}$$

    with $p$ = 1 ("l1") or 2 ("l2"); "bn_scale" adds up $|\gamma_j|$ of BatchNorm instead. In every
    group, all units side by side on one axis of a layer, the fraction `ratio` goes ("uniform"); or
    the lowest of the whole network go ("global"), with norms taken relative to their group's mean,
    as layers differ in scale. A group keeps at least one unit.

    Args:
        model, example_inputs: as in `prune_channels`.
        ratio: fraction of the units to remove, 0 ≤ ratio < 1.
        criterion: "l1", "l2", "random", "bn_scale", or a function from a layer's weights
            `[channels, ...]` to a score for each channel.
        scope: "uniform" or "global".
        exclude: names of layers, or beginnings of names, whose output channels all stay.
        round_to: widths become the nearest multiple of this number, where they are cut at all.
        seed: draws the "random" scores.

    Returns:
        A new network of ordinary modules; `model` is left as it is.

    Raises:
        ValueError: an argument out of range.
        CannotCut: there is nothing in this network that can be cut.

    Warns:
        LeftAlone: some channels stay because nothing proves that cutting them would be right.

    Source: Li et al. (2017), arXiv:1608.08710; for "bn_scale" Liu et al. (2017), arXiv:1708.06519.
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio} must be from 0 up to, but not including, 1")
    if not callable(criterion) and criterion not in CRITERIA:
        raise ValueError(f"criterion={criterion!r} must be one of {CRITERIA} or a function")
    if scope not in ("uniform", "global"):
        raise ValueError(f'scope={scope!r} must be "uniform" or "global"')
    if round_to is not None and (not isinstance(round_to, int) or round_to < 1):
        raise ValueError(f"round_to={round_to!r} must be a whole number of at least 1")
    plan = ChannelPlan(model, example_inputs)
    plan.exclude(exclude)
    scores = plan.scores(criterion, seed)
    relative = not callable(criterion) and criterion in ("l1", "l2")
    small = plan.cut_what_can_go(
        lambda groups: _lowest(groups, scores, ratio, scope, relative, round_to)
    )
    if small is None:
        reasons = [f"{layer} {why}" for layer, why in plan.left_alone().items()]
        raise CannotCut(f"nothing in this network can be cut. {'; '.join(reasons[:5])}")
    if alone := list(plan.left_alone()):
        names = ", ".join(alone[:5]) + (f" and {len(alone) - 5} more" if len(alone) > 5 else "")
        warnings.warn(
            f"left as they are: {names}; channel_groups(model, example_inputs) says why",
            LeftAlone,
            stacklevel=2,
        )
    return small


def channel_groups(model: nn.Module, example_inputs) -> pd.DataFrame:
    """What must go together: a row for each group and each layer it touches.

    A *unit* is a set of channels that can only be removed together; a *group* is all units side
    by side on one axis of a layer. Half of every group is cut on trial, to find out what can't go.

    Args:
        model, example_inputs: as in `prune_channels`.

    Returns:
        A table with the columns `group` (0: these channels stay), `layer`, `role` ("writes",
        "reads" or "carries"), `channels` and `units` (of the group in this layer), and `stays`
        (why they stay, or empty).

    Raises:
        CannotCut: the forward can't be followed on labels.
    """
    channels = channel_table(model, example_inputs)
    by = ["group", "layer", "role", "stays"]
    table = channels.groupby(by, sort=False)["unit"].agg(["size", "nunique"]).reset_index()
    table = table.rename(columns={"size": "channels", "nunique": "units"})
    return table[["group", "layer", "role", "channels", "units", "stays"]]


def channel_table(model: nn.Module, example_inputs) -> pd.DataFrame:
    """Every channel of every layer with the unit and group it belongs to, for drawing.

    Args:
        model, example_inputs: as in `prune_channels`.

    Returns:
        A table, one row a channel: `layer`, `role`, `channel`, `unit`, and `group` and `stays` as
        in `channel_groups`.

    Raises:
        CannotCut: the forward can't be followed on labels.
    """
    plan = ChannelPlan(model, example_inputs)
    plan.cut_what_can_go(lambda groups: [group.units[: len(group.units) // 2] for group in groups])
    return plan.table()


def save_network(small: nn.Module, path: Path | str) -> None:
    """Store a cut network: its weights, and which channels of the original it has kept.

    Args:
        small: what `prune_channels` or `prune_network` returned, trained further or not.
        path: the file to write.

    Raises:
        ValueError: a network that was not cut.
    """
    if not hasattr(small, "kept_channels"):
        raise ValueError("small was not cut; save its state_dict() with torch.save")
    torch.save({"kept": small.kept_channels, "weights": small.state_dict()}, path)


def load_network(original: nn.Module, path: Path | str) -> nn.Module:
    """Rebuild a network that `save_network` has stored, without unpickling code.

    Args:
        original: a network built as the one that was cut; its weights do not matter.
        path: the file.

    Returns:
        The small network, in the modes of `original`, which is left as it is.

    Raises:
        ValueError: the file belongs to another architecture.
    """
    stored = torch.load(path, map_location="cpu", weights_only=True)
    try:
        small = _cut(original, stored["kept"])
        small.load_state_dict(stored["weights"])
    except (KeyError, IndexError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path} does not fit original: {error}") from error
    small.kept_channels = stored["kept"]
    return small


class Group(NamedTuple):
    """Units side by side on one axis of a layer, and how many channels a unit has there."""

    units: Tensor
    channels_per_unit: set[int]


class ChannelPlan:
    """Which channels go together, which must stay, and how they are cut.

    Attributes:
        axes: the labels of every parameter by dimension (see `LabelRun`).
        unit: the unit of each label.
        stays: the units that may not go, with the reason.
    """

    def __init__(self, model: nn.Module, example_inputs):
        for name, module in model.named_modules():
            if any(buffer.endswith("_mask") for buffer, _ in module.named_buffers(recurse=False)):
                raise ValueError(f"layer {name!r} is masked; call make_pruning_permanent first")
        self.model = model
        self.arguments = _as_arguments(example_inputs)
        try:
            twin = _twin(model)
            self.run = run = LabelRun(twin)
            for training in (False, True):
                run.follow(twin.train(training), *self.arguments)
        except Exception as error:
            raise CannotCut(f"the forward can't be followed on labels: {error}") from error
        self.axes, self.writes, self.reads = run.axes, run.writes, run.reads
        self.given_up = run.given_up
        self.pairs = torch.unique(torch.cat([*run.ties, torch.zeros(1, dtype=torch.long)]))
        self.unit = _components(self.pairs // MOST_LABELS, self.pairs % MOST_LABELS, run.count)
        self.stays: dict[int, str] = {}
        for labels, why in run.fixed:
            self.keep(self.unit[labels], why)

    def keep(self, units: Tensor, why: str) -> None:
        """These units may not go."""
        for unit in units.tolist():
            self.stays.setdefault(unit, why)

    def exclude(self, names: str | tuple[str, ...]) -> None:
        """The output channels of these layers may not go."""
        for name in [names] if isinstance(names, str) else names:
            writes = [(w, dim) for w, dim in self.writes if f"{w}.".startswith(f"{name}.")]
            if not writes:
                raise ValueError(f"exclude={name!r} names no layer with output channels")
            for weight, dim in writes:
                self.keep(self.units(weight, dim), "is excluded")

    def units(self, weight: str, dim: int) -> Tensor:
        """The unit of each channel of a weight along a dimension."""
        return self.unit[self.axes[weight][dim]]

    def groups(self) -> list[Group]:
        """The units that may go, together with those beside them on one axis of a layer."""
        may_go = ~self._mask(list(self.stays))
        free = [units[may_go[units]] for units in (self.units(*written) for written in self.writes)]
        free = [units for units in free if len(units)]
        if not free:
            return []
        firsts = torch.cat([units[:1].expand(len(units)) for units in free])
        group_of = _components(firsts, torch.cat(free), len(self.unit))
        groups: dict[int, list[Tensor]] = {}
        for units in free:
            groups.setdefault(int(group_of[units[0]]), []).append(units)
        found = [
            Group(torch.cat(members).unique(), {len(u) // len(u.unique()) for u in members})
            for members in groups.values()
        ]
        for group in found:
            if len(group.units) == 1:
                self.keep(group.units, "goes only as a whole")
        return [group for group in found if len(group.units) > 1]

    def _mask(self, units: Tensor | list[int]) -> Tensor:
        mask = torch.zeros(len(self.unit), dtype=torch.bool)
        mask[units] = True
        return mask

    def scores(self, criterion: str | Callable[[Tensor], Tensor], seed: int) -> Tensor:
        """Equation (5.3): a score for every unit."""
        scores = torch.zeros(len(self.unit), dtype=torch.float64)
        if criterion == "random":
            return torch.rand(len(scores), generator=torch.Generator().manual_seed(seed))
        if criterion == "bn_scale":
            return self._bn_scales(scores)
        for name, dim in self.writes:
            weight = self.model.get_parameter(name).detach().movedim(dim, 0).cpu()
            norms = criterion(weight) if callable(criterion) else filter_norms(weight, criterion)
            norms = torch.as_tensor(norms).double()
            if norms.shape != weight.shape[:1] or not norms.isfinite().all():
                raise ValueError(
                    f"criterion returned {norms} for the weights of {_layer(name)!r}, "
                    f"{tuple(weight.shape)}; needed is a finite score for each of {len(weight)}"
                )
            scores.index_add_(0, self.units(name, dim), norms)
        return scores

    def _bn_scales(self, scores: Tensor) -> Tensor:
        seen = torch.zeros(len(scores), dtype=torch.bool)
        for name, module in self.model.named_modules():
            weight = f"{name}.weight"
            is_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if is_norm and 0 in self.axes.get(weight, {}):
                units = self.units(weight, 0)
                scores.index_add_(0, units, module.weight.detach().abs().double().cpu())
                seen[units] = True
        for group in self.groups():
            self.keep(group.units[~seen[group.units]], "has no BatchNorm to score it")
        return scores

    def cut(self, gone: Tensor) -> nn.Module:
        """Cut these units out, and rehearse.

        Raises:
            CannotFollow: the cut network does not do with its channels what the whole one did.
        """
        is_gone = self._mask(gone)
        kept = self._kept(is_gone)
        small = _cut(self.model, kept)
        self._rehearse(small, kept, is_gone)
        small.kept_channels = _after(getattr(self.model, "kept_channels", {}), kept)
        return small

    def cut_what_can_go(self, choose: Callable[[list[Group]], list[Tensor]]) -> nn.Module | None:
        """Cut the units chosen of the groups; a group that fails the rehearsal stays.

        Returns:
            The cut network, or None if all groups stay.
        """
        while groups := self.groups():
            chosen = choose(groups)
            try:
                return self.cut(torch.cat(chosen))
            except CannotFollow as conflict:
                guilty = [g for g in groups if torch.isin(g.units, conflict.labels).any()]
                for group in guilty or groups:
                    self.keep(group.units, str(conflict))
        return None

    def _kept(self, is_gone: Tensor) -> dict[str, dict[int, Tensor]]:
        """Indices to keep, for every dimension of a parameter that loses some."""
        kept: dict[str, dict[int, Tensor]] = {}
        for name, dims in self.axes.items():
            for dim, labels in dims.items():
                gone = is_gone[self.unit[labels]]
                for d in range(gone.dim()) if gone.any() else ():
                    indices = kept_along(gone, d)
                    if 0 < len(indices) < gone.size(d):
                        kept.setdefault(name, {})[d if dim is None else dim] = indices
        return kept

    def _rehearse(self, small: nn.Module, kept: dict, is_gone: Tensor) -> None:
        axes = {
            name: {dim: _survivors(labels, dim, kept.get(name, {})) for dim, labels in dims.items()}
            for name, dims in self.axes.items()
        }
        suspects = self._mask([])
        for group in self.groups():
            suspects[group.units] = is_gone[group.units].any()
        twin = _twin(small)
        run = Rehearsal(twin, self.run, axes, self.pairs, gone=is_gone[self.unit])
        for training in (False, True):
            try:
                run.follow(twin.train(training), *self.arguments)
            except Exception as error:
                labels = [error.labels] if isinstance(error, CannotFollow) else []
                labels += [distinct(t).flatten() for step in reversed(run.met) for t in step]
                for met in labels:  # the last that met before it failed, and were cut
                    units = self.unit[met[met < len(self.unit)]]
                    if suspects[units].any():
                        raise CannotFollow(units[suspects[units]], str(error)) from error
                raise CannotFollow(self.unit[:0], str(error)) from error

    def units_of(self, layer_name: str, channel_indices) -> Tensor:
        """The units that own these output channels, if exactly they can go."""
        units = self.units(*self._written_weight(str(layer_name)))
        try:
            chosen = torch.as_tensor(channel_indices).flatten().unique()
        except (TypeError, ValueError, RuntimeError):
            chosen = torch.empty(0)
        if chosen.dtype not in (torch.int32, torch.int64) or not len(chosen):
            raise CannotCut(
                f"channel_indices={channel_indices!r} must be whole numbers, at least one"
            )
        if chosen.min() < 0 or chosen.max() >= len(units):
            raise CannotCut(
                f"channel_indices={chosen.tolist()}: the channels of {layer_name!r} are "
                f"0 to {len(units) - 1}"
            )
        gone = units[chosen].unique()
        for unit in gone.tolist():
            if unit in self.stays:
                raise CannotCut(
                    f"channels {chosen.tolist()} of {layer_name!r} may not go: one of "
                    f"{self._touched(unit)}, which go together, {self.stays[unit]}"
                )
        together = _where(torch.isin(units, gone)).tolist()
        if missing := sorted(set(together) - set(chosen.tolist())):
            raise CannotCut(
                f"channels {chosen.tolist()} of {layer_name!r} go only together with its channels "
                f"{missing}; give all of them or none"
            )
        for name, dims in self.axes.items():
            for labels in dims.values():
                if torch.isin(self.unit[labels], gone).all():
                    raise CannotCut(
                        f"channels {chosen.tolist()} of {layer_name!r} are all that "
                        f"{_layer(name)!r} has; keep at least one"
                    )
        return gone

    def _written_weight(self, layer_name: str) -> tuple[str, int]:
        modules = dict(self.model.named_modules())
        if layer_name not in modules:
            close = difflib.get_close_matches(layer_name, modules, n=3)
            raise CannotCut(
                f"layer_name={layer_name!r} is no layer of the model; "
                + (
                    f"did you mean {' or '.join(map(repr, close))}?"
                    if close
                    else "see named_modules()"
                )
            )
        own = {id(p) for p in modules[layer_name].parameters(recurse=False)}
        names = [name for name, p in self.model.named_parameters() if id(p) in own]
        for name in names:
            if name in self.given_up:
                raise CannotCut(f"channels of {layer_name!r} may not go: it {self.given_up[name]}")
        written = [(name, dim) for name, dim in self.writes if name in names]
        if len(written) > 1:  # an embedding that shares its weight with a linear layer
            first = 1 if isinstance(modules[layer_name], nn.Embedding) else 0
            written = [(name, dim) for name, dim in written if dim == first]
        if written:
            return written[0]
        if not any(name in self.axes for name in names):
            if any(modules[layer_name].children()) or not names:
                raise CannotCut(
                    f"layer_name={layer_name!r} has no weights of its own; name a layer in it"
                )
            raise CannotCut(f"layer_name={layer_name!r} is never reached by the forward")
        writers = self._writers_beside(set(names) & set(self.axes))
        raise CannotCut(
            f"layer_name={layer_name!r} makes no channels, it only carries them; name one of "
            f"those that write them: {writers}"
        )

    def _writers_beside(self, names: set[str]) -> list[str]:
        carried = torch.cat(
            [self.unit[labels].flatten() for n in names for labels in self.axes[n].values()]
        )
        return [_layer(w) for w, d in self.writes if torch.isin(self.units(w, d), carried).any()]

    def _touched(self, unit: int) -> list[str]:
        return list(
            dict.fromkeys(
                _layer(name)
                for name, dims in self.axes.items()
                if any((self.unit[labels] == unit).any() for labels in dims.values())
            )
        )

    def left_alone(self) -> dict[str, str]:
        """Layers that keep all channels, with the reason; not those that write the output."""
        ordinary = ("is the model's output", "is excluded", RESERVED[INPUT])
        reasons = {_layer(weight): why for weight, why in self.given_up.items()}
        for weight, dim in self.writes:
            units = self.units(weight, dim).tolist()
            all_stay = len(units) > 1 and all(unit in self.stays for unit in units)
            if all_stay and self.stays[units[0]] not in ordinary:
                reasons.setdefault(_layer(weight), self.stays[units[0]])
        return reasons

    def table(self) -> pd.DataFrame:
        """Every channel of every layer: unit, group, and why it stays."""
        group_of = {u: i for i, g in enumerate(self.groups(), 1) for u in g.units.tolist()}
        rows, seen = [], set()
        for name, dims in self.axes.items():
            for dim, labels in dims.items():
                role = "writes" if (name, dim) in self.writes else "carries"
                role = "reads" if (name, dim) in self.reads else role
                if role == "carries" and (_layer(name), "writes") in seen:
                    continue  # a bias
                if (_layer(name), role) in seen:
                    continue  # BatchNorm has four vectors
                seen.add((_layer(name), role))
                units = self.unit[labels].flatten().tolist()
                rows += [
                    (_layer(name), role, i, u, group_of.get(u, 0), self.stays.get(u, ""))
                    for i, u in enumerate(units)
                ]
        return pd.DataFrame(rows, columns=["layer", "role", "channel", "unit", "group", "stays"])


def _lowest(groups: list[Group], scores: Tensor, ratio, scope, relative, round_to) -> list[Tensor]:
    """The lowest-scoring units of each group; at least one stays."""
    of_group = [scores[group.units] for group in groups]
    if scope == "global":
        comparable = [s / s.mean().clamp(min=1e-30) if relative else s for s in of_group]
        every = torch.cat(comparable)
        is_low = lowest(every, round(len(every) * ratio)).split([len(s) for s in of_group])
        counts = [int(low.sum()) for low in is_low]
    else:
        counts = [round(len(s) * ratio) for s in of_group]
    chosen = []
    for group, s, count in zip(groups, of_group, counts, strict=True):
        count = _rounded(min(count, len(s) - 1), len(s), group.channels_per_unit, round_to or 1)
        chosen.append(group.units[lowest(s, count)])
    return chosen


def _rounded(count: int, total: int, channels_per_unit: set[int], round_to: int) -> int:
    """How many units to remove, so that a nearest multiple of channels is left."""
    step = math.lcm(*(round_to // math.gcd(round_to, n) for n in channels_per_unit))
    if count == 0 or step == 1:
        return count
    left = max(1, math.floor((total - count) / step + 0.5)) * step
    return max(0, total - left)


def _cut(model: nn.Module, kept: dict[str, dict[int, Tensor]]) -> nn.Module:
    """A copy of the model with only the kept indices of every parameter and buffer."""
    small_tensors: dict[int, Tensor] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        new = tensor.detach()
        for dim, indices in kept.get(name, {}).items():
            new = new.index_select(dim, indices.to(new.device))
        if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
            new = new.contiguous(memory_format=torch.channels_last)
        new = new if kept.get(name) else new.clone()
        is_parameter = isinstance(tensor, nn.Parameter)
        small_tensors[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if is_parameter else new
    small = copy.deepcopy(model, small_tensors)
    for name, module in small.named_modules():
        _match_attributes(module)
        if counted := kept.get(f"{name}.num_features"):
            module.num_features = len(counted[0])
    return small


def _match_attributes(module: nn.Module) -> None:
    """Make what a module says of its widths agree with its tensors."""
    weight = getattr(module, "weight", None)
    if isinstance(module, nn.modules.batchnorm._NormBase):
        vector = weight if weight is not None else module.running_mean
        if vector is not None:
            module.num_features = len(vector)
    if not torch.is_tensor(weight):
        return
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        if module.groups == 1:
            module.in_channels, module.out_channels = weight.shape[:2]
    elif isinstance(module, nn.modules.conv._ConvNd):
        if module.groups > 1:
            module.groups = len(weight) // (module.out_channels // module.groups)
        module.out_channels, module.in_channels = len(weight), weight.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, nn.Embedding):
        module.embedding_dim = weight.shape[1]
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(weight.shape)
    elif isinstance(module, nn.GroupNorm):
        module.num_groups = len(weight) // (module.num_channels // module.num_groups)
        module.num_channels = len(weight)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = len(weight)


def _after(before: dict, kept: dict) -> dict[str, dict[int, Tensor]]:
    """Kept indices of the first network, if this cut comes after another."""
    both = {name: dict(dims) for name, dims in before.items()}
    for name, dims in kept.items():
        for dim, indices in dims.items():
            earlier = both.setdefault(name, {}).get(dim)
            both[name][dim] = indices if earlier is None else earlier[indices]
    return both


def _survivors(labels: Tensor, dim: int | None, kept: dict[int, Tensor]) -> Tensor:
    for d, indices in kept.items():
        if dim is None or d == dim:
            labels = labels.index_select(d if dim is None else 0, indices)
    return labels


def _components(a: Tensor, b: Tensor, count: int) -> Tensor:
    """For each of `count` nodes the number of its connected component, given edges."""
    edges = coo_array((np.ones(len(a), dtype=bool), (a.numpy(), b.numpy())), (count, count))
    return torch.from_numpy(connected_components(edges, directed=False)[1]).long()


def _twin(model: nn.Module) -> nn.Module:
    """A copy to run on labels, which live on the CPU; the values of its parameters don't matter."""
    on_cpu = {id(p): p if p.device.type == "cpu" else _empty(p) for p in model.parameters()}
    on_cpu |= {id(b): _empty(b) for b in model.buffers() if b.is_meta}
    return copy.deepcopy(model, on_cpu).cpu()


def _empty(tensor: Tensor) -> Tensor:
    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
    return nn.Parameter(empty) if isinstance(tensor, nn.Parameter) else empty


def _as_arguments(example_inputs) -> tuple[tuple, dict]:
    if example_inputs is None:
        raise ValueError("example_inputs is missing; give a batch as the forward takes it")

    def on_cpu(value):
        if not torch.is_tensor(value):
            return value
        return _empty(value) if value.is_meta else value.cpu()

    example_inputs = tree_map(on_cpu, example_inputs)
    if isinstance(example_inputs, dict):
        return (), example_inputs
    is_sequence = isinstance(example_inputs, tuple | list)
    return tuple(example_inputs) if is_sequence else (example_inputs,), {}


def _layer(name: str) -> str:
    """The layer of a parameter; a parameter that a composite module owns counts as itself."""
    owner, _, leaf = name.rpartition(".")
    return owner if leaf in VECTORS else name


def _where(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()
