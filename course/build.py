"""Make the release and the key of the assignments from their source: `make course`."""

import hashlib
import json
import os
import shutil
import sys
import sysconfig
import warnings
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent.absolute()
ROOT = HERE.parent
# The project's build folder. It is not imported from prunelab, which loads PyTorch.
COURSE = (ROOT if os.access(ROOT, os.W_OK) else Path.cwd()) / "build" / "course"
HANDOUT = HERE / "source" / "handout.py"
"""It comes along with every assignment."""
WRITES = ("prediction.json", "plan.json", "results.json")
"""Files that a notebook writes; students hand them in."""
MISSING = (
    "nbgrader is not installed: pip install --editable '.[course]' with the Python of this project"
)


def main() -> int:
    if find_spec("nbgrader") is None:
        print(MISSING)
        return 1
    from course.pages import formulas_missing

    if absent := formulas_missing():
        print(absent)
    for assignment in assignments():
        key = make_key(assignment)
        release = make_release(assignment)
        print(f"{assignment}: release in {release}, key in {key}")
    return 0


def assignments() -> list[str]:
    return sorted(path.name for path in (HERE / "source").iterdir() if path.is_dir())


def nbgrader_api(course: Path = COURSE, **limits):
    """nbgrader's Python interface, with the settings of nbgrader_config.py.

    Args:
        course: the folder of what is made.
        limits: `timeout`, `seconds`, `memory`, `hidden` of `course.execute.LimitedExecute`.
    """
    from nbgrader.apps import NbGraderAPI
    from sqlalchemy.exc import SAWarning
    from traitlets.config.loader import PyFileConfigLoader

    warnings.filterwarnings("ignore", category=SAWarning)  # of nbgrader's own statements
    scripts = sysconfig.get_path("scripts")  # nbgrader looks for its helpers on the PATH
    if scripts not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join([scripts, os.environ["PATH"]])
    settings = PyFileConfigLoader("nbgrader_config.py", path=str(HERE)).load_config()
    settings.CourseDirectory.root = str(course.absolute())
    settings.LimitedExecute.update(limits)
    return NbGraderAPI(config=settings, log_level="ERROR")


def make_release(assignment: str, course: Path = COURSE) -> Path:
    """Derive what students get, and tell the gradebook which checks there are.

    nbgrader works on a copy of the source, so that nothing is ever written into the project.
    A release of the same source is left as it is.
    """
    source, release = course / "source" / assignment, course / "release" / assignment
    made = release.is_dir() and (course / "gradebook.db").is_file()
    if made and digest(source) == digest(HERE / "source" / assignment, HANDOUT):
        return release
    copy_source(assignment, source)
    done = nbgrader_api(course).generate_assignment(assignment, force=True)
    if not done["success"]:
        raise RuntimeError(f"nbgrader could not make the release:\n{done['log']}\n{done['error']}")
    return release


def make_key(assignment: str, course: Path = COURSE) -> Path:
    """Run the source, solutions and hidden tests included, and write it as ipynb and HTML.

    Raises:
        CellExecutionError: a solution does not pass its own check.
    """
    import nbformat
    from nbclient import NotebookClient

    from course.pages import page

    key = course / "key" / assignment
    copy_source(assignment, key)
    for path in key.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": str(key)}}
        quiet = ["--log-level=ERROR"]  # or the kernel warns that it listens to this machine
        NotebookClient(notebook, timeout=300, resources=place, extra_arguments=quiet).execute()
        nbformat.write(notebook, path)
        path.with_suffix(".html").write_text(page(notebook, f"{path.stem} · key"), "utf-8")
    return key


def copy_source(assignment: str, place: Path) -> None:
    """Make a folder with an assignment's source and with what all of them bring along."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(HERE / "source" / assignment, place, ignore=not_the_source)
    shutil.copyfile(HANDOUT, place / HANDOUT.name)


def digest(*places: Path) -> str:
    """Changes with what is in the folders and files; ids of cells do not count."""
    whole = hashlib.sha256()
    found = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
    for path in sorted(found, key=lambda path: (path.name, path)):
        if {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
            continue
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text("utf-8"))["cells"]
            whole.update(
                json.dumps([[cell["source"], cell["metadata"]] for cell in cells]).encode()
            )
        else:
            whole.update(path.read_bytes())
    return whole.hexdigest()


def not_the_source(folder: str, names: list[str]) -> set[str]:
    """What running a notebook in the source's folder leaves there."""
    return {"__pycache__", ".ipynb_checkpoints", HANDOUT.name, *WRITES} & set(names)


if __name__ == "__main__":
    sys.exit(main())
