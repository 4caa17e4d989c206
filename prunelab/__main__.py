"""Command line: `python -m prunelab list | run STUDY | figures`."""

import argparse
import importlib
from pathlib import Path

from prunelab import sweep


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m prunelab", description="Studies of prunelab.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the studies")
    run = commands.add_parser("run", help="run a study; what is finished is not run again")
    run.add_argument("study", choices=sweep.studies())
    run.add_argument("--seeds", type=int, default=5, help="repetitions (default: 5)")
    run.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default: 1)")
    draw = commands.add_parser("figures", help="draw the figures of the recorded studies")
    draw.add_argument("--to", type=Path, default=Path("build/figures"), help="folder to write to")
    arguments = parser.parse_args()

    if arguments.command == "list":
        for name in sweep.studies():
            study = importlib.import_module(f"prunelab.studies.{name}")
            print(f"{name:12} {study.__doc__.splitlines()[0]}")
    elif arguments.command == "run":
        table = sweep.run(arguments.study, seeds=arguments.seeds, jobs=arguments.jobs)
        print(f"{len(table)} rows are in {sweep.RESULTS / arguments.study}.csv")
    else:
        from prunelab import figures

        for path in figures.draw_all(arguments.to):
            print(path)


if __name__ == "__main__":
    main()
