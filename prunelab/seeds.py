"""Random numbers from a seed, which leave those of the caller alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prunelab.checks import check_seed


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Draw from `seed` inside, and leave the caller's random state as it was."""
    if seed is None:
        yield
        return
    check_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(seed))
        yield
