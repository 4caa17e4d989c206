"""How many mutants of each file the tests notice, and those they do not: `make mutants`.

mutmut changes one thing at a time (a sign, a comparison, a number, an argument) and runs the tests
that reach the changed function. What it found so far is kept in mutants/, also when it is stopped.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from mutmut.stats import status_by_exit_code

NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


def main() -> None:
    survivors = []
    print(f"{'file':28}{'score':>8}{'noticed':>9}{'survived':>10}{'no test':>9}{'to do':>7}")
    for path in sorted(Path("mutants").rglob("*.py.meta")):
        found = json.loads(path.read_text())["exit_code_by_key"]
        status = {mutant: status_by_exit_code[code] for mutant, code in found.items()}
        if not status:
            continue
        count = Counter(status.values())
        noticed = sum(count[name] for name in NOTICED)
        tried = noticed + count["survived"] + count["no tests"]
        score = f"{noticed / tried:.0%}" if tried else ""
        file = path.relative_to("mutants").as_posix().removesuffix(".meta")
        print(
            f"{file:28}{score:>8}{noticed:9}{count['survived']:10}{count['no tests']:9}"
            f"{count['not checked']:7}"
        )
        survivors += [m for m, s in status.items() if s in ("survived", "no tests")]
    for mutant in survivors:
        difference = subprocess.run(["mutmut", "show", mutant], capture_output=True, text=True)
        print(f"\n{difference.stdout.strip()}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
