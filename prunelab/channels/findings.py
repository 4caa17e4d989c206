"""What a pass of tags through a network finds out: ties, fixed tags, and the steps of the forward.

Rules say what they know with `tie`, `fix`, `carry` and `step`, and ask with `tags` and `axis`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from prunelab.channels.tags import (
    FIXED,
    NEUTRAL,
    RESERVED,
    Tags,
    distinct,
    filled,
    leaves,
    pair_codes,
    plain,
    varies,
)

MOST_NUMBERS = 2**23
"""How many tags there may be before parameters whose numbers are used one by one get none, so that
memory is bounded."""
WORTH_A_LOOK = 2**14
"""Ties of more elements are first looked through for copies of a channel side by side."""
MANY_TIES = 2**22
"""How many may wait until those found twice are thrown away."""


class CannotFollow(ValueError):
    """A cut network does something else with these tags than the whole one, or fails.

    Attributes:
        tags: those that met last.
        suspects: all that may be to blame, the nearest first.
    """

    def __init__(self, tags: Tensor, why: str, suspects: Tensor | None = None):
        super().__init__(why)
        self.tags, self.suspects = tags, tags if suspects is None else suspects


class Computed(TypeError):
    """A weight that is no parameter, and why."""


class Move(NamedTuple):
    """Movement of data, whose sizes may follow the width.

    Attributes:
        sizes: all arguments, as `Findings.described`.
        sources: the tags that are moved.
        places: says where in its channel each element of the result comes from.
    """

    sizes: list
    sources: list[Tensor]
    places: Callable[[], list[Tensor]]


class Step(NamedTuple):
    """An operation of the forward, to be done by the cut network as well.

    Attributes:
        name: the operation.
        given: all its arguments as `Findings.described`, but those that may follow the width.
        tags: its activations.
        move: how the activations have come about, if by movement.
    """

    name: str
    given: list
    tags: list[Tensor]
    move: Move | None = None


NUMBERS = (int, float, complex, str, slice, range, type(None), type(...), torch.dtype, np.generic)


class Findings:
    """What is known of the channels of a network.

    Args:
        model: the network whose parameters and buffers are known by name.

    Attributes:
        axes: the tags of each parameter by dimension; under None, a tag for each element.
        writes, reads: weights, each with the dimension of its output or of its input channels.
        ties: pairs of tags that are one channel, as `pair_codes`.
        fixed: tags that may not go, with the reason.
        given_up: parameters without tags, with the reason.
        reached: names of the parameters that the forward has used.
        steps: the operations in order.
        met: the tags that each operation of the pass has met and made so far.
        count: tags in use, the reserved ones included.
        running: the modules whose forward runs, each with its name and the tags it got.
        said: numbers of modules, `name.attribute`, that equal the width of these channels; by their
            place in a tuple, else under 0.
        paces: channels and heads that a module may take to be in proportion.
        parts: channels that were side by side, and that a forward has split by number.
        early: the ties of channels that are one wherever they go, as they are mixed in the end.
        decisions: choices of rules between ways that are equally right, for the cut network.
        told: the steps and decisions of the last operation.
        whole_groups: weights of which a group of channels is to go as a whole.
        narrowed_groups: weights of which all groups lose the same positions.
        keeps_shared: whether a factor that serves many heads stays, so that these can go.
        has_shared: whether there is one.
        why: why the last operation had no rule.
    """

    def __init__(self, model: nn.Module):
        self.names: dict[int, str] = {}
        self.tensors = []  # kept alive, as an id is given again
        for tensors in (model.named_parameters, model.named_buffers):
            for name, tensor in tensors(remove_duplicate=False):
                self.names.setdefault(id(tensor), name)
                self.tensors.append(tensor)
        floats = [t.dtype for t in self.tensors if t.is_floating_point()]
        self.dtype = floats[0] if floats else torch.float32
        self.axes: dict[str, dict[int | None, Tensor]] = {}
        self.writes: list[tuple[str, int]] = []
        self.reads: list[tuple[str, int]] = []
        self.ties: list[Tensor] = []
        self.room = MANY_TIES
        self.fixed: list[tuple[Tensor, str]] = []
        self.given_up: dict[str, str] = {}
        self.reached: set[str] = set()
        self.steps: list[Step] = []
        self.met: list[list[Tags]] = []
        self.count = FIXED + 1
        self.running: list[tuple[str, nn.Module, list[Tags]]] = []
        self.said: dict[str, dict[int, Tensor]] = {}
        self.paces: list[tuple[Tensor, Tensor]] = []
        self.parts: list[list[Tensor]] = []
        self.early: list[Tensor] = []
        self.decisions: list[bool] = []
        self.told: list[Step | bool] = []
        self.whole_groups: set[str] = set()
        self.narrowed_groups: set[str] = set()
        self.keeps_shared, self.has_shared = True, False
        self.why = ""

    def begin_again(self, first: "Findings", one: Tensor) -> None:
        """Begin with the tags of another pass.

        Args:
            one: for each tag of the other pass, the tag it has now.
        """
        self.axes = {
            name: {dim: one[tags] for dim, tags in dims.items()}
            for name, dims in first.axes.items()
        }
        self.paces = [(one[channels], one[heads]) for channels, heads in first.paces]
        self.count = first.count
        self.whole_groups, self.keeps_shared = first.whole_groups, first.keeps_shared
        self.has_shared = first.has_shared

    # --- what rules say --------------------------------------------------------------------------

    def tie(self, a: Tensor, b: Tensor) -> None:
        """These tags are one channel, element by element."""
        a, b = torch.broadcast_tensors(a, b)
        for d in range(a.dim()) if a.numel() else ():
            is_expanded = a.stride(d) == b.stride(d) == 0
            is_large = a.numel() > WORTH_A_LOOK
            if is_expanded or (is_large and not (varies(a, d) or varies(b, d))):
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
        self.ties.append(pair_codes(low, high))
        self.room -= len(low)

    def carry(self, vector, tags: Tensor) -> None:
        """A bias or a normalization vector belongs to these channels."""
        if self.is_parameter(vector):
            self.tie(self.axis(vector, 0 if vector.dim() == 1 else None), tags)
        elif torch.is_tensor(vector):
            self.tie(self.tags(vector), tags)

    def fix(self, tags: Tensor, why: str) -> None:
        """These tags may not go."""
        seen = torch.zeros(self.count, dtype=torch.bool)
        seen[distinct(plain(tags))] = True
        seen[: FIXED + 1] = False
        if seen.any():
            self.fixed.append((seen.nonzero().flatten(), why))

    def give_up(self, name: str, why: str) -> None:
        """The tags of this parameter may not go, and no more are given."""
        self.given_up.setdefault(name, why)
        for tags in self.axes.get(name, {}).values():
            self.fix(tags, why)

    def decide(self, choice: bool) -> bool:
        """The choice of a rule, which is to be the same for the cut network."""
        self.told.append(choice)
        self.decisions.append(choice)
        return choice

    def step(self, step: Step) -> None:
        """What the forward does next."""
        self.told.append(step)
        self.steps.append(step)
        if self.room < 0:  # most ties are found again and again
            self.ties = [torch.cat(self.ties).unique()]
            self.room = max(MANY_TIES, len(self.ties[0]))

    def mark(self, result) -> list[Tags]:
        """The activations of a result, which remember which step made them."""
        made = leaves(result)
        for i, leaf in enumerate(made):
            if isinstance(leaf, Tags) and not hasattr(leaf, "origin"):
                leaf.origin = (len(self.met), i)
        return [leaf for leaf in made if isinstance(leaf, Tags)]

    # --- what rules ask --------------------------------------------------------------------------

    def tags(self, tensor: Tensor) -> Tensor:
        """The tag of each element: of a parameter its own, of a foreign tensor FIXED."""
        if isinstance(tensor, Tags):
            return plain(tensor)
        if self.is_parameter(tensor):
            return self.axis(tensor, None)
        return filled(FIXED, tensor.shape)

    def axis(self, tensor: Tensor, dim: int | None, role: list | None = None) -> Tensor:
        """Tags of a parameter along a dimension; for None, a tag for each element.

        Args:
            role: `writes` or `reads`, where the parameter is written down with this dimension.
        """
        if not self.is_parameter(tensor):
            raise Computed(self._why_no_parameter(tensor))
        shape = tensor.shape if dim is None else tensor.shape[dim : dim + 1]
        return self.named_axis(self.names[id(tensor)], dim, shape, role)

    def _why_no_parameter(self, tensor: Tensor) -> str:
        if not isinstance(tensor, Tags):
            return "enters a layer whose weight is no parameter of the model"
        name, module, _ = self.running[-1]
        remedy = "make it a parameter"
        if is_parametrized(module):
            remedy = "remove_parametrizations makes it a parameter"
        for mark, norm in (("weight_g", "weight_norm"), ("weight_u", "spectral_norm")):
            remedy = f"remove_{norm} makes it a parameter" if hasattr(module, mark) else remedy
        layer = repr(name) if name else "a layer"
        return f"enters {layer}, whose weight is computed from others; {remedy}"

    def named_axis(self, name: str, dim: int | None, shape, role: list | None = None) -> Tensor:
        tags = self.axes.setdefault(name, {})
        if tags and (None in tags) != (dim is None):
            self.give_up(name, "is used in two ways")
        if dim is None and dim not in tags and self.count + shape.numel() > MOST_NUMBERS:
            numbers = f"has {shape.numel():,} numbers, each used by itself"
            self.give_up(name, f"{numbers}; at most {MOST_NUMBERS:,} are followed in all")
        if name in self.given_up:
            return filled(FIXED, shape)
        if dim not in tags:
            end = self.count + shape.numel()
            tags[dim] = torch.arange(self.count, end).view(shape)
            self.count = end
        if role is not None and (name, dim) not in role:
            role.append((name, dim))
        return tags[dim]

    def described(self, arguments: list) -> list:
        """All that can be compared: the values of numbers and plain tensors, the names of
        parameters, and which step made an activation."""

        def describe(value):
            if isinstance(value, Tags):
                return value.origin
            if self.is_parameter(value):
                return self.names[id(value)]
            if torch.is_tensor(value):
                return value.detach().clone()
            return repr(value) if isinstance(value, NUMBERS) else type(value).__name__

        return [describe(argument) for argument in arguments]

    def where(self) -> str:
        """The forward that runs, of the whole network or of one of its modules."""
        name = self.running[-1][0] if self.running else ""
        return f"the forward of {name!r}" if name else "the forward"

    def is_parameter(self, tensor) -> bool:
        """Whether it is a parameter or a buffer of the network that holds fractions."""
        return id(tensor) in self.names and tensor.is_floating_point()
