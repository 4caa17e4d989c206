"""Who made a result: command, commit, versions, machine and date."""

import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from prunelab.data import CHECKOUT


def provenance(command: str) -> dict:
    """Who made a result: command, commit, versions, machine and date."""
    commit, changed = own_commit(CHECKOUT)
    packages = ("torch", "torchvision", "numpy", "pandas", "scipy")
    return {
        "command": command,
        "commit": commit,
        "uncommitted_changes": changed,
        "python": platform.python_version(),
        "versions": {package: version(package) for package in packages},
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def own_commit(checkout: Path | None) -> tuple[str | None, bool | None]:
    """The commit of a checkout, and whether the package differs from it.

    Both are None without git, and in a folder that is in no repository or in another project's.
    """
    if checkout is None or shutil.which("git") is None:
        return None, None
    top = _git(checkout, "rev-parse", "--show-toplevel")
    if top is None or not checkout.samefile(top):
        return None, None
    changes = _git(checkout, "status", "--porcelain", "--", "prunelab")
    return _git(checkout, "rev-parse", "HEAD"), bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    # Within a hook of git's these name the repository that the hook is of.
    others = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"}
    own = {name: value for name, value in os.environ.items() if name not in others}
    answer = subprocess.run(
        ["git", *arguments], cwd=folder, env=own, capture_output=True, text=True
    )
    return answer.stdout.strip() if answer.returncode == 0 else None


def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
