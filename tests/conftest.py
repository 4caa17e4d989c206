"""Fixtures shared by the tests: Fashion-MNIST, whole and small, loaded once a session."""

from dataclasses import replace

import pytest
from hypothesis import settings

from prunelab.data import Data, load_data

settings.register_profile(
    "prunelab", max_examples=40, deadline=None, derandomize=True, database=None
)
settings.load_profile("prunelab")


@pytest.fixture(scope="session")
def full_data() -> Data:
    return load_data()


@pytest.fixture(scope="session")
def data() -> Data:
    small = load_data(train=2000, valid=500)
    return replace(small, test=small.test[:500])
