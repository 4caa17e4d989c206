"""Fixtures shared by the tests: Fashion-MNIST, whole and small, loaded once a session."""

from dataclasses import replace

import pytest
from hypothesis import settings

from prunelab.data import Data, load_data

settings.register_profile(
    "prunelab", max_examples=40, deadline=None, derandomize=True, database=None
)
settings.load_profile("prunelab")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, on each of two workers, who get one half of all tests each."""
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    middle = len(others) // 2
    items[:] = [*long[::2], *others[:middle], *long[1::2], *others[middle:]]


@pytest.fixture(scope="session")
def full_data() -> Data:
    return load_data()


@pytest.fixture(scope="session")
def data() -> Data:
    small = load_data(train=2000, valid=500)
    return replace(small, test=small.test[:500])
