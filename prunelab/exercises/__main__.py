"""Write the practice notebooks: `python -m prunelab.exercises [--key] FOLDER`."""

import argparse
from pathlib import Path

from prunelab.exercises.notebooks import write

parser = argparse.ArgumentParser(prog="python -m prunelab.exercises", description=__doc__)
parser.add_argument("folder", type=Path, help="where to write")
parser.add_argument("--key", action="store_true", help="with the solutions")
arguments = parser.parse_args()
for path in write(arguments.folder, arguments.key):
    print(path)
