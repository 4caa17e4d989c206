"""Runs the cut network on the tags that are left: all must do as they did before.

The same operations in the same order, each on what the same steps have made, with the tags that
are left, in the same order, and with the same arguments. What then meets are channels that had met
before. Only what states so may follow the width: sizes of data movement, if each element still
comes from the same place, and those arguments of a layer that its rule names.
"""

import itertools

import torch
from torch import Tensor, nn

from prunelab.channels.cut import Kept
from prunelab.channels.findings import CannotFollow, Findings, Step
from prunelab.channels.following import follow, twin
from prunelab.channels.tags import distinct, has_copies, plain, same_tags, surviving
from prunelab.checks.tensors import first_line

VIEWS = ("view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze")
VIEWS += ("unsqueeze", "expand", "expand_as")
"""Movement that keeps elements in order, so that shape and tags say all."""
WHOLE = ("permute", "transpose", "swapaxes", "swapdims", "moveaxis", "movedim", "t", "unbind")
"""Movement of whole dimensions, which is the same for every width."""
NOBODY = torch.empty(0, dtype=torch.long)
ANY = "let it work with any number of channels"
NO_CALL = {"nothing": "nothing more", "return": "its end"}


def rehearse(
    small: nn.Module,
    whole: Findings,
    arguments: tuple[tuple, dict],
    kept: Kept,
    gone: Tensor,
    suspects: Tensor,
) -> None:
    """Hold the cut network against the whole one.

    Args:
        small: the cut network.
        whole: the findings about the whole network.
        arguments: what the forward takes, by position and by name.
        kept: the indices that are left of every parameter.
        gone: for each tag of the whole network, whether it has been cut.
        suspects: the tags of the groups that have been cut; one of them is blamed for a failure.

    Raises:
        CannotFollow: the cut network does not do with its channels what the whole one did; with
            the suspects among the channels that met last, if any.
    """
    copy = twin(small)
    found = Rehearsal(copy, whole, _survivors(whole.axes, kept), gone)
    try:
        follow(copy, found, arguments)
    except Exception as error:
        known = isinstance(error, CannotFollow)
        why = (
            str(error) if known else f"once cut, {found.where()} fails: {first_line(error)}; {ANY}"
        )
        operations = found.met[::-1]
        inputs = [tags for _, _, inputs in reversed(found.running) for tags in inputs]
        met = itertools.chain(*operations[:1], inputs, *operations[1:])
        tags = [error.tags] if known else []
        tags += [distinct(plain(t)).flatten() for t in met]
        tags = [t[suspects[t]] for t in (t[t < len(suspects)] for t in tags)]
        nearest = next((t for t in tags if len(t)), NOBODY)
        raise CannotFollow(nearest, why, torch.cat([NOBODY, *tags])) from error


class Rehearsal(Findings):
    """Holds the steps of a cut network against those of the whole one.

    Args:
        model: the cut network.
        whole, gone: as in `rehearse`.
        axes: the surviving tags of the parameters.
    """

    def __init__(self, model: nn.Module, whole: Findings, axes: dict, gone: Tensor):
        super().__init__(model)
        self.axes, self.gone = axes, gone
        self.count = whole.count
        self.expected = iter(whole.steps)
        self.decided = iter(whole.decisions)
        self.lefts: dict[tuple, Tensor] = {}

    def decide(self, choice: bool) -> bool:
        choice = next(self.decided, choice)
        self.told.append(choice)
        return choice

    def step(self, step: Step) -> None:
        self.told.append(step)
        before = next(self.expected, Step("nothing", [], []))
        left = [self.left(t) for t in before.tags]
        if step.name == "no rule" != before.name:
            why = f"once cut, {self.why} (in {self.where()}); {ANY}"
        elif step.name != before.name:
            now, then = (NO_CALL.get(s.name, f"a call of `{s.name}`") for s in (step, before))
            path = f"{now} where the whole network has {then}"
            why = f"once cut, {self.where()} takes another path: {path}; {ANY}"
        elif not _same(step.given, before.given):
            why = f"`{step.name}` computes with numbers that depend on how many channels there are"
        elif [t.shape for t in step.tags] != [t.shape for t in left]:
            why = f"`{step.name}` meets sizes that depend on how many channels there are"
        elif not self.in_order(step, before, left):
            why = "the forward picks or orders channels by number"
        else:
            return
        met = [*step.tags, *(self.met[-1] if self.met else [])]
        raise CannotFollow(torch.cat([NOBODY, *(distinct(plain(t)).flatten() for t in met)]), why)

    def left(self, tags: Tensor) -> Tensor:
        """What is left of tags of the whole network, many of which lie in the same memory."""
        key = tags.data_ptr(), tags.shape, tags.stride()
        if key not in self.lefts:
            self.lefts[key] = surviving(plain(tags), self.gone)
        return self.lefts[key]

    def in_order(self, step: Step, before: Step, left: list[Tensor]) -> bool:
        """Whether the same channels are in the same places, and each place is the same."""
        if not all(map(same_tags, map(plain, step.tags), left)):
            return False
        move, move_before = step.move, before.move
        if move is None or move_before is None or step.name in VIEWS:
            return True
        is_same = _same(move.sizes, move_before.sizes)
        if is_same and (step.name in WHOLE or not any(map(has_copies, move.sources))):
            return True
        left = [
            surviving(plain(tags), self.gone, where)
            for tags, where in zip(before.tags, move_before.places(), strict=True)
        ]
        return all(torch.equal(a, b) for a, b in zip(move.places(), left, strict=True))

    def tie(self, a: Tensor, b: Tensor) -> None:
        pass  # what is left meets as it did, as every step is the same

    def fix(self, tags: Tensor, why: str) -> None:
        pass  # what may not go is known from the whole network


def _same(given: list, before: list) -> bool:
    def same(a, b) -> bool:
        if type(a) is not type(b) or not isinstance(a, Tensor):
            return type(a) is type(b) and a == b
        a, b = (t if t.layout == torch.strided else t.to_dense() for t in (a, b))
        return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())

    return len(given) == len(before) and all(map(same, given, before))


def _survivors(axes: dict[str, dict[int | None, Tensor]], kept: Kept) -> dict:
    """The tags of the parameters that are left."""

    def left(tags: Tensor, dim: int | None, lost: dict[int, Tensor]) -> Tensor:
        for d, indices in lost.items():
            if dim is None or d == dim:
                tags = tags.index_select(d if dim is None else 0, indices)
        return tags

    return {
        name: {dim: left(tags, dim, kept.get(name, {})) for dim, tags in dims.items()}
        for name, dims in axes.items()
    }
