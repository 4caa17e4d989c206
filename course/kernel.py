"""The kernel of a submission: IPython's, after this process has given up what it need not have.

It is a script, started by `course.execute`. What it does depends on the system:

* everywhere but on Windows: a limit of memory (Linux keeps it, macOS does not);
* on Linux 5.13 or newer: files of the course and of other submissions cannot be read, nothing can
  be written outside of the submission's own folder; from 6.7 on no TCP connection can be opened,
  and from 6.12 on no process outside can be ended.
  This is Landlock (https://docs.kernel.org/userspace-api/landlock.html); it needs no rights.
"""

import ctypes
import importlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on all processors
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 14
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = EXECUTE | READ_FILE | READ_DIR
BIND, CONNECT = 1, 2
NO_NEW_PRIVILEGES = 38


def limit_memory(gib: float) -> None:
    """Let an allocation beyond it fail, and this process be the first that a full machine ends."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        size = int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (size, size if hard < 0 else min(size, hard)))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def everything_but(hidden: list[Path], folder: Path = Path("/")) -> Iterator[Path]:
    """The largest files and folders that contain none of the hidden ones."""
    if folder in hidden:
        return
    if not any(folder in path.parents for path in hidden):
        yield folder
        return
    with suppress(OSError):
        for child in folder.iterdir():
            if not child.is_symlink():
                yield from everything_but(hidden, child)


def limit_files(hidden: list[Path], writable: list[Path]) -> bool:
    """Leave this process and all that it starts only some files. True if the system can do it."""
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else -1
    if version < 1:
        return False
    handled = (1 << (13 if version == 1 else 14 if version == 2 else 15)) - 1
    network = CONNECT if version >= 4 else 0
    signals = 2 if version >= 6 else 0
    attributes = (ctypes.c_uint64 * 3)(handled, network, signals)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = libc.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0)

    def allow(path: Path, access: int) -> None:
        with suppress(OSError):
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            access &= handled if path.is_dir() else handled & OF_FILES
            rule = access.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)
            libc.syscall(ADD_RULE, rules, 1, ctypes.c_char_p(rule), 0)
            os.close(place)

    allow(Path("/"), READ_DIR)
    for path in everything_but(hidden):
        allow(path, READ)
    for path in (*writable, Path("/dev/null"), Path("/dev/shm")):
        allow(path, handled)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return libc.syscall(RESTRICT_SELF, rules, 0) == 0


def main() -> None:
    limits = json.loads(os.environ.pop("COURSE_LIMITS"))
    connection = Path(sys.argv[sys.argv.index("-f") + 1])
    limit_memory(limits["memory"])
    hidden = [Path(path).resolve() for path in limits["hidden"]]
    limit_files(hidden, [*map(Path, limits["writable"]), connection])
    del sys.path[0]  # the course's folder; IPython puts the submission's own there
    with suppress(ImportError):  # loaded before the clock of the first cell runs
        importlib.import_module("prunelab.models")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the kernel's own notices
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
