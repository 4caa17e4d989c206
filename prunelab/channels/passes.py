"""Follows a network as often as needed, and finds the tags that are one.

What one pass finds out decides how the next one follows: heads count as one channel, and where
narrower groups of a convolution lead nowhere, whole groups go.
"""

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from prunelab.channels.findings import Findings
from prunelab.channels.following import follow, twin
from prunelab.channels.tags import MOST_TAGS


def followed(model: nn.Module, arguments: tuple[tuple, dict]) -> Findings:
    """The findings about a network.

    Keys and values that serve many heads stay, so that heads can go; where more can go if they are
    tied to the heads, they are.
    """
    found = _followed(model, arguments, keeps_shared=True)
    if found.has_shared:
        other = _followed(model, arguments, keeps_shared=False)
        found = max(found, other, key=_axes_that_can_go)
    return found


def _followed(model: nn.Module, arguments: tuple[tuple, dict], keeps_shared: bool) -> Findings:
    """Where narrower groups of a convolution would be all one unit, and more can go with whole
    groups, these go. Networks with heads are followed again, each head as one channel."""
    found = _first_pass(model, arguments, set(), keeps_shared)
    if stuck := _stuck_groups(found):
        others = _first_pass(model, arguments, stuck, keeps_shared)
        found = max(found, others, key=_axes_that_can_go)
    if not found.early:
        return found
    copy = twin(model)
    again = Findings(copy)
    head = tied(found.early, found.count)
    tags = torch.arange(found.count)
    first = torch.full_like(tags, found.count).scatter_reduce(0, head, tags, "amin")
    again.begin_again(found, first[head])
    follow(copy, again, arguments)
    return again


def _first_pass(
    model: nn.Module, arguments: tuple, whole_groups: set[str], keeps_shared: bool
) -> Findings:
    copy = twin(model)
    found = Findings(copy)
    found.whole_groups, found.keeps_shared = whole_groups, keeps_shared
    follow(copy, found, arguments)
    return found


def _stuck_groups(found: Findings) -> set[str]:
    """Weights with groups in which all positions are one unit."""
    unit = tied(found.ties, found.count) if found.narrowed_groups else torch.empty(0)
    return {
        name
        for name in found.narrowed_groups
        if any(len(unit[tags].unique()) == 1 for tags in found.axes.get(name, {}).values())
    }


def _axes_that_can_go(found: Findings) -> int:
    """How many layers write several units that may go."""
    unit = tied(found.ties, found.count)
    fixed = torch.cat([torch.empty(0), *(unit[tags] for tags, _ in found.fixed)])
    written = (unit[found.axes[name][dim]] for name, dim in found.writes)
    return sum(len(units[~torch.isin(units, fixed)].unique()) > 1 for units in written)


def tied(ties: list[Tensor], count: int) -> Tensor:
    """For each tag the number of all that are one with it."""
    pairs = torch.unique(torch.cat([*ties, torch.zeros(1, dtype=torch.long)]))
    return components(pairs // MOST_TAGS, pairs % MOST_TAGS, count)


def components(a: Tensor, b: Tensor, count: int) -> Tensor:
    """For each of `count` nodes the number of its connected component, given edges."""
    edges = coo_array((np.ones(len(a), dtype=bool), (a.numpy(), b.numpy())), (count, count))
    return torch.from_numpy(connected_components(edges, directed=False)[1]).long()
