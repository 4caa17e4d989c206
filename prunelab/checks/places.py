"""Where the files of the project are, with a checkout (a clone, an unpacked archive) or without."""

from pathlib import Path

GET_DATA = (
    "in a clone `git checkout -- data` brings it back; elsewhere set PRUNELAB_DATA to the folder "
    "`data` of a copy of the project"
)
"""What to do about a missing file that the project ships."""


def checkout_at(folder: Path) -> Path | None:
    """The folder, if it is this project's own; None if the package was only installed there."""
    project = folder / "pyproject.toml"
    own = project.is_file() and b'name = "prunelab"' in project.read_bytes()
    return folder if own else None
