"""Runs the cut network on the tags that are left: all must do as they did before.

The same operations in the same order, with the same numbers, and every operation that moves tags
must leave the survivors in the same order, so that each channel meets what it met.
"""

import torch
from torch import Tensor, nn

from prunelab.channels.cut import Kept
from prunelab.channels.findings import CannotFollow, Findings
from prunelab.channels.following import follow, twin
from prunelab.channels.tags import MOST_TAGS, distinct, plain, surviving


def rehearse(
    small: nn.Module,
    whole: Findings,
    pairs: Tensor,
    arguments: tuple[tuple, dict],
    kept: Kept,
    gone: Tensor,
    suspects: Tensor,
) -> None:
    """Hold the cut network against the whole one.

    Args:
        small: the cut network.
        whole: the findings about the whole network.
        pairs: the ties of the whole network, as sorted `pair_codes`.
        arguments: what the forward takes, by position and by name.
        kept: the indices that are left of every parameter.
        gone: for each tag of the whole network, whether it has been cut.
        suspects: the tags of the groups that have been cut; one of them is blamed for a failure.

    Raises:
        CannotFollow: the cut network does not do with its channels what the whole one did; with
            the suspects among the channels that met last, if any.
    """
    copy = twin(small)
    found = Rehearsal(copy, whole, _survivors(whole.axes, kept), pairs, gone)
    try:
        follow(copy, found, arguments)
    except Exception as error:
        met = [error.tags] if isinstance(error, CannotFollow) else []
        met += [distinct(t).flatten() for operation in reversed(found.met) for t in operation]
        for tags in met:
            tags = tags[tags < len(suspects)]
            if suspects[tags].any():
                raise CannotFollow(tags[suspects[tags]], str(error)) from error
        raise CannotFollow(torch.empty(0, dtype=torch.long), str(error)) from error


class Rehearsal(Findings):
    """Findings about a cut network that may be no others than those about the whole one.

    Args:
        model: the cut network.
        whole, pairs, gone: as in `rehearse`.
        axes: the surviving tags of the parameters.
    """

    def __init__(self, model: nn.Module, whole: Findings, axes: dict, pairs: Tensor, gone: Tensor):
        super().__init__(model)
        self.axes, self.pairs, self.gone = axes, pairs, gone
        self.count = whole.count
        self.expected = iter(whole.steps)

    def step(self, name: str, numbers_or_tags: list | Tensor) -> None:
        expected, before = next(self.expected, ("nothing", []))
        if name != expected:
            why = f"the cut forward takes another path: `{name}` instead of `{expected}`"
        elif isinstance(before, list):
            if numbers_or_tags == before:
                return
            why = f"`{name}` computes with numbers that depend on how many channels there are"
        else:
            if torch.equal(numbers_or_tags, surviving(before, self.gone)):
                return
            why = "the forward picks or orders channels by number"
        met = self.met[-1] if self.met else []
        raise CannotFollow(torch.cat([distinct(plain(t)).flatten() for t in met]), why)

    def note(self, pairs: Tensor) -> None:
        place = torch.searchsorted(self.pairs, pairs).clamp(max=len(self.pairs) - 1)
        new = pairs[self.pairs[place] != pairs]
        if len(new):
            new = torch.cat([new // MOST_TAGS, new % MOST_TAGS])
            raise CannotFollow(new, "channels meet that had not met before")

    def fix(self, tags: Tensor, why: str) -> None:
        pass  # what may not go is known from the whole network

    def was_grouped(self, weight: Tensor) -> bool:
        return 1 not in self.axes.get(self.names.get(id(weight)), {1: None})


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
