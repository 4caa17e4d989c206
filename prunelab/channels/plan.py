"""Which channels go together, which must stay, and how a network is cut as a whole.

A *unit* is all tags that are one channel: they go together or stay together. A *group* is all
units side by side on one axis of a layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from prunelab.channels.cut import after, cut, kept_indices
from prunelab.channels.findings import CannotFollow, Findings
from prunelab.channels.following import as_arguments, follow, twin
from prunelab.channels.rehearsal import rehearse
from prunelab.channels.tags import MOST_TAGS
from prunelab.checks import said
from prunelab.checks.tensors import first_line


class CannotCut(ValueError):
    """These channels can't be removed; the message says why."""


class Group(NamedTuple):
    """Units side by side on one axis of a layer, and how many channels a unit has there."""

    units: Tensor
    channels_per_unit: set[int]


class Plan:
    """The units of a network, and which of them stay.

    Attributes:
        found: the findings about the whole network, with the tags of every parameter.
        unit: the unit of each tag.
        stays: the units that may not go, with the reason.
    """

    def __init__(self, model: nn.Module, example_inputs):
        for name, module in model.named_modules():
            if any(buffer.endswith("_mask") for buffer, _ in module.named_buffers(recurse=False)):
                raise ValueError(
                    f"model's layer {name!r} is masked; call make_pruning_permanent first"
                )
        self.model = model
        if isinstance(example_inputs, Tensor) and not example_inputs.numel():
            shape = tuple(example_inputs.shape)
            raise CannotCut(f"example_inputs {shape} are empty; give at least one example")
        self.arguments = as_arguments(example_inputs)
        try:
            copy = twin(model)
            self.found = found = Findings(copy)
            follow(copy, found, self.arguments)
        except Exception as error:
            raise CannotCut(
                f"the forward can't be followed with these example_inputs: {first_line(error)}"
            ) from error
        pairs = torch.unique(torch.cat([*found.ties, torch.zeros(1, dtype=torch.long)]))
        self.unit = _components(pairs // MOST_TAGS, pairs % MOST_TAGS, found.count)
        self.stays: dict[int, str] = {}
        for tags, why in found.fixed:
            self.keep(self.unit[tags], why)

    def keep(self, units: Tensor, why: str) -> None:
        """These units may not go; the first reason counts."""
        for unit in units.tolist():
            self.stays.setdefault(unit, why)

    def exclude(self, names: str | tuple[str, ...]) -> None:
        """The output channels of these layers may not go."""
        if not isinstance(names, str | tuple | list | set):
            raise TypeError(f"exclude={said(names)} must be the name of a layer, or several")
        for name in [names] if isinstance(names, str) else names:
            writes = [(w, d) for w, d in self.found.writes if f"{w}.".startswith(f"{name}.")]
            if not writes:
                raise ValueError(f"exclude={said(name)} names no layer with output channels")
            for weight, dim in writes:
                self.keep(self.units(weight, dim), "is excluded")

    def units(self, weight: str, dim: int | None) -> Tensor:
        """The unit of each channel of a weight along a dimension."""
        return self.unit[self.found.axes[weight][dim]]

    def groups(self) -> list[Group]:
        """The units that may go, together with those beside them on one axis of a layer."""
        may_go = ~self._mask(list(self.stays))
        written = (self.units(*written) for written in self.found.writes)
        free = [units for units in (units[may_go[units]] for units in written) if len(units)]
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

    def cut(self, units: Tensor) -> nn.Module:
        """Cut these units out, and rehearse.

        Raises:
            CannotFollow: the cut network does not do with its channels what the whole one did.
        """
        is_gone, suspects = self._mask(units), self._mask([])
        for group in self.groups():
            suspects[group.units] = is_gone[group.units].any()
        gone = is_gone[self.unit]
        kept = kept_indices(self.found.axes, gone)
        small = cut(self.model, kept)
        suspects = suspects[self.unit]
        rehearse(small, self.found, self.arguments, kept, gone, suspects)
        small.kept_channels = after(getattr(self.model, "kept_channels", {}), kept)
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
                blamed = self.unit[conflict.tags]
                guilty = [group for group in groups if torch.isin(group.units, blamed).any()]
                for group in guilty or groups:
                    self.keep(group.units, str(conflict))
        return None

    def _mask(self, units: Tensor | list[int]) -> Tensor:
        mask = torch.zeros(len(self.unit), dtype=torch.bool)
        mask[units] = True
        return mask


def _components(a: Tensor, b: Tensor, count: int) -> Tensor:
    """For each of `count` nodes the number of its connected component, given edges."""
    edges = coo_array((np.ones(len(a), dtype=bool), (a.numpy(), b.numpy())), (count, count))
    return torch.from_numpy(connected_components(edges, directed=False)[1]).long()
