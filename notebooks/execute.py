"""Execute notebooks top to bottom in place: outputs and the measured run time.

python notebooks/execute.py [NOTEBOOK ...]
"""

import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

HERE = Path(__file__).parent
CHAPTERS = sorted(HERE.glob("[0-9]*.ipynb"))
EXERCISES = sorted(HERE.glob("exercises/[0-9]*.ipynb"))
RUN_TIME = re.compile(r"(?<=\*\*Run time:\*\* )about \d+ s")


def execute(path: Path) -> float:
    """Run one notebook in a fresh kernel, write it back, return the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        store_widget_state=False,  # a slider's picture is in its output
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    header = notebook.cells[0]
    header.source = RUN_TIME.sub(f"about {5 * -(-seconds // 5):.0f} s", header.source)
    notebook.metadata.pop("widgets", None)
    # The version of Python is this machine's own business, not the notebook's.
    notebook.metadata.get("language_info", {}).pop("version", None)
    nbformat.write(notebook, path)
    return seconds


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or CHAPTERS + EXERCISES
    for path in tqdm(paths):
        print(f"{path.name}: {execute(path):.1f} s")
