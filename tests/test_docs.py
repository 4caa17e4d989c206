"""Paths, functions, commands and tables that the texts name exist; the citation agrees."""

import ast
import re
import shutil
import subprocess
import tomllib

import pandas as pd
import pytest
import yaml

from prunelab.data import DATA_DIR, ROOT

TEXTS = {
    name: (ROOT / name).read_text("utf-8")
    for name in (
        "README.md",
        "README.ko.md",
        "CONTRIBUTING.md",
        "course/README.md",
        "data/README.md",
    )
}
PLACES = [
    ROOT,
    ROOT / "prunelab",
    ROOT / "course" / "source",
    *(ROOT / "course" / "source").glob("*/"),
    DATA_DIR,
    DATA_DIR / "results",
    DATA_DIR / "published",
]
TABLES = sorted([*DATA_DIR.glob("results/*.csv"), *DATA_DIR.glob("published/*.csv")])
every_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def members(source: str) -> set[str]:
    """Names of the functions and classes of a module, and of its constants."""
    nodes = list(ast.walk(ast.parse(source)))
    targets = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return targets | {node.name for node in nodes if hasattr(node, "name")}


@every_text
def test_every_path_named_exists(text):
    """Links, and quoted `path` or `path:name`, seen from the root, the package or the data."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    named = re.findall(r"`([\w.-]*/[\w./-]+|\w+\.(?:py|md|csv|cff|toml|yml))(?::(\w+))?`", prose)
    named += [(link, "") for link in re.findall(r"\]\(([^):]+)\)", prose)]
    for path, member in named:
        found = [place / path for place in PLACES if (place / path).exists()]
        assert found or path.startswith(("build/", ".venv/")), f"{path} does not exist"
        if member:
            assert member in members(found[0].read_text("utf-8")), f"no {member} in {path}"


COMMANDS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@every_text
def test_every_command_of_make_exists(text):
    assert set(re.findall(r"(?:`|^)make ([\w-]+)", text, re.MULTILINE)) <= set(COMMANDS)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_make_knows_how_to_begin(command, tmp_path):
    made = ["make", "--dry-run", command, f"VENV={tmp_path / 'venv'}", "PYTHONS=", "SUBMITTED=."]
    told = subprocess.run(made, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.name)
def test_every_table_is_described_with_its_rows(table):
    assert f"| `{table.name}` | {len(pd.read_csv(table))} |" in TEXTS["data/README.md"]


def test_citation_agrees_with_the_package_and_with_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    bibtex = dict(re.findall(r"^ +(\w+) += \{+(.*?)\}+,?$", TEXTS["README.md"], re.MULTILINE))
    assert bibtex["author"] == citation["authors"][0]["name"]
    assert bibtex["title"] == citation["title"]
    assert bibtex["year"] == citation["date-released"][:4]
    assert bibtex["note"] == f"Version {citation['version']}"
