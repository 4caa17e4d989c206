"""MNIST-1D: digits as curves of 40 points, drawn by their authors' program, without a download."""

import random
from functools import cache

import numpy as np
import torch
from mnist1d.data import get_dataset_args, make_dataset
from torch import Tensor

from prunelab.checks import check_seed
from prunelab.data import Data, Split

TRAIN, VALID, TEST = 4000, 1000, 5000
"""The authors draw 4,000 to train on and 1,000 to test with."""
DRAW = 42
"""Their seed of the draw."""


def mnist_1d(seed: int = 0) -> Data:
    """Ten digits as noisy curves, the same 10,000 on every machine.

    A curve is a digit's template, stretched, moved, tilted and with noise. All have together a mean
    of 0 and a standard deviation of 1.

    Args:
        seed: draws which 1,000 of the first 5,000 curves are set aside for validation. The other
            4,000 are there to train on; 5,000 more are the test.

    Returns:
        Images of one line, `[N, 1, 1, 40]`. The global random states are left alone.

    Source: Greydanus & Kobak (2024), arXiv:2011.14439, with its settings but for how many are
    drawn.
    """
    check_seed(seed)
    x, y = drawn_curves(TRAIN + VALID + TEST)
    rest = TRAIN + VALID
    order = torch.randperm(rest, generator=torch.Generator().manual_seed(int(seed)))
    parts = order[VALID:], order[:VALID], torch.arange(rest, len(y))
    train, valid, test = (Split(x[part], y[part]) for part in parts)
    return Data("mnist-1d", train, valid, test, tuple("0123456789"))


@cache
def drawn_curves(count: int, seed: int = DRAW) -> tuple[Tensor, Tensor]:
    """Curves `[count, 1, 1, 40]` of MNIST-1D and their digits, by its authors' package."""
    settings = get_dataset_args()
    settings.num_samples, settings.train_split, settings.seed = count, 1.0, seed
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        drawn = make_dataset(settings)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    x = torch.from_numpy(drawn["x"]).float().view(-1, 1, 1, settings.final_seq_length)
    return x, torch.from_numpy(drawn["y"]).long()
