"""Write the explorer, one page without a server: `python -m prunelab.explorer --to FOLDER`."""

import argparse
import sys
from pathlib import Path

from prunelab.explorer.page import write
from prunelab.lab.results import DamagedRecord
from prunelab.lab.store import CannotKeep

parser = argparse.ArgumentParser(prog="python -m prunelab.explorer", description=__doc__)
parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="where to write")
arguments = parser.parse_args()
try:
    print(write(arguments.to))
except (CannotKeep, DamagedRecord, FileNotFoundError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
