"""Command line: `python -m prunelab list | run STUDY | figures`."""

import argparse
import importlib
import sys
from pathlib import Path

from prunelab.lab import results as lab_results
from prunelab.lab import runner

OPTIONS = {
    "network": (str, "the network, or all"),
    "rounds": (int, "rounds of pruning"),
    "iterations": (int, "training iterations of each run"),
    "reinits": (int, "random reinitializations of each ticket"),
    "rewind": (int, "the iteration to rewind to"),
    "dataset": (str, "fashion-mnist, or mnist or cifar10 if it is in the data folder"),
    "device": (str, "where to train: cpu, cuda, …"),
}
"""Options that some studies have, with what they mean."""


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    try:
        if arguments.command == "list":
            for name in runner.studies():
                study = importlib.import_module(f"prunelab.studies.{name}")
                print(f"{name:12} {(study.__doc__ or '').splitlines()[0]}")
        elif arguments.command == "run":
            _run(parser, arguments)
        else:
            _draw(arguments.to, arguments.results)
    except (runner.StudyStopped, FileNotFoundError) as error:
        sys.exit(f"prunelab: {error}")
    except KeyboardInterrupt:
        sys.exit("prunelab: stopped by hand; finished runs are kept, the same command goes on")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prunelab", description="Studies of prunelab.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the studies")
    run = commands.add_parser("run", help="run a study; what is finished is not run again")
    run.add_argument("study", choices=runner.studies())
    run.add_argument("--seeds", "--trials", type=int, help="repetitions (default: 5)")
    run.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default: 1)")
    run.add_argument(
        "--scale", default="recorded", help="quick, recorded or paper, where a study has them"
    )
    for name, (kind, meaning) in OPTIONS.items():
        run.add_argument(f"--{name}", type=kind, help=f"{meaning}, where a study has that option")
    run.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler, as tcp://host:8786")
    draw = commands.add_parser("figures", help="draw the figures of the recorded studies")
    draw.add_argument("--to", type=Path, default=Path("build/figures"), help="folder to write to")
    draw.add_argument(
        "--results", type=Path, default=lab_results.RESULTS, help="folder of the recorded studies"
    )
    return parser


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    given = {name: getattr(arguments, name) for name in OPTIONS}
    options = {name: value for name, value in given.items() if value is not None}
    study = importlib.import_module(f"prunelab.studies.{arguments.study}")
    try:
        study.grid(**runner.grid_settings(study, arguments.seeds, arguments.scale, options))
    except ValueError as error:
        parser.error(str(error))
    table = runner.run(
        arguments.study,
        seeds=arguments.seeds,
        jobs=arguments.jobs,
        scale=arguments.scale,
        dask=arguments.dask,
        **options,
    )
    folder = runner.results_folder(arguments.scale, options)
    print(f"{len(table)} rows are in {folder / arguments.study}.csv")
    if folder != lab_results.RESULTS:
        _draw(folder / "figures", folder)


def _draw(to: Path, results: Path) -> None:
    from prunelab.figures.recorded import draw_recorded

    for path in draw_recorded(to, results):
        print(path)


if __name__ == "__main__":
    main()
