"""The figures of the recorded studies, and the one command that draws them all."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from prunelab.figures.general import intervals_against
from prunelab.figures.lottery import TICKET_MEASURES, ticket_curves, tickets_against_density
from prunelab.figures.pruning import accuracy_against_density, zeros_while_training
from prunelab.figures.recovery import decision_chart, ways_back
from prunelab.figures.sparsity import speed_against_density
from prunelab.figures.style import THEMES, Picture, use_theme
from prunelab.figures.surgery import zoo
from prunelab.lab.playbook import (
    STUDIES,
    against_dense,
    behind_best,
    comparisons,
    decisions,
    tried_fully,
)
from prunelab.lab.results import RESULTS, load_results
from prunelab.studies.latency import relative_speed
from prunelab.studies.one_shot import with_rules


def draw_recorded(folder: Path, results: Path = RESULTS) -> Iterator[Path]:
    """Draw the figures of the recorded studies: PNG in both themes, PDF in the light one.

    Args:
        folder: where to write them.
        results: the folder of the studies, of which some may be missing.

    Raises:
        FileNotFoundError: none of the studies that have figures is there.
    """
    recorded = [name for name in DRAWN if (results / f"{name}.csv").exists()]
    if not recorded:
        raise FileNotFoundError(
            f"{results} has none of the studies {', '.join(DRAWN)}; run one, or name the folder "
            "that has them with --results or PRUNELAB_DATA"
        )
    for theme in THEMES:
        for study in recorded:
            with use_theme(theme):
                pictures = dict(DRAWN[study](load_results(study, results)))
            yield from _saved(pictures, theme, folder)
        if set(STUDIES) <= set(recorded):
            with use_theme(theme):
                pictures = dict(_draw_chart(results))
            yield from _saved(pictures, theme, folder)


def _saved(pictures: dict[str, Picture], theme: str, folder: Path) -> Iterator[Path]:
    for name, picture in pictures.items():
        if theme == "light":
            yield picture.save(folder / f"{name}.png")
            yield picture.save(folder / f"{name}.pdf")
        else:
            yield picture.save(folder / f"{name}-{theme}.png")


def _draw_one_shot(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for network in table["network"].unique():
        rows = with_rules(table[table["network"] == network])
        title = f"{network}, one-shot, no retraining."
        yield f"one_shot_{network}", accuracy_against_density(rows, title)


def _draw_permanence(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for network in table["network"].unique():
        rows = table[table["network"] == network]
        yield f"permanence_{network}", zeros_while_training(rows)


def _draw_latency(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for layer in table["layer"].unique():
        rows = relative_speed(table[table["layer"] == layer])
        yield f"latency_{layer.split()[0]}", speed_against_density(rows)


def _draw_zoo(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    yield "zoo", zoo(table)


def _draw_lottery_tickets(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    kinds = ("ticket", "random mask")
    title = "LeNet-300-100: winning tickets and random masks."
    yield "lottery_figure_1", tickets_against_density(table, kinds, title=title)
    title = "LeNet-300-100: learning at several densities."
    yield "lottery_figure_3", ticket_curves(table, title)
    kinds = ("ticket", "random reinit", "one-shot ticket", "one-shot reinit")
    title = "LeNet-300-100: first weights or new ones, pruned in rounds or at once."
    picture = tickets_against_density(table, kinds, tuple(TICKET_MEASURES), title)
    yield "lottery_figure_4", picture


def _draw_supermasks(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    for experiment, by, panel, title in (
        ("masks", "criterion", "values", "LeNet-300-100 under a mask, never trained."),
        ("signs", "values", None, "LeNet-300-100 trained from other values under one mask."),
        ("zeros", "pruned", None, "LeNet-300-100 with pruned weights set to other values."),
    ):
        rows = table[table["experiment"] == experiment]
        options = {"panel": panel, "scale": "density", "title": title}
        picture = intervals_against(rows, "density", "test_accuracy", by, **options)
        yield f"supermasks_{experiment}", picture


def _draw_instability(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    rows = table[table["network"] == "half_convnet"]
    rows = rows.assign(percent=(100 * rows["share"]).round(1))
    for value, title in (
        ("barrier", "Error barrier of two copies."),
        ("test_accuracy", "Accuracy of the copies."),
    ):
        options = {"panel": "network", "scale": "symlog", "title": title}
        xlabel = "iteration k, % of the training"
        picture = intervals_against(rows, "percent", value, "kind", xlabel=xlabel, **options)
        yield f"instability_{value}", picture


def _draw_lottery_networks(table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    kinds = ("ticket", "random reinit", "random mask")
    for network, rows in table.groupby("network", sort=False):
        at_end = network == "resnet20"  # as in the paper, which does not stop it early
        measures = ("last_accuracy",) if at_end else ("iteration", "test_accuracy")
        title = f"{network}: winning tickets and their controls."
        yield f"lottery_{network}", tickets_against_density(rows, kinds, measures, title)


def _draw_recovery(name: str, table: pd.DataFrame) -> Iterator[tuple[str, Picture]]:
    (network,) = table["network"].unique()
    behind = behind_best(comparisons(table))
    yield name, ways_back(behind, f"{network}: points behind the best way back.")


def _draw_chart(results: Path) -> Iterator[tuple[str, Picture]]:
    """The decision chart, which takes all studies of the playbook."""
    table = comparisons(pd.concat(load_results(study, results) for study in STUDIES))
    behind = behind_best(table)
    decided = decisions(behind[tried_fully(behind)], against_dense(table))
    words = "What to do with a pruned network, and what it loses."
    yield "recovery_chart", decision_chart(decided, words)


DRAWN = {
    "one_shot": _draw_one_shot,
    "permanence": _draw_permanence,
    "latency": _draw_latency,
    "zoo": _draw_zoo,
    "lottery_tickets": _draw_lottery_tickets,
    "supermasks": _draw_supermasks,
    "instability": _draw_instability,
    "lottery_networks": _draw_lottery_networks,
    **{name: partial(_draw_recovery, name) for name in STUDIES},
}
"""The studies that have figures of their own, with the functions that draw them."""
