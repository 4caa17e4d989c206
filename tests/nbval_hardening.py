"""A pytest plugin that makes nbval 0.11 strict where it is lax and calm where it is nervous.

    pytest notebooks -p tests.nbval_hardening --nbval-lax

It reaches into nbval, so a new nbval release needs a look here.
"""

import itertools
import tempfile
import time
from queue import Empty

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager
from nbval.plugin import IPyNbCell, IPyNbFile

NEVER_COMPARED = ("stderr", "image/svg+xml", "application/vnd.jupyter.widget-view+json")
DISPLAY_UPDATES = ("clear_output", "update_display_data")
SOCKETS = tempfile.TemporaryDirectory(prefix="nbval-")
NUMBERS = itertools.count()
broken_notebooks = set()


def execute_with_history(self, cell_input, allow_stdin=None):
    """A trailing `;`, `_` and `Out[]` work as in JupyterLab only if history is stored."""
    return self.kc.execute(
        cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False
    )


def await_reply_or_death(self, msg_id, timeout=None):
    """A dead kernel fails the cell at once instead of after its whole time limit."""
    deadline = time.monotonic() + timeout if timeout is not None else float("inf")
    while True:
        try:
            message = self.get_message(
                stream="shell", timeout=max(0.0, min(1.0, deadline - time.monotonic()))
            )
        except Empty:
            if not self.is_alive():
                raise RuntimeError("the kernel died (out of memory, or a crash)") from None
            if time.monotonic() >= deadline:
                raise
            continue
        if message["parent_header"].get("msg_id") == msg_id:
            if message["content"]["status"] == "aborted":
                raise RuntimeError("the kernel aborted the cell")
            return


get_message = nbval.kernel.RunningKernel.get_message


def get_message_but_display_updates(self, stream, timeout=None):
    """Sliders and progress bars redraw themselves; nbval does not know these messages."""
    while True:
        message = get_message(self, stream, timeout)
        if message["msg_type"] not in DISPLAY_UPDATES:
            return message


def manager_on_a_socket(**options):
    """Kernels that start at the same time may draw the same TCP port, and then one dies."""
    return KernelManager(transport="ipc", ip=f"{SOCKETS.name}/{next(NUMBERS)}", **options)


nbval.kernel.KernelManager = manager_on_a_socket
nbval.kernel.RunningKernel.execute_cell_input = execute_with_history
nbval.kernel.RunningKernel.await_reply = await_reply_or_death
nbval.kernel.RunningKernel.get_message = get_message_but_display_updates


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if isinstance(item, IPyNbCell) and report.failed:
        broken_notebooks.add(item.parent.nodeid)
    return report


def pytest_runtest_setup(item):
    if isinstance(item, IPyNbCell) and item.parent.nodeid in broken_notebooks:
        pytest.skip("an earlier cell of this notebook failed")


def pytest_collectstart(collector):
    if isinstance(collector, IPyNbFile):
        collector.skip_compare += NEVER_COMPARED
