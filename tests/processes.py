"""Commands in processes of their own: run, waited for, killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def start(*words: str, cwd: Path, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"TQDM_DISABLE": "1"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def answer(process: subprocess.Popen) -> tuple[int, str, str]:
    """Its exit code and what it wrote to stdout and stderr."""
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


def wait_until(condition, process: subprocess.Popen | None = None, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the run has ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_hard(process: subprocess.Popen) -> None:
    """kill -9 a run and its workers."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for left_behind in Path("/dev/shm").glob(f"sem.loky-{process.pid}-*"):
        left_behind.unlink()


def in_session(process: subprocess.Popen) -> list[int]:
    """The processes that live of the session that `start` has made, itself included."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, of, state in rows if int(of) == process.pid and state[0] != "Z"]
