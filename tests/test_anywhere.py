"""The package installed away from its checkout, or inside of another project's repository."""

import os
import re
import shutil
import subprocess

import pytest

from prunelab.checks.places import checkout_at
from prunelab.data import ROOT
from prunelab.lab.provenance import own_commit
from prunelab.lab.runner import build_folder
from tests.processes import answer, start

TRY = """
import sys
from prunelab.cli import main
from prunelab.data import load_data
from prunelab.lab.claims import verdicts
from prunelab.lab.results import load_results
from prunelab.models import pretrained
from prunelab.teaching import show
for call in sys.argv[1:]:
    try:
        print(eval(call))
    except (Exception, SystemExit) as error:
        print(str(error).replace("\\n", "BROKEN"))
"""
GET_DATA = "in a clone `git .*; elsewhere set PRUNELAB_DATA to the folder `data` of a copy of .*$"
ANSWERS = {
    "load_data()": f"train-images-idx3-ubyte.gz is missing from HERE/data/.*; {GET_DATA}",
    "load_data('mnist')": r"mnist is not in HERE/data, .*download=True\) fetches it$",
    "pretrained('lenet300')": f"name='lenet300' has no checkpoint in HERE/data/.*; {GET_DATA}",
    "load_results('dense')": f"dense is not recorded in HERE/data/results; {GET_DATA}",
    "verdicts('01')": f"one_shot is not recorded in HERE/data/results; {GET_DATA}",
    "main(['figures'])": "prunelab: .* HERE/data/results has none of .*--results or PRUNELAB_DATA$",
    "main(['run', 'dense'])": f"prunelab: .* is missing from HERE/data/.*; {GET_DATA}",
    "show(load_data).data[:37]": r"\*\*`load_data`\*\* in `prunelab/data.py`$",
}


def test_an_installed_package_says_where_its_files_belong_and_stays_as_it_was(tmp_path):
    site, here = tmp_path / "site", tmp_path / "here"
    shutil.copytree(ROOT / "prunelab", site / "prunelab", ignore=lambda *_: {"__pycache__"})
    here.mkdir()
    installed = sorted(site.rglob("*"))
    own = dict.fromkeys(("HOME", "LOCALAPPDATA"), str(tmp_path)) | {"PYTHONPATH": str(site)}
    unset = dict.fromkeys(("PRUNELAB_DATA", "PRUNELAB_CACHE", "XDG_CACHE_HOME"), "")
    words = ("-B", "-c", TRY, *ANSWERS)
    code, said, stderr = answer(start(*words, cwd=here, **own, **unset))
    assert code == 0, stderr
    for line, expected in zip(said.splitlines(), ANSWERS.values(), strict=True):
        assert re.match(expected.replace("HERE", str(here)), line)
    assert sorted(site.rglob("*")) == installed


@pytest.fixture
def repository(tmp_path):
    """A folder with a commit of its own, and that commit."""
    if shutil.which("git") is None:
        pytest.skip("there is no git here")
    (tmp_path / "prunelab").mkdir()

    def git(*words):
        named = ("-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false")
        command = ["git", *named, *words]
        done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "x")
    return tmp_path, git("rev-parse", "HEAD")


def test_a_record_is_signed_with_the_commit_of_this_project_and_of_no_other(
    repository, monkeypatch
):
    folder, commit = repository
    assert own_commit(folder) == (commit, False)
    (folder / "prunelab" / "new.py").touch()
    assert own_commit(folder) == (commit, True)
    inside = folder / "vendor"
    inside.mkdir()
    assert own_commit(inside) == (None, None)  # an archive unpacked in another's repository
    assert own_commit(None) == (None, None)
    monkeypatch.setenv("GIT_DIR", str(inside / ".git"))
    assert own_commit(folder) == (commit, True)
    monkeypatch.setenv("PATH", str(inside))
    assert own_commit(folder) == (None, None)


def test_a_folder_is_the_checkout_only_if_it_is_the_projects_own(tmp_path, monkeypatch):
    assert checkout_at(ROOT) == ROOT
    assert checkout_at(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "other"\ndependencies = ["prunelab"]'
    )
    assert checkout_at(tmp_path) is None
    monkeypatch.chdir(tmp_path)
    assert build_folder(None) == tmp_path / "build"
    monkeypatch.setattr(os, "access", lambda *place: False)
    assert build_folder(ROOT) == tmp_path / "build"
