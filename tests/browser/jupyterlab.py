"""JupyterLab as its user has it: a server of its own, and a notebook in a headless browser."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from prunelab.data import ROOT
from tests.chromium import PATIENCE

WATCHED = Path(__file__).parent / "watched"
CELLS = """() => {
  const panel = jupyterapp.shell.currentWidget;
  return panel.content.widgets.map(cell => ({
    id: cell.model.id,
    code: cell.model.type === 'code',
    source: cell.model.sharedModel.getSource(),
    count: cell.model.executionCount ?? null,
    busy: cell.model.executionState === 'running',
    outputs: cell.model.outputs ? cell.model.outputs.toJSON() : [],
  }));
}"""
FINISHED = """() => {
  const panel = jupyterapp.shell.currentWidget;
  const code = panel.content.widgets.filter(
    cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().trim());
  const failed = code.some(({ model: { outputs } }) => Array.from(
    { length: outputs.length }, (_, i) => outputs.get(i).type).includes('error'));
  const idle = panel.sessionContext.session?.kernel?.status === 'idle';
  return failed || (idle && code.every(cell => cell.model.executionCount
    && cell.model.executionState !== 'running'));
}"""


class Server(NamedTuple):
    """A running JupyterLab."""

    url: str
    token: str
    called: Path
    """A file with every address outside this machine that the server or a kernel called."""


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """JupyterLab with the project's settings and copies of its notebooks.

    Args:
        folder: where copies, settings and logs go.
    """
    copies = folder / "work" / "notebooks"
    shutil.copytree(ROOT / "notebooks", copies, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    runtime, called = folder / "runtime", folder / "called.txt"
    called.write_text("")
    own = {
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_RUNTIME_DIR": runtime,
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
        "PRUNELAB_CALLED": called,
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(WATCHED), str(ROOT), os.environ.get("PYTHONPATH")])
        ),
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--config={ROOT / 'notebooks' / 'jupyter_lab_config.py'}"]
    command += [f"--ServerApp.root_dir={copies.parent}", "--LabApp.expose_app_in_browser=True"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with (folder / "server.log").open("wb") as log:
        environment = os.environ | {name: str(value) for name, value in own.items()}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield Server(*_where(process, runtime, folder / "server.log"), called)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _where(process: subprocess.Popen, runtime: Path, log: Path) -> tuple[str, str]:
    """The address and the token of a server that has just been started."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        for path in runtime.glob("jpserver-*.json"):
            try:
                said = json.loads(path.read_text())
            except ValueError:  # not yet written to its end
                continue
            return said["url"], said["token"]
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab has not started:\n{log.read_text()}")


class Notebook:
    """A notebook opened in JupyterLab; what the browser requests is kept.

    Args:
        browser: that of Playwright.
        server: what `served` gives.
        path: of the notebook, below `notebooks`.
    """

    def __init__(self, browser, server: Server, path: str):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900})
        self.context.set_default_timeout(1000 * PATIENCE)
        self.requests: list[str] = []
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("websocket", lambda socket: self.requests.append(socket.url))
        self.page.goto(f"{server.url}lab/tree/notebooks/{path}?reset&token={server.token}")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self.page.wait_for_function(
            "jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
        )

    def outside(self) -> list[str]:
        """What was requested from anywhere but this machine."""
        here = ("http://localhost:", "http://127.0.0.1:", "ws://localhost:", "ws://127.0.0.1:")
        return [url for url in self.requests if not url.startswith((*here, "data:", "blob:"))]

    def menu(self, *names: str) -> None:
        """Click through the menus, such as "Run", "Run All Cells"."""
        first, *others = names
        self.page.locator(".lm-MenuBar-item", has_text=first).first.click()
        for name in others:
            self.page.locator(f'.lm-Menu-item:has(.lm-Menu-itemLabel:text-is("{name}"))').click()

    def cells(self) -> list[dict]:
        return self.page.evaluate(CELLS)

    def wait(self) -> None:
        """Until everything has run, or something has failed."""
        self.page.wait_for_function(FINISHED, timeout=1000 * PATIENCE, polling=500)

    def run_all(self) -> None:
        """All cells by the menu, from no outputs at all."""
        self.menu("Edit", "Clear Outputs of All Cells")
        self.menu("Run", "Run All Cells")
        self.wait()

    def cell(self, index: int):
        """A cell on the screen."""
        self.page.evaluate(
            "i => { const notebook = jupyterapp.shell.currentWidget.content;"
            " notebook.activeCellIndex = i;"
            " notebook.widgets[i].node.dataset.number = i;"
            " return notebook.scrollToItem(i, 'center'); }",
            index,
        )
        found = self.page.locator(f'.jp-Cell[data-number="{index}"]')
        found.wait_for()
        return found

    def write(self, index: int, source: str, run: bool = False) -> None:
        """Replace what stands in a cell, by keyboard, and perhaps run it."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.insert_text(source)
        assert self.cells()[index]["source"] == source
        if run:
            count = self.cells()[index]["count"]
            self.page.keyboard.press("Control+Enter")
            self.page.wait_for_function(
                "([i, old]) => { const model ="
                " jupyterapp.shell.currentWidget.content.widgets[i].model;"
                " return model.executionCount && model.executionCount !== old"
                " && model.executionState !== 'running'; }",
                arg=[index, count],
                timeout=1000 * PATIENCE,
            )

    def theme(self, name: str) -> None:
        """Change to "Light" or "Dark"."""
        self.menu("Settings", "Theme", f"JupyterLab {name}")
        light = "true" if name == "Light" else "false"
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")

    def close(self) -> None:
        """Without a dialog about what was not saved, and without its kernel."""
        self.page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
        self.context.close()


def texts(cell: dict) -> str:
    """All that a cell's outputs say, the alternative texts of pictures too."""
    said = []
    for output in cell["outputs"]:
        data = output.get("data", {})
        parts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
        said += ["".join(part) for part in parts]
    return "\n".join(said)
