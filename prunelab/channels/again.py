"""What a rule has said of equal arguments before, said again without the rule.

A network is followed in evaluation and in training mode, and does nearly the same in both. An
operation of the same module on equal arguments, `training` aside, has an equal result, finds the
same ties, and takes the same steps.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from prunelab.channels.findings import NUMBERS, Findings, Step
from prunelab.channels.tags import Tags, as_tags, leaves, plain


class Outcome(NamedTuple):
    """What an operation has come to.

    Attributes:
        result: the activations that its rule has returned.
        foreign: copies of the arguments that are tensors, but no activations or parameters.
        told: the steps and decisions of the rule.
    """

    result: object
    foreign: list[Tensor]
    told: tuple[Step | bool, ...]


class Unknown(TypeError):
    """An argument that nothing is known of."""


class Memory:
    """The outcomes of the operations of a network.

    Activations with the same channels have the same `number`.
    """

    def __init__(self, found: Findings):
        self.found = found
        self.outcomes: dict[tuple, Outcome] = {}
        self.numbers: Iterator[int] = itertools.count()

    def recall(self, func: Callable, args: tuple, kwargs: dict):
        """The result, after the steps that led to it; None if it is not known."""
        try:
            key, foreign = self._key(func, args, kwargs)
        except Unknown:
            return None
        outcome = self.outcomes.get(key)
        if outcome is None or not all(map(torch.equal, foreign, outcome.foreign)):
            return None
        for told in outcome.told:
            if isinstance(told, Step):
                self.found.step(told)
            else:
                self.found.decide(told)
        return _again(outcome.result)

    def remember(self, func: Callable, args: tuple, kwargs: dict, given: list[Tags], result):
        """Keep the result, and what its rule has told; but for what is done in place."""
        made = [leaf for leaf in leaves(result) if leaf is not None]
        told = self.found.told
        in_place = any(tags is t for tags in made for t in given)
        for tags in made:
            if isinstance(tags, Tags):
                same = [] if in_place else [t.number for t in given if _is_same(tags, t)]
                tags.number = same[0] if same else next(self.numbers)
        is_known = all(isinstance(t, Tags) for t in made)
        if in_place or not is_known or any(getattr(t, "name", "") == "no rule" for t in told):
            return
        try:
            key, foreign = self._key(func, args, kwargs)
        except Unknown:
            return
        copies = [tensor.detach().clone() for tensor in foreign]
        self.outcomes[key] = Outcome(_again(result), copies, tuple(told))

    def _key(self, func: Callable, args: tuple, kwargs: dict) -> tuple[tuple, list[Tensor]]:
        """What tells outcomes apart, and the tensors that remain to be compared."""
        foreign: list[Tensor] = []
        module = self.found.running[-1][0] if self.found.running else ""
        return (module, func, self._part(args, foreign), self._part(kwargs, foreign)), foreign

    def _part(self, value, foreign: list[Tensor]):
        if isinstance(value, tuple | list):
            return (type(value), *(self._part(v, foreign) for v in value))
        if isinstance(value, dict):
            parts = ((name, self._part(v, foreign)) for name, v in value.items())
            return tuple(part for part in parts if part[0] != "training")
        if isinstance(value, Tags) and hasattr(value, "number"):
            return "activation", value.number
        if self.found.is_parameter(value):
            return "parameter", self.found.names[id(value)]
        if isinstance(value, Tensor) and not isinstance(value, Tags):
            foreign.append(value)
            return value.layout, value.dtype, value.shape, value.device
        if isinstance(value, NUMBERS):
            return type(value), repr(value)
        raise Unknown


def _again(result):
    """Other activations that differ in their origin alone."""
    return _alike(result) if isinstance(result, Tags) else tree_map(_alike, result)


def _alike(tags: Tags | None) -> Tags | None:
    if tags is None:
        return None
    other = as_tags(plain(tags))
    vars(other).update({name: value for name, value in vars(tags).items() if name != "origin"})
    return other


def _is_same(one: Tags, other: Tags) -> bool:
    """Whether the tags of one activation are those of another, and nothing else is known of it."""
    is_plain = vars(one).keys() | vars(other).keys() <= {"origin", "number"}
    is_there = one.data_ptr() == other.data_ptr() and one.shape == other.shape
    return is_plain and is_there and one.stride() == other.stride() and hasattr(other, "number")
