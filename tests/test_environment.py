"""environment.yml, pyproject.toml and the running environment agree."""

import json
import re
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = {
    requirement.name: requirement
    for requirement in map(
        Requirement, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    )
}
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
PIP = next(entry["pip"] for entry in CONDA if isinstance(entry, dict))
PINS = dict(line.split("==") for line in PIP if not line.startswith("-"))


def test_every_dependency_is_pinned():
    assert set(PINS) == set(REQUIREMENTS)


@pytest.mark.parametrize("package", PINS)
def test_pin_is_in_the_range_of_pyproject(package):
    assert PINS[package] in REQUIREMENTS[package].specifier


@pytest.mark.parametrize("package", PINS)
def test_pinned_version_is_running(package):
    assert Version(version(package)).public == PINS[package]


def test_project_is_installed_by_environment_yml():
    assert "--editable .[test]" in PIP


def test_python_of_environment_yml_is_allowed():
    python = next(
        entry for entry in CONDA if isinstance(entry, str) and entry.startswith("python=")
    )
    assert python.split("=")[1] in SpecifierSet(PROJECT["requires-python"])


def test_the_pythons_that_are_named_are_those_that_are_tried():
    named = [line.split(" :: ")[-1] for line in PROJECT["classifiers"]]
    tried = re.search(r"^PYTHONS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert tried[1].split() == [f"python{version}" for version in named]
    assert all(version in SpecifierSet(PROJECT["requires-python"]) for version in named)


def test_project_is_installed_in_place():
    found = [d.read_text("direct_url.json") for d in distributions(name="prunelab")]
    origins = [json.loads(text) for text in found if text]
    assert {"url": ROOT.as_uri(), "dir_info": {"editable": True}} in origins
