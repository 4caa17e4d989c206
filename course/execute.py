"""Run a submission under limits, and go on where nbgrader gives up."""

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from nbgrader.preprocessors import Execute
from traitlets import Float, Integer, List

KERNEL = Path(__file__).with_name("kernel.py")


class LimitedExecute(Execute):
    """Execution in the kernel of kernel.py: less memory, less time, fewer files.

    A cell that takes too long is interrupted and the others go on. Where the kernel dies, the
    cells before keep their marks, and those after it are marked as not run.
    """

    timeout = Integer(60, help="seconds a cell").tag(config=True)
    iopub_timeout = Integer(15, help="seconds that an interrupted cell has left").tag(config=True)
    startup_timeout = Integer(120, help="seconds until the kernel answers").tag(config=True)
    seconds = Integer(900, help="seconds a notebook").tag(config=True)
    memory = Float(4.0, help="GiB of memory").tag(config=True)
    hidden: List = List([], help="folders that the submission cannot read").tag(config=True)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.skip_cells_with_tag = ""  # no tag spares a check

    def start_new_kernel(self, **kwargs) -> None:
        """Start kernel.py instead of IPython's own launcher."""
        here = Path(self.resources["metadata"]["path"]).absolute()
        limits = {
            "memory": self.memory,
            "hidden": [str(Path(folder).absolute()) for folder in self.hidden],
            "writable": [str(here), self.folder],
        }
        environment = os.environ | {
            "COURSE_LIMITS": json.dumps(limits),
            "CUDA_VISIBLE_DEVICES": "",
            "IPYTHONDIR": self.folder,
            "TMPDIR": self.folder,
            "TQDM_DISABLE": "1",
        }
        self.km.kernel_spec.argv = [sys.executable, str(KERNEL), "-f", "{connection_file}"]  # type: ignore[has-type]
        super().start_new_kernel(env=environment, **kwargs)
        self.alarm = threading.Timer(self.seconds, self.kill)
        self.alarm.daemon = True
        self.alarm.start()

    def start_new_kernel_client(self):
        """Two more kernels where one does not answer: nothing of the submission has run yet."""
        for _ in range(2):
            with suppress(RuntimeError):
                return super().start_new_kernel_client()
            self.alarm.cancel()
            self.km = self.create_kernel_manager()
            self.start_new_kernel()
        return super().start_new_kernel_client()

    def preprocess(self, nb, resources, km=None):
        self.folder = tempfile.mkdtemp()
        self.reached = -1
        try:
            return super().preprocess(nb, resources, km)
        except (DeadKernelError, CellTimeoutError):  # it ended, or could not be interrupted
            self.kill()
            mark_as_not_run(nb, self.reached)
            return nb, resources
        finally:
            if hasattr(self, "alarm"):
                self.alarm.cancel()
            shutil.rmtree(self.folder, ignore_errors=True)

    def preprocess_cell(self, cell, resources, index):
        self.reached = index
        return super().preprocess_cell(cell, resources, index)

    def kill(self) -> None:
        with suppress(ProcessLookupError, AttributeError):
            os.kill(self.km.provisioner.pid, signal.SIGKILL)


def mark_as_not_run(nb, last: int) -> None:
    """The cell at which the kernel died, and those after it, get an error as their output."""
    for index, cell in enumerate(nb.cells):
        if cell.cell_type == "code" and index >= last:
            words = (
                "this cell ended all: an exit, too much memory, or too much time"
                if index == last
                else "not run: a cell above ended all"
            )
            cell.outputs = [
                new_output("error", ename="KernelDied", evalue=words, traceback=[words])
            ]
