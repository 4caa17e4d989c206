"""A browser for tests: Playwright driving the Chromium that the system has."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

PATIENCE = float(os.environ.get("PATIENCE", "300"))
"""Seconds that anything may take; a notebook takes a minute on a core of its own."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing() -> str:
    """Why there is no browser to test with; empty where there is one."""
    if find_spec("playwright") is None:
        return "Playwright is not installed: pip install --editable '.[browser]'"
    if executable() is None:
        return f"no browser is installed; CHROMIUM may name one, else it is one of {NAMES}"
    return ""


def executable() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def launched() -> Iterator:
    """A headless browser, or a skipped test that says why."""
    if reason := missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    # As root, in a container, Chromium has no sandbox.
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=["--no-sandbox"] if root else []
        )
        yield browser
        browser.close()
