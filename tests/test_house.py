"""The house: who may import whom, and how long files and functions may be."""

import ast
from graphlib import TopologicalSorter

import pytest

from prunelab.data import ROOT

PACKAGE = ROOT / "prunelab"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
GROUND_FLOOR = sorted(PACKAGE.glob("*.py"))
TECHNIQUES = {"distillation", "rewinding", "finetuning", "gradual", "batchnorm"}
ABOVE = {"figures", "exercises", "explorer", "teaching"}  # what only draws, tabulates or asks
FORBIDDEN = {
    "channels": {*ABOVE, "lab", "studies", "engines", "surgery", "lottery"},
    "engines": {*ABOVE, "lab", "studies", "channels"},
    "shipping": {*ABOVE, "lab", "studies", "channels", "engines"},
    "studies": ABOVE,
    "lab": ABOVE,
    "figures": {"exercises", "explorer", "teaching"},
    "explorer": {"exercises", "teaching"},
    "exercises": {"figures", "explorer", "teaching", "lab", "studies"},
    "surgery": {*ABOVE, "lab", "studies", "engines"},
    "training": {*ABOVE, "lab", "studies", "channels"},
    "data": {*ABOVE, "lab", "studies", "channels"},
    "sparsity": {*ABOVE, "lab", "studies", "channels"},
    "early": {*ABOVE, "lab", "studies", "channels"},
    "teaching": {"exercises", "explorer", "lab", "studies", "channels", "engines"},
    "cli": {"exercises", "explorer", "teaching"},
}
OTHERS_ON_THE_GROUND_FLOOR = {*ABOVE, "lab", "studies", "channels", "engines"}
FLOOR = 3200
LONG = {"apply_global_pruning", "fit", "fit_masked", "gradual_pruning", "prune_network"}
LONG |= {"fit_together", "intervals_against", "run"}
"""Functions longer than a screen because their docstring says all that can be asked of them."""


def imports(name: str) -> set[str]:
    """Modules of prunelab that a module imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= whole or {node.module}
    return found & FILES.keys() - {name}


def room(name: str) -> str:
    """`prunelab.lab.claims` is in the room "lab"; `prunelab.masks` is "masks"."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("name", FILES)
def test_arrows_run_down(name):
    here = room(name)
    forbidden = FORBIDDEN.get(here, OTHERS_ON_THE_GROUND_FLOOR)
    if here in TECHNIQUES:  # studies compose them
        forbidden = forbidden | TECHNIQUES
    assert not {other for other in imports(name) if room(other) in forbidden}


def test_no_circle():
    TopologicalSorter({name: imports(name) for name in FILES}).prepare()


def test_ground_floor_is_read_in_an_evening():
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in GROUND_FLOOR}
    assert not {name: count for name, count in lines.items() if count > 300}
    assert sum(lines.values()) <= FLOOR


@pytest.mark.parametrize("name", FILES)
def test_a_function_fits_on_a_screen(name):
    for node in ast.walk(ast.parse(FILES[name].read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if node.name in LONG:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert lines <= 60, node.name
