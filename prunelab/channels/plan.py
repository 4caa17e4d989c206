"""Which channels go together, which must stay, and how a network is cut as a whole.

A *unit* is all tags that are one channel: they go together or stay together. A *group* is all
units side by side on one axis of a layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from prunelab.channels.cut import after, cut, kept_indices
from prunelab.channels.findings import CannotFollow
from prunelab.channels.following import as_arguments
from prunelab.channels.passes import components, followed, tied
from prunelab.channels.rehearsal import rehearse
from prunelab.checks import said
from prunelab.checks.tensors import first_line
from prunelab.masks import masked_parameters


class CannotCut(ValueError):
    """These channels can't be removed; the message says why."""


class Group(NamedTuple):
    """Units side by side on one axis of a layer, and how many channels a unit has there.

    Where a forward splits the axis by number, each part is a group.

    Groups of the same pace lose the same fraction of their units.
    """

    units: Tensor
    channels_per_unit: set[int]
    pace: int


def is_under(weight: str, name: str) -> bool:
    """Whether a weight belongs to the layer of this name, or to a layer in that module."""
    return f"{weight}.".startswith(f"{name}.")


class Plan:
    """The units of a network, and which of them stay.

    Attributes:
        found: the findings about the whole network, with the tags of every parameter.
        unit: the unit of each tag.
        stays: the units that may not go, with the reason.
        paces: pairs of channels and heads that must be in proportion, or of equal parts.
        parts: channels side by side that were split, and that are groups of their own.
    """

    def __init__(self, model: nn.Module, example_inputs):
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                part = f"module {name!r}" if name else "forward"
                raise CannotCut(
                    f"model's {part} was compiled by torch.jit and can't be followed; give the "
                    "network as it was before torch.jit.script or torch.jit.trace"
                )
            if masked_parameters(module):
                raise ValueError(
                    f"model's layer {name!r} is masked; call make_pruning_permanent first"
                )
        self.model = model
        if isinstance(example_inputs, Tensor) and not example_inputs.numel():
            shape = tuple(example_inputs.shape)
            raise CannotCut(f"example_inputs {shape} are empty; give at least one example")
        self.arguments = as_arguments(example_inputs)
        try:
            self.found = found = followed(model, self.arguments)
        except Exception as error:
            raise CannotCut(
                f"the forward can't be followed with these example_inputs: {first_line(error)}"
            ) from error
        self.unit = tied(found.ties, found.count)
        self.stays: dict[int, str] = {}
        self.paces: list[tuple[Tensor, Tensor]] = []
        self.parts: list[list[Tensor]] = []
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
            writes = [(w, d) for w, d in self.found.writes if is_under(w, name)]
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
        group_of = components(firsts, torch.cat(free), len(self.unit))
        groups: dict[int, list[Tensor]] = {}
        for units in free:
            groups.setdefault(int(group_of[units[0]]), []).append(units)
        found = [
            Group(torch.cat(members).unique(), {len(u) // len(u.unique()) for u in members}, i)
            for i, members in enumerate(groups.values())
        ]
        for parts in self.parts:
            found = [piece for group in found for piece in self._pieces(group, parts)]
        for group in found:
            if len(group.units) == 1:
                self.keep(group.units, "goes only as a whole")
        return self._in_pace([group for group in found if len(group.units) > 1])

    def _pieces(self, group: Group, parts: list[Tensor]) -> list[Group]:
        """The parts of a group, and the rest of it; the group itself if it has no such parts."""
        units = [self.unit[tags].unique() for tags in parts]
        every = torch.cat(units)
        if len(every.unique()) < len(every) or not torch.isin(every, group.units).all():
            return [group]
        units.append(group.units[~torch.isin(group.units, every)])
        return [group._replace(units=piece) for piece in units if len(piece)]

    def _in_pace(self, groups: list[Group]) -> list[Group]:
        """The groups, those of one pace with the same number."""
        pairs = [
            [i for tags in pair for i, group in enumerate(groups) if self._is_all_of(group, tags)]
            for pair in self.paces
        ]
        pairs = [pair for pair in pairs if len(pair) == 2]
        ends = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
        paces = components(ends[:, 0], ends[:, 1], len(groups)).tolist()
        return [group._replace(pace=pace) for group, pace in zip(groups, paces, strict=True)]

    def _is_all_of(self, group: Group, tags: Tensor) -> bool:
        """Whether these tags are all units of the group, as many of each."""
        units, counts = self.unit[tags].unique(return_counts=True)
        return torch.equal(units, group.units) and len(counts.unique()) == 1

    def cut(self, units: Tensor) -> nn.Module:
        """Cut these units out, and rehearse.

        A number of a module that equals a width follows it, if the rehearsal fails without.

        Raises:
            CannotFollow: the cut network does not do with its channels what the whole one did.
        """
        while True:
            try:
                return self._cut(units)
            except CannotFollow as conflict:
                blamed, axes = self.unit[conflict.tags], self.found.axes
                said = {
                    name: sizes
                    for name, sizes in self.found.said.items()
                    if name not in axes
                    and torch.isin(self.unit[torch.cat([*sizes.values()])], blamed).any()
                }
                if not said:
                    raise
                axes |= said

    def _cut(self, units: Tensor) -> nn.Module:
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
                near = [group for group in groups if torch.isin(group.units, blamed).any()]
                units = torch.cat([group.units for group in near or groups])
                if self._put_in_pace(units) or self._take_apart(units):
                    continue
                guilty, why = self._guilty(groups, chosen, conflict)
                for group in guilty or near or groups:
                    self.keep(group.units, why)
        return None

    def _guilty(
        self, groups: list[Group], chosen: list[Tensor], conflict: CannotFollow
    ) -> tuple[list[Group], str]:
        """Of the groups that may be to blame the nearest that fails when it is cut alone, and why;
        those of one pace together, unless some of them do without the others."""
        places: dict[int, int] = {}
        for i, unit in enumerate(self.unit[conflict.suspects].tolist()):
            places.setdefault(unit, i)
        paces: dict[int, int] = {}
        for group in groups:
            near = min(places.get(unit, len(places)) for unit in group.units.tolist())
            paces[group.pace] = min(near, paces.get(group.pace, near))
        for pace in sorted(paces, key=paces.__getitem__) if len(groups) > 1 else ():
            together = [i for i, group in enumerate(groups) if group.pace == pace]
            is_all = len(together) == len(groups)
            why = str(conflict) if is_all else self._fails([chosen[i] for i in together])
            if why:
                alone = {i: self._fails([chosen[i]]) for i in together if len(together) > 1}
                failing = [i for i, reason in alone.items() if reason]
                if 0 < len(failing) < len(together):
                    return [groups[i] for i in failing], alone[failing[0]]
                return [] if is_all else [groups[i] for i in together], why
        return [], str(conflict)

    def _fails(self, chosen: list[Tensor]) -> str:
        """Why these units can't be cut; nothing if they can."""
        try:
            self.cut(torch.cat(chosen))
        except CannotFollow as reason:
            return str(reason)
        return ""

    def _put_in_pace(self, units: Tensor) -> bool:
        """Let heads lose the same fraction as the channels that go in, where these units are met.

        Returns:
            Whether this is new.
        """
        before, seen = len(self.paces), self._mask(units)
        waiting = [pair for pair in self.found.paces if not any(p is pair for p in self.paces)]
        while met := [p for p in waiting if any(seen[self.unit[tags]].any() for tags in p)]:
            self.paces += met
            waiting = [pair for pair in waiting if not any(p is pair for p in met)]
            for pair in met:
                seen[self.unit[torch.cat(pair)]] = True
        return len(self.paces) > before

    def _take_apart(self, units: Tensor) -> bool:
        """Let parts be groups of their own where these units are split; equal ones stay equal.

        Returns:
            Whether this is new.
        """
        seen = self._mask(units)
        new = [
            parts
            for parts in self.found.parts
            if not any(parts is known for known in self.parts)
            and any(seen[self.unit[tags]].any() for tags in parts)
        ]
        self.parts += new
        self.paces += [
            (parts[0], part) for parts in new for part in parts[1:] if len(part) == len(parts[0])
        ]
        return bool(new)

    def _mask(self, units: Tensor | list[int]) -> Tensor:
        mask = torch.zeros(len(self.unit), dtype=torch.bool)
        mask[units] = True
        return mask
