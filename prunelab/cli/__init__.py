"""Command line: `python -m prunelab list | run STUDY | figures`."""

import argparse
import inspect
import os
import re
import sys
import typing
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import ModuleType, NoneType

from prunelab.engines.image_files import DamagedData
from prunelab.lab import runner
from prunelab.lab.calls import WrongCall
from prunelab.lab.results import RESULTS, DamagedRecord, compared, load_record


def main(words: list[str] | None = None) -> None:
    """Do what the words of a command line say, those of this process by default."""
    words = sys.argv[1:] if words is None else words
    parser = _parser(words)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        getattr(arguments, "parser", parser).error(f"unknown options: {' '.join(unknown)}")
    try:
        arguments.do(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # as of `| head`; what is left must not be flushed once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except WrongCall as error:
        getattr(arguments, "parser", parser).error(str(error))
    except (runner.StudyStopped, FileNotFoundError, DamagedRecord, DamagedData) as error:
        sys.exit(f"prunelab: {error}")
    except KeyboardInterrupt:
        sys.exit("prunelab: stopped by hand; finished runs are kept, the same command goes on")


def _parser(words: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m prunelab", allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = partial(commands.add_parser, allow_abbrev=False)
    add("list", help="list the studies").set_defaults(do=_list)

    run = add("run", help="run a study; what is finished is not run again")
    studies = run.add_subparsers(dest="study", metavar="STUDY", required=True)
    for name in runner.studies():
        about = runner.summary(name)
        study = studies.add_parser(name, help=about, description=about, allow_abbrev=False)
        study.set_defaults(do=_run, parser=study)
        if name in words:  # only this study is imported
            _add_options(study, runner.load_study(name))

    draw = add("figures", help="draw the figures of the recorded studies")
    draw.set_defaults(do=lambda arguments: _draw(arguments.to, arguments.results))
    for name, default, meaning in (
        ("--to", runner.BUILD / "figures", "where to write"),
        ("--results", RESULTS, "the recorded studies"),
    ):
        meaning += " (default: %(default)s)"
        draw.add_argument(name, type=Path, metavar="FOLDER", default=default, help=meaning)
    return parser


def _add_options(parser: argparse.ArgumentParser, study: ModuleType) -> None:
    """What every study can be told, and what this one's `grid` can be told besides."""
    scales = runner.scales(study)
    seeds = f"trials {_defaults('seeds', runner.SEEDS, scales)}"
    parser.add_argument("--seeds", "--trials", type=int, metavar="INT", help=seeds)
    jobs = "processes, of one thread each (default: 1)"
    parser.add_argument("--jobs", type=int, default=1, metavar="INT", help=jobs)
    cluster = "a Dask scheduler whose workers are to do it, as tcp://host:8786"
    parser.add_argument("--dask", metavar="ADDRESS", help=cluster)
    size = "how large (default: recorded)"
    parser.add_argument("--scale", choices=scales, default="recorded", help=size)
    place = "put the table in the place of the recorded one (default: below build)"
    parser.add_argument("--record", action="store_true", help=place)
    for name, parameter in runner.options(study).items():
        kind, several = _kind(parameter.annotation)
        meaning = f"{_meaning(study.grid, name)} {_defaults(name, parameter.default, scales)}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            nargs="+" if several else None,
            metavar=kind.__name__.upper(),
            help=meaning.replace("%", "%%").strip(),
        )


def _kind(annotation) -> tuple[type, bool]:
    """The type of a value, and whether there may be several: `int | None` is int, one of it."""
    given = [kind for kind in typing.get_args(annotation) if kind not in (NoneType, ...)]
    several = typing.get_origin(annotation) in (tuple, list)
    return (given[0], several) if given else (annotation, several)


def _meaning(function, name: str) -> str:
    """What the docstring of a function says of a parameter, in one line."""
    said = re.search(rf"^ *{name}: (.+?)\.?$", inspect.getdoc(function) or "", re.MULTILINE)
    return said[1] if said else ""


def _defaults(name: str, default, scales: dict[str, dict]) -> str:
    """The value of an option that is not given, at each scale that sets one."""
    others = [f"{scale}: {of[name]}" for scale, of in scales.items() if name in of]
    return f"({'; '.join([f'default: {default}', *others])})"


def _list(arguments: argparse.Namespace) -> None:
    width = max(map(len, runner.studies()))
    for name in runner.studies():
        record, state = load_record(name), "not recorded"
        if record:
            state = f"recorded in {timedelta(seconds=round(record['seconds']))}"
        print(f"{name:{width}}  {state:19}  {runner.summary(name)}")


def _run(arguments: argparse.Namespace) -> None:
    name, scale, seeds = arguments.study, arguments.scale, arguments.seeds
    study, record = runner.load_study(name), arguments.record
    given = {name: getattr(arguments, name) for name in runner.options(study)}
    options: dict[str, typing.Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }
    try:
        settings = runner.grid_settings(study, seeds, scale, options)
        folder = runner.results_folder(study, settings, scale, record)
        study.grid(**settings)
    except ValueError as error:
        arguments.parser.error(str(error))
    how = {"scale": scale, "dask": arguments.dask, "record": record}
    table = runner.run(name, seeds, arguments.jobs, **how, **options)
    said = "the recorded table now" if record else compared(name, folder)
    print(f"{len(table)} rows are in {folder / name}.csv: {said}")
    if not record:
        from prunelab.figures.recorded import DRAWN

        if name in DRAWN:
            _draw(folder / "figures", folder)


def _draw(to: Path, results: Path) -> None:
    from prunelab.figures.recorded import draw_recorded

    try:
        for path in draw_recorded(to, results):
            print(path)
    except BrokenPipeError:
        raise
    except OSError as error:
        sys.exit(f"prunelab: the figures cannot be drawn: {error}")
    except (KeyError, IndexError, ValueError) as error:  # a table of other columns, or no rows
        sys.exit(f"prunelab: the figures cannot be drawn from {results}: {error!r}")
