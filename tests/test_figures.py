"""What is drawn is what the table says: lines, bands, bars, dots, ticks, names and captions.

The tables are made by hand, and what has to be drawn is computed here from their values.
"""

import base64
import copy
import html
import io
import re
from itertools import chain, product
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle
from PIL import Image
from scipy import stats

from prunelab import figures
from prunelab.data import ROOT
from prunelab.figures import recorded, style
from prunelab.lab.playbook import STUDIES
from prunelab.lab.results import save_results
from prunelab.masks import set_mask

INK, FAINT = style.THEMES["light"].ink, style.THEMES["light"].faint
RESULTS = ROOT / "data" / "results"


TENS = ["100 %", "50 %", "20 %", "10 %"]


def tidy(names: str, cells: dict[tuple, list[float]]) -> pd.DataFrame:
    """A table of runs: the last name is that of the value, a cell holds a value a seed."""
    *by, value = names.split()
    return pd.DataFrame(
        [
            dict(zip(by, key, strict=True)) | {"seed": seed, value: number}
            for key, numbers in cells.items()
            for seed, number in enumerate(numbers)
        ]
    )


def interval(values) -> tuple[float, float, float]:
    """Mean, and both ends of Student's 95 % interval."""
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return float(np.mean(values)), low, high


def span(values) -> tuple[float, float, float]:
    return float(np.mean(values)), min(values), max(values)


def named(artists) -> dict:
    """What is drawn with a name for the legend."""
    return {a.get_label(): a for a in artists if not str(a.get_label()).startswith("_")}


def texts(artists) -> list[str]:
    return [text.get_text() for text in artists]


PROPERTIES = {
    "title": lambda ax: ax.get_title(loc="left"),
    "xlabel": lambda ax: ax.get_xlabel(),
    "xscale": lambda ax: ax.get_xscale(),
    "yscale": lambda ax: ax.get_yscale(),
    "xinverted": lambda ax: ax.xaxis_inverted(),
    "yinverted": lambda ax: ax.yaxis_inverted(),
    "xticks": lambda ax: ticks(ax.xaxis),
    "xnames": lambda ax: texts(ax.get_xticklabels()),
    "ynames": lambda ax: texts(ax.get_yticklabels()),
    "half": lambda ax: ax.yaxis.get_major_formatter()(0.5),
    "dashed": lambda ax: [li.get_ydata() for li in ax.lines if li.get_linestyle() == "--"],
}


def check_axes(ax, **expected) -> None:
    assert {name: PROPERTIES[name](ax) for name in expected} == expected


def check_density_axis(ax, xticks: list[str], **expected) -> None:
    """Logarithmic, dense on the left."""
    check_axes(ax, xscale="log", xinverted=True, xticks=xticks, **expected)


def bands(ax) -> dict[str, dict[float, tuple[float, float]]]:
    """By color: the lower and the upper edge of a band at every x."""
    found = {}
    for band in ax.collections:
        if isinstance(band, PolyCollection) and band.get_paths():
            x, y = band.get_paths()[0].vertices.T
            edges = {value: (y[x == value].min(), y[x == value].max()) for value in x}
            found[to_hex(band.get_facecolor()[0])] = edges
    return found


def segments(ax, color: str) -> np.ndarray:
    """The ends of all straight bars of a color."""
    bars = [bars for bars in ax.collections if isinstance(bars, LineCollection)]
    own = [bars.get_segments() for bars in bars if to_hex(bars.get_color()[0]) == color.lower()]
    return np.array([ends for ends in chain.from_iterable(own) if len(ends)])


def words(ax) -> dict[str, tuple[float, float, str]]:
    """The texts inside the axes, with their places and colors."""
    return {
        t.get_text().strip(): (*getattr(t, "xy", t.get_position()), to_hex(t.get_color()))
        for t in ax.texts
    }


def ticks(axis) -> list[str]:
    return [axis.get_major_formatter()(value) for value in axis.get_majorticklocs()]


def check_lines(ax, expected: dict[str, dict], legend=None) -> None:
    """Lines, bands and legend: by name, by x in the order of drawing, (mean, low, high)."""
    drawn = {name: line for name, line in named(ax.lines).items() if len(line.get_xdata())}
    assert list(drawn) == list(expected)
    filled = bands(ax)
    for name, points in expected.items():
        assert drawn[name].get_xdata().tolist() == pytest.approx(list(points))
        assert drawn[name].get_ydata() == pytest.approx([mean for mean, _, _ in points.values()])
        band = filled[line_color(drawn[name])]
        edges = np.array([band[x] for x in sorted(band)])
        assert edges == pytest.approx(np.array([points[x][1:] for x in sorted(points)]))
    assert len({line_color(line) for line in drawn.values()}) == len(drawn)
    check_legend(legend or ax.get_legend(), named(ax.lines))


def check_legend(legend, drawn: dict) -> None:
    """Every name stands beside the color it is drawn in."""
    handles = zip(texts(legend.get_texts()), legend.legend_handles, strict=True)
    colors = {name: line_color(handle) for name, handle in handles}
    assert colors == {name: line_color(artist) for name, artist in drawn.items()}


def line_color(artist) -> str:
    if isinstance(artist, PathCollection):
        return to_hex(artist.get_facecolor()[0])
    if hasattr(artist, "get_color"):
        return to_hex(artist.get_color())
    return to_hex(artist.get_facecolor() if artist.get_fill() else artist.get_edgecolor())


def intervals_of(cells: dict[tuple, list[float]], at=lambda x: x) -> dict[str, dict]:
    """What `check_lines` expects of a table of runs: by name, an interval at every x."""
    names = dict.fromkeys(name for name, _ in cells)
    return {n: {at(x): interval(v) for (name, x), v in cells.items() if name == n} for n in names}


def bar_middles(ax) -> dict[float, float]:
    """Of vertical bars: the height at every x."""
    return {bar.get_x() + bar.get_width() / 2: bar.get_height() for bar in ax.patches}


def values_of(histogram) -> np.ndarray:
    """The middle of its bin for every value a histogram has counted."""
    counts, edges, _ = histogram.get_data()
    return np.repeat((edges[:-1] + edges[1:]) / 2, counts.astype(int))


def test_images_show_the_first_of_every_class():
    y = torch.tensor([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 1])
    x = torch.arange(12.0).reshape(-1, 1, 1, 1) * torch.ones(1, 1, 2, 2)
    picture = figures.images(SimpleNamespace(x=x, y=y), tuple("abcdefghij"))
    shown = [(ax.get_title(loc="center"), ax.images[0].get_array()) for ax in picture.figure.axes]
    assert "".join(name for name, _ in shown) == "abcdefghij"
    assert [np.unique(image).tolist() for _, image in shown] == [[9 - i] for i in range(10)]


def test_training_curves():
    columns = ["split", "step", "loss", "accuracy"]
    rows = [("train", 0, 2.3, 0.1), ("valid", 0, 2.4, 0.12)]
    rows += [("train", 50, 0.5, 0.85), ("valid", 50, 0.7, 0.8)]
    picture = figures.training_curves(pd.DataFrame(rows, columns=columns))
    for i, ax in enumerate(picture.figure.axes, start=2):
        assert ax.get_title(loc="left").lower() == columns[i]
        for line, split in zip(ax.lines, ("train", "valid"), strict=True):
            points = [[row[1], row[i]] for row in rows if row[0] == split]
            assert line.get_xydata().tolist() == points
            assert words(ax)[split] == (*points[-1], to_hex(line.get_color()))
    check_axes(ax, half="50 %")
    assert "over 50 training steps; the last valid accuracy is 80.0%" in picture.caption


def test_class_probabilities_are_heights():
    table = pd.DataFrame({"class": ["bag", "boot", "coat"], "probability": [0.2, 0.7, 0.1]})
    picture = figures.class_probabilities(table, "A shirt")
    (ax,) = picture.figure.axes
    assert bar_middles(ax) == {0: 0.2, 1: 0.7, 2: 0.1}
    assert ax.get_ylim()[0] == 0
    check_axes(ax, xnames=["bag", "boot", "coat"])
    places = {name: place[:2] for name, place in words(ax).items()}
    assert places == {"20.0%": (0, 0.2), "70.0%": (1, 0.7), "10.0%": (2, 0.1)}
    assert "led by boot 70.0% and bag 20.0%" in picture.caption


def test_mask_and_histogram_tell_kept_from_pruned():
    weights = torch.tensor([[-1.0, -0.1, 0.2, 0.9], [0.1, 0.11, -0.95, 1.0]])
    mask = torch.tensor([[True, False, False, True], [False, False, True, True]])
    picture = figures.mask_and_histogram(weights, mask, "fc2")
    left, right = picture.figure.axes
    assert left.images[0].get_array().tolist() == mask.tolist()
    drawn = named(right.patches)
    blue = style.COLORS[0].lower()
    for name, chosen, color in (("kept", mask, blue), ("pruned", ~mask, FAINT)):
        values = sorted(weights[chosen].tolist())
        assert values_of(drawn[name]) == pytest.approx(values, abs=1 / 80 + 1e-6)
        assert line_color(drawn[name]) == to_hex(left.images[0].to_rgba(name == "kept")) == color
    check_legend(right.get_legend(), drawn)
    check_axes(right, yscale="linear", title="50.0% of the weights are kept")
    assert "mask of fc2: 50.0% of its weights are kept" in picture.caption


@pytest.mark.parametrize("name", style.THEMES)
def test_mask_times_weight_writes_every_number_and_grays_what_is_pruned(name):
    weights = np.array([[-2.0, 0.5, 1.25], [0.0, -0.25, 1.0]])
    mask = np.abs(weights) > 0.5
    with figures.use_theme(name):
        picture = figures.mask_times_weight(torch.tensor(weights), torch.tensor(mask))
    colors = style.THEMES[name]
    numbers = ["−2.00", "0.50", "1.25", "0.00", "−0.25", "1.00"]
    multiplied = ["−2.00", "0", "1.25", "0", "0", "1.00"]
    expected = [[*numbers, "×"], [*"101001", "="], [*multiplied, ""]]
    for ax, said in zip(picture.figure.axes, expected, strict=True):
        assert texts(ax.texts) == said
        places = [text.get_position() for text in ax.texts[:-1]]
        assert places == [(x + 0.5, y + 0.52) for y in (0, 1) for x in (0, 1, 2)]
        assert ax.yaxis_inverted()
    filled = []
    for ax in picture.figure.axes:
        cells = ax.collections[0]
        filled.append([to_hex(c) for c in cells.cmap(cells.norm(cells.get_array())).reshape(-1, 4)])
    before, ones, after = (np.array(cells).reshape(2, 3) for cells in filled)
    assert set(ones[mask]) == {style.COLORS[0].lower()}
    assert set(ones[~mask]) == set(after[~mask]) == {colors.faint}
    assert (after[mask] == before[mask]).all()
    assert (before[0, 0], before[1, 0]) == (style.COLORS[0].lower(), colors.paper)
    assert "3 of 6 are kept" in picture.caption
    assert "pruned one has magnitude 0.50, the smallest kept one 1.00" in picture.caption


def test_thresholds_stand_at_the_largest_pruned_weight_of_each_layer():
    model = torch.nn.Sequential(torch.nn.Linear(40, 20), torch.nn.Linear(20, 5))
    model[1].weight.data.mul_(3)
    sizes = {name: model[int(name)].weight.detach().abs().flatten() for name in "01"}
    cuts = {"one": {"0": 0.1, "1": 0.1}, "two": {"0": 0.05, "1": 0.3}}
    networks = {rule: copy.deepcopy(model) for rule in cuts}
    for rule, network in networks.items():
        for name, cut in cuts[rule].items():
            set_mask(network[int(name)], network[int(name)].weight.abs() > cut)
    picture = figures.thresholds(model, networks)
    panels = np.array(picture.figure.axes).reshape(2, 2)
    for ax, (name, rule) in zip(panels.flat, product("01", cuts), strict=True):
        size, cut = sizes[name], cuts[rule][name]
        kept = size > cut
        (line,) = ax.lines
        assert line.get_xdata() == pytest.approx([size[~kept].max().item()] * 2)
        everything, stays = ax.patches
        counts = [patch.get_data()[0] for patch in (everything, stays)]
        seen = size <= ax.get_xlim()[1]
        assert counts[1].sum() / counts[0].sum() == pytest.approx(kept[seen].float().mean().item())
        assert counts[0].max() == 1
        assert line_color(everything) == FAINT
        said = f"{kept.double().mean():.1%}"
        assert words(ax)[f"{said} stay"][2] == line_color(stays)
        assert f"of {name} {said} ({rule})" in picture.caption
    assert [ax.get_title(loc="left") for ax in panels[0]] == ["one", "two"]
    assert [ax.get_ylabel() for ax in panels[:, 0]] == ["0\n800 weights", "1\n100 weights"]
    assert len({ax.get_xlim() for ax in panels.flat}) == 1


def test_weight_histograms_count_each_networks_weights():
    weights = {"small": np.array([0.0, 0.001, 0.002, 0.3]), "large": np.array([-0.25, 0.1])}
    picture = figures.weight_histograms(weights, 0.3)
    (ax,) = picture.figure.axes
    drawn = named(ax.patches)
    for name, values in weights.items():
        assert values_of(drawn[name]) == pytest.approx(sorted(values), abs=0.3 / 120 + 1e-9)
    check_legend(ax.get_legend(), drawn)
    assert ax.get_yscale() == "symlog"
    assert "nearer to 0 than 0.005: small 75%, large 0%" in picture.caption


ONE_SHOT = {
    ("LAMP", 0.0): [0.9, 0.92, 0.88],
    ("LAMP", 0.5): [0.85, 0.8, 0.87],
    ("LAMP", 0.9): [0.5, 0.6, 0.4],
    ("random", 0.0): [0.9, 0.92, 0.88],
    ("random", 0.5): [0.3, 0.35, 0.2],
    ("random", 0.9): [0.1, 0.15, 0.12],
}


def test_a_short_density_axis_has_more_ticks():
    picture = figures.intervals_against(
        tidy("rule left accuracy", {("one", 0.82): [0.9], ("one", 0.26): [0.5]}),
        *("left", "accuracy", "rule"),
        scale="density",
    )
    check_density_axis(picture.figure.axes[0], ["100 %", "70 %", "50 %", "30 %"])


def test_accuracy_against_density():
    picture = figures.accuracy_against_density(tidy("rule sparsity accuracy", ONE_SHOT), "A title.")
    (ax,) = picture.figure.axes
    check_lines(ax, intervals_of(ONE_SHOT, lambda sparsity: 1 - sparsity))
    check_density_axis(ax, TENS, half="50 %", title="A title.")
    assert "At 50 % kept: LAMP 84%; random 28%." in picture.caption
    assert "over 3 seeds" in picture.caption


def test_zeros_while_training():
    cells = {
        ("masked", 0): [0.9, 0.9, 0.88],
        ("masked", 10): [0.9, 0.89, 0.91],
        ("plain", 0): [0.9, 0.91, 0.9],
        ("plain", 10): [0.01, 0.02, 0.0],
    }
    picture = figures.zeros_while_training(tidy("order steps sparsity", cells))
    (ax,) = picture.figure.axes
    check_lines(ax, intervals_of(cells))
    check_axes(ax, xscale="symlog", xticks=["0", "10"], xinverted=False)


def test_bytes_against_density():
    sizes = {"dense": (8000, 8000), "CSR": (9000, 2000), "gzip": (7000, 1500)}
    sizes["entropy bound"] = (6000, 1000)
    rows = [(n, *at) for n, both in sizes.items() for at in zip((0.0, 0.9), both, strict=True)]
    table = pd.DataFrame(rows, columns=["format", "sparsity", "bytes"])
    picture = figures.bytes_against_density(table)
    (ax,) = picture.figure.axes
    drawn = named(ax.lines)
    assert list(drawn) == list(sizes)
    for name, both in sizes.items():
        assert drawn[name].get_xdata() == pytest.approx([1, 0.1])
        assert drawn[name].get_ydata() == pytest.approx(np.array(both) / 1000)
        assert (drawn[name].get_linestyle() == "--") == (name == "entropy bound")
    check_legend(ax.get_legend(), drawn)
    check_density_axis(ax, TENS, yscale="log")
    assert "the smallest is gzip, next to the entropy bound" in picture.caption


def test_bytes_by_format_are_widths():
    table = pd.DataFrame({"format": ["dense", "entropy bound"], "bytes": [1_065_000, 80_000]})
    picture = figures.bytes_by_format(table, 0.9)
    (ax,) = picture.figure.axes
    bars = [(b.get_y() + b.get_height() / 2, b.get_width(), line_color(b)) for b in ax.patches]
    assert bars == [(0, 1065, style.COLORS[0].lower()), (1, 80, FAINT)]
    assert ax.get_xlim()[0] == 0
    check_axes(ax, ynames=["dense", "entropy bound"], yinverted=True)
    places = {name: place[:2] for name, place in words(ax).items()}
    assert places == {"1,065 kB": (1065, 0), "80 kB": (80, 1)}
    assert picture.caption == "At 90% sparsity: dense 1,065 kB, entropy bound 80 kB"


def test_speed_against_density():
    cells = {
        (batch, name, sparsity): [(1 + batch) * speed, (1 + batch) * speed * 1.2]
        for batch in (1, 3)
        for name, speed in (("masked", 0.3), ("CSR", 0.8))
        for sparsity in (0.5, 0.98)
    }
    picture = figures.speed_against_density(tidy("batch format sparsity speedup", cells))
    first = picture.figure.axes[0]
    for ax, batch in zip(picture.figure.axes, (1, 3), strict=True):
        here = {key[1:]: values for key, values in cells.items() if key[0] == batch}
        check_lines(ax, intervals_of(here, lambda sparsity: 1 - sparsity), first.get_legend())
        check_axes(ax, title=f"batch {batch}", yscale="log", half="0.5×", dashed=[[1, 1]])
        check_density_axis(ax, [*TENS, "5 %", "2 %"])
    assert "at batch 1 and 3, for masked, CSR; the fastest is CSR at batch 3" in picture.caption
    assert "50% kept, 3.5 times dense" in picture.caption


METHODS = {
    ("net", "fine-tune", 10): [0.5, 0.52, 0.55],
    ("net", "fine-tune", 0): [0.1, 0.2, 0.15],
    ("net", "fine-tune", 100): [0.8, 0.82, 0.7],
    ("big net", "rewind", 0): [0.3, 0.35, 0.4],
    ("big net", "rewind", 1000): [0.9, 0.95, 0.97],
    ("big net", "fine-tune", 0): [0.2, 0.25, 0.21],
}


def test_intervals_against_in_panels():
    table, how = tidy("network method x_steps accuracy", METHODS), {"scale": "symlog"}
    how |= {"panel": "network", "reference": 0.9, "title": "A title."}
    picture = figures.intervals_against(table, "x_steps", "accuracy", "method", **how)
    first, second = picture.figure.axes
    points = {key: interval(values) for key, values in METHODS.items()}
    steps = {x: points["net", "fine-tune", x] for x in (0, 10, 100)}
    rewind = {x: points["big net", "rewind", x] for x in (0, 1000)}
    alone = points["big net", "fine-tune", 0]
    (legend,) = picture.figure.legends
    check_lines(first, {"fine-tune": steps}, legend)
    check_lines(second, {"rewind": rewind, "fine-tune": {0: alone}}, legend)
    (bar,) = segments(second, line_color(named(second.lines)["fine-tune"]))
    assert bar == pytest.approx(np.array([(0, end) for end in alone[1:]]))  # no width, no band
    look = {"xscale": "symlog", "xlabel": "x steps", "dashed": [[0.9, 0.9]], "half": "50 %"}
    check_axes(first, title="net", xticks=["0", "10", "100"], **look)
    check_axes(second, title="big net", xticks=["0", "1000"], **look)
    assert first.get_ylabel() == "accuracy"
    assert picture.figure.get_suptitle() == "A title."
    assert picture.caption == (
        "A title. accuracy against x steps. At the right end: net fine-tune 77.3%, "
        "big net rewind 94.0%, big net fine-tune 22.0%. Bands are 95 % intervals over 3 runs."
    )


@pytest.mark.parametrize("scale", ["linear", "log", "symlog", "density"])
def test_intervals_against_on_every_scale(scale):
    cells = {("a", 0.5): [3.0, 4.0], ("a", 0.1): [1.0, 1.5], ("a", 1): [5.0, 7.0]}
    options = {"scale": scale, "percent": False, "title": "T.", "ylabel": "nats"}
    table = tidy("kind share loss", cells)
    picture = figures.intervals_against(table, "share", "loss", "kind", **options)
    (ax,) = picture.figure.axes
    order = [1, 0.5, 0.1] if scale == "density" else [0.1, 0.5, 1]
    check_lines(ax, {"a": {x: interval(cells["a", x]) for x in order}})
    if scale == "density":
        check_density_axis(ax, TENS, title="T.")
    else:
        check_axes(ax, xscale=scale, xinverted=False, xticks=["0.1", "0.5", "1"], title="T.")
    end = {"density": "1.25"}.get(scale, "6")
    assert picture.caption.startswith(f"T. nats against share. At the right end: a {end}. Bands")


def test_an_unknown_scale_is_an_error():
    with pytest.raises(ValueError, match="scale='cubic' is unknown; choose linear, log, symlog"):
        figures.intervals_against(tidy("a b c", {(1, 2): [3]}), "a", "c", "b", scale="cubic")


def test_differences():
    rows = [("net", "ours", 1.0, -0.5, 2.25), ("net", "paper", -2.0, -3.0, -0.75)]
    rows += [("big net", "ours", 0.5, 0.25, 1.0)]
    table = pd.DataFrame(rows, columns=["setting", "source", "mean", "low", "high"])
    picture = figures.differences(table, "A − B", "points")
    (ax,) = picture.figure.axes
    ink, *lines = [line for line in ax.lines if len(line.get_xdata())]
    assert (ink.get_xdata(), ink.get_color()) == ([0, 0], INK)
    key = named(ax.lines)
    assert list(key) == ["ours", "paper"]
    check_legend(*picture.figure.legends, key)
    for y, (_, source, mean, low, high) in enumerate(rows):
        bar, dot = lines[2 * y : 2 * y + 2]
        assert bar.get_xydata().tolist() == [[low, y], [high, y]]
        assert dot.get_xydata().tolist() == [[mean, y]]
        assert line_color(bar) == line_color(dot) == line_color(key[source])
        assert dot.get_marker() == key[source].get_marker()
        end = low if high < 0 else high
        assert words(ax)[style.minus(f"{mean:+.2f}")][::2] == (end, line_color(dot))
    check_axes(ax, ynames=["net", "net", "big net"], yinverted=True, xlabel="points")
    assert "net +1.00 [-0.50, +2.25]; net -2.00 [-3.00, -0.75]; big net +0.50" in picture.caption


def test_ratios_stand_on_a_logarithmic_axis_around_one():
    columns = ["setting", "mean", "low", "high"]
    table = pd.DataFrame([("net", 2.0, 0.9, 4.0), ("big net", 0.5, 0.4, 0.6)], columns=columns)
    picture = figures.differences(table, "A / B", "times", no_effect=1)
    (ax,) = picture.figure.axes
    assert ax.lines[0].get_xdata() == [1, 1]
    check_axes(ax, xscale="log", ynames=["net", "big net"], yinverted=True, xlabel="times")
    assert ax.get_xticks().tolist() == [0.5, 0.67, 1, 1.5, 2, 3]
    assert [text.get_text() for text in ax.texts] == ["2.00", "0.50"]
    assert "net 2.00 [0.90, 4.00]; big net 0.50 [0.40, 0.60]" in picture.caption


def test_effects_map_writes_bold_what_leaves_out_zero():
    rows = [(0.0, 1, 0.3, 0.1, 0.5), (0.0, 4, -0.2, -0.3, -0.1), (0.5, 1, 0.1, -0.1, 0.3)]
    rows += [(0.5, 4, -0.4, -0.9, 0.1)]
    table = pd.DataFrame(rows, columns=["a", "T", "mean", "low", "high"])
    picture = figures.effects_map(table, "a", "T", "Points.")
    (ax,) = picture.figure.axes
    seen = {text.get_text(): text for text in ax.texts}
    assert {name: text.get_weight() for name, text in seen.items()} == {
        "+0.30": "bold",
        "−0.20": "bold",
        "+0.10": "normal",
        "−0.40": "normal",
    }
    for a, T, mean, *_ in rows:
        x, y = seen[style.minus(f"{mean:+.2f}")].get_position()
        assert (texts(ax.get_yticklabels())[int(y)], texts(ax.get_xticklabels())[int(x)]) == (
            f"{a:g}",
            f"{T:g}",
        )
    (cells,) = ax.collections
    assert np.asarray(cells.get_array()).ravel().tolist() == [mean for _, _, mean, *_ in rows]
    red, _, blue = cells.to_rgba(0.4)[:3]
    assert blue > red
    red, _, blue = cells.to_rgba(-0.4)[:3]
    assert red > blue
    assert "+0.30 [+0.10, +0.50], at a = 0 and T = 1; 2 of 4 intervals leave" in picture.caption


def test_descents_go_down_the_valley_by_the_rates_they_are_given():
    schedules = {"none": [0.0] * 6, "half": [0.5] * 6, "falling": [0.5, 0.5, 0.5, 0, 0, 0]}
    picture = figures.descents(schedules, start=4.0, title="T.")
    dots = {ax.get_title(loc="left"): ax.collections[0].get_offsets() for ax in picture.figure.axes}
    assert list(dots) == list(schedules)
    for places in dots.values():
        x, loss = np.asarray(places).T
        assert len(x) == 7
        assert x[0] == 4.0
        assert loss == pytest.approx(x**2 / 2)
    assert set(np.asarray(dots["none"])[:, 0]) == {4.0}
    half, falling = (np.asarray(dots[name])[:, 0] for name in ("half", "falling"))
    assert falling[:4].tolist() == half[:4].tolist()
    assert set(falling[3:]) == {half[3]}
    noise = 2 * half[1:] - half[:-1]  # half of what was left, and half of the noise
    assert noise == pytest.approx(-2 * np.random.default_rng(0).normal(size=6))
    last = {name: np.abs(np.asarray(places)[-5:, 0]).mean() for name, places in dots.items()}
    assert picture.caption.endswith(
        "none 4.0, " + ", ".join(f"{name} {last[name]:.1f}" for name in ("half", "falling")) + "."
    )


def test_softened_probabilities():
    scores = [2.0, 0.0, 4.0]
    picture = figures.softened(np.eye(3), torch.tensor(scores), ("a", "b", "c"), (1, 2))
    image, *panels = picture.figure.axes
    assert image.images[0].get_array().tolist() == np.eye(3).tolist()
    for ax, temperature in zip(panels, (1, 2), strict=True):
        share = np.exp(np.array(scores) / temperature)
        share /= share.sum()
        assert [bar.get_width() for bar in ax.patches] == pytest.approx(share.tolist())
        assert texts(ax.texts) == [f"{value:.1%}" for value in share]
        dark = [line_color(bar) == style.COLORS[0].lower() for bar in ax.patches]
        assert dark == [False, False, True]
        check_axes(ax, title=f"T = {temperature}", yinverted=True)
    assert texts(panels[0].get_yticklabels()) == ["a", "b", "c"]
    assert "The share of the first, c, falls" in picture.caption


def test_stale_statistics():
    spread = np.array([-2.0, -1.0, 1.0, 2.0])  # of mean 0, and standard deviation √2.5
    picture = figures.stale_statistics(10 + spread, 4 + spread / 2, (10.0, 2.0), "channel 3")
    one = np.sqrt(2.5)
    expected = (  # of each bar: its middle and half its length
        {"before pruning, and kept": (10, one), "after pruning": (4, one / 2)},
        {
            "before pruning": (0, one / 2),
            "after, by the kept statistics": (-3, one / 4),
            "after, by its own statistics": (0, 1),
        },
    )
    for ax, bars in zip(picture.figure.axes, expected, strict=True):
        drawn = [line.get_xdata() for line in ax.lines]
        for (middle, half), bar, dot in zip(bars.values(), drawn[::2], drawn[1::2], strict=True):
            assert bar == pytest.approx([middle - half, middle + half])
            assert dot == pytest.approx([middle])
        said = [text.split(":")[0] for text in texts(ax.texts)]
        colors = [to_hex(text.get_color()) for text in ax.texts]
        assert said == list(bars)
        assert colors == [line_color(line) for line in ax.lines[::2]]
        outlines = [patch for patch in ax.patches if not patch.get_fill()]
        assert [to_hex(patch.get_edgecolor()) for patch in outlines] == colors
    assert "after pruning: 4.0 ± 0.8" in texts(picture.figure.axes[0].texts)
    assert "put the new values at −3.0 ± 0.4" in picture.caption


@pytest.mark.parametrize(
    ("draw", "wrong", "words"),
    [
        (figures.shares_by_round, {}, "has none to draw"),
        (figures.shares_by_round, {"down": [0.5, 0.4]}, r"schedules\['down'\]=.* must rise"),
        (figures.shares_by_round, {"over": [0.5, 1.2]}, "must rise from 0 to 1"),
        (figures.shares_by_round, {"none": []}, "must rise"),
        (figures.descents, {}, "at least one; have {}"),
        (figures.descents, {"a": [0.1], "b": [0.1, 0.2]}, "have {'a': 1, 'b': 2}"),
    ],
)
def test_schedules_that_cannot_be_drawn_are_named(draw, wrong, words):
    with pytest.raises(ValueError, match=words):
        draw(wrong)


def test_shares_by_round():
    picture = figures.shares_by_round({"step": [0.5, 0.75, 0.875], "cubic": [0.7, 0.8, 0.81]})
    for ax, bars in zip(
        picture.figure.axes,
        (
            [(0, 0.5, "50%"), (0.5, 0.25, "50%"), (0.75, 0.125, "50%")],
            [(0, 0.7, "70%"), (0.7, 0.1, "33%"), (0.8, 0.01, "5%")],
        ),
        strict=True,
    ):
        gone, taken, left = ax.containers
        assert [bar.get_width() for bar in gone] == pytest.approx([start for start, *_ in bars])
        assert [bar.get_x() for bar in taken] == pytest.approx([start for start, *_ in bars])
        assert [bar.get_width() for bar in taken] == pytest.approx([cut for _, cut, _ in bars])
        ends = [bar.get_x() + bar.get_width() for bar in left]
        assert ends == pytest.approx([1, 1, 1])
        assert texts(ax.texts) == [share for *_, share in bars]
    assert "step 50%, 50%, 50%; cubic 70%, 33%, 5%" in picture.caption


def test_mask_growing_moves_round_by_round():
    masks = [np.ones((2, 120)), np.tile([1, 0], (2, 60)), np.eye(2, 120)]
    picture = figures.mask_growing(masks, shape=(12, 10))
    with Image.open(io.BytesIO(picture.png)) as moving:
        assert moving.n_frames == 3
        frames = [np.asarray((moving.seek(i), moving.convert("RGB"))[1]) for i in range(3)]
    for frame, mask in zip(picture.frames, masks, strict=True):
        pixels = np.asarray(frame.figure.axes[0].collections[0].get_array())
        assert pixels.ravel() == pytest.approx(mask.mean(axis=0))
    blue = 255 * np.array(to_rgb(style.COLORS[0]))
    share = [(np.abs(frame - blue).max(axis=2) < 8).mean() for frame in frames]
    assert share[0] > 1.5 * share[1] > 3 * share[2]
    assert "100.0% in the first frame, 0.8% in the last" in picture.caption
    assert "corners of 5 × 5 pixels 100.0% and 1.0%" in picture.caption
    with pytest.raises(
        ValueError, match=r"shape \(2, 120\); their inputs must be \(28, 28\) pixels"
    ):
        figures.mask_growing(masks)


def test_tensors_through_step():
    before = {"orig": np.array([[1.5, -0.004], [0.2, 3.0]]), "= w": np.array([[0.0, -0.0, 1.0]])}
    after = {"orig": np.array([[1.5, -0.104], [0.1, 3.0]]), "= w": np.array([[0.0, 0.25, 0.0]])}
    picture = figures.tensors_through_step(before, after)
    axes = np.reshape(picture.figure.axes, (2, 2))
    cells = [  # of each grid: what is written, and the colors behind it
        [("1.50 −0.004 0.20 3.00", "...."), ("0 −0 1", "00.")],
        [("1.50 −0.10 0.10 3.00", ".bb."), ("0 0.25 0", "0ob")],
    ]
    colors = {"#ffffff": ".", FAINT: "0", style.COLORS[0].lower(): "b"}
    colors[style.COLORS[1].lower()] = "o"
    for ax, (numbers, grounds) in zip(axes.flat, chain(*cells), strict=True):
        assert " ".join(texts(ax.texts)) == numbers
        assert "".join(colors[to_hex(p.get_facecolor())] for p in ax.patches) == grounds
        for text, patch in zip(ax.texts, ax.patches, strict=True):
            assert patch.get_bbox().contains(*text.get_position())
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["orig", "= w"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["before", "after one step"]
    assert "orig: 2 of 4 changed, 0 zeros, then 0; = w: 2 of 3 changed, 2 zeros" in picture.caption
    with pytest.raises(ValueError, match="names and the shapes"):
        figures.tensors_through_step(before, {"orig": before["orig"]})


def test_sparse_rows():
    picture = figures.sparse_rows(np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.0], [-1.25, 0.0, 2.0]]))
    dense, sparse = picture.figure.axes
    assert texts(dense.texts)[:3] == ["0$\\,x_{0}$", "0.5$\\,x_{1}$", "0$\\,x_{2}$"]
    assert texts(sparse.texts) == ["0.5$\\,x_{1}$", "−1.2$\\,x_{0}$", "2.0$\\,x_{2}$"]
    assert [p.get_xy() for p in sparse.patches] == [(0, 0), (0, 2), (1, 2)]
    gray = [to_hex(patch.get_facecolor()) == FAINT for patch in dense.patches]
    assert gray == [True, False, True, True, True, True, False, True, False]
    assert [ax.get_title(loc="left") for ax in (dense, sparse)] == [
        "dense: 9 products",
        "sparse rows: 3 products",
    ]
    assert "by row 1, 0, 2" in picture.caption


@pytest.mark.parametrize("name", style.THEMES)
def test_smaller_or_holes(name):
    weights = np.array([[1.0, -4.0, 2.0], [0.5, 0.0, 3.0]])
    mask = np.array([[0, 1, 0], [0, 0, 1]])
    with figures.use_theme(name):
        picture = figures.smaller_or_holes(weights, [0], [0, 2], mask)
        with pytest.raises(ValueError, match="mask keeps 2 weights; rows and columns keep 3"):
            figures.smaller_or_holes(weights, [0], [0, 1, 2], mask)
    blue, ink, faint = to_rgb(style.COLORS[0]), *map(to_rgb, style.THEMES[name][:2])
    grounds = {blue: "b", ink: "g", faint: "0"}
    drawn = []
    for ax in picture.figure.axes:
        colors = [patch.get_facecolor() for patch in ax.patches]
        drawn.append("".join(grounds[color[:3]] for color in colors))
        assert len(ax.texts) == drawn[-1].count("0")
    assert drawn == ["bgbg0g", "bb", "bb", "gbgg0b", "0b000b", "0b000b"]
    places = [[patch.get_xy() for patch in ax.patches] for ax in picture.figure.axes]
    assert places[1] == places[2] == [(0, 0), (1, 0)]
    assert places[3] == places[4] == [(x, y) for y in (0, 1) for x in (0, 1, 2)]
    assert places[5] == [(x, 0) for x in range(6)]
    strength = [patch.get_facecolor()[3] for patch in picture.figure.axes[0].patches]
    assert strength[0] < strength[2]
    assert strength[5] > strength[3]
    assert [ax.get_xlabel() for ax in picture.figure.axes] == [
        *("2 of 6 stay", "2 products", "8 bytes in 1 cache line"),
        *("2 of 6 stay", "6 products, 4 with 0", "24 bytes in 1 cache line"),
    ]
    assert "4 with 0, 24 bytes in 1 cache line, the largest that goes is 2.00" in picture.caption


def test_kept_at_inputs_counts_the_weights_of_each_pixel():
    masks = {"one": np.ones((3, 16)), "two": np.eye(2, 16)}
    picture = figures.kept_at_inputs(masks, "T.", shape=(4, 4))
    for ax, (name, mask) in zip(picture.figure.axes, masks.items(), strict=False):
        pixels = np.asarray(ax.collections[0].get_array())
        assert pixels.ravel().tolist() == mask.sum(axis=0).tolist()
        assert ax.get_title(loc="left") == name
        assert ax.yaxis_inverted()
    assert "on average: one 3.0 and 3.0; two 0.0 and 0.2." in picture.caption
    with pytest.raises(ValueError, match=r"\['one'\] has the shape \(3, 16\).*\(28, 28\) pixels"):
        figures.kept_at_inputs(masks)


def test_densities_of_layers_mark_what_is_empty():
    kept = {("a", 0.1): (0.1, 0.5), ("a", 0.01): (0.0, 0.2), ("b", 0.1): (0.2, 0.1)}
    rows = [
        {"method": method, "density": density, "layer": layer, "kept": share}
        for (method, density), shares in kept.items()
        for layer, share in zip(("fc1", "fc2"), shares, strict=True)
    ]
    picture = figures.densities_of_layers(pd.DataFrame(rows), "T.")
    first, second = picture.figure.axes
    assert picture.png  # a warning that nothing fits would be an error
    crosses = [line for line in first.lines if line.get_marker() == "x"]
    assert [cross.get_xdata().tolist() for cross in crosses] == [[0.01]]
    assert crosses[0].get_ydata() == pytest.approx([first.get_ylim()[0]])
    lines = named(first.lines)
    assert line_color(crosses[0]) == line_color(lines["fc1"])
    assert lines["fc1"].get_xydata().tolist() == [[0.1, 0.1]]
    assert lines["fc2"].get_xydata().tolist() == [[0.1, 0.5], [0.01, 0.2]]
    assert named(second.lines)["fc1"].get_ydata().tolist() == [0.2]
    check_legend(second.get_legend(), named(second.lines))
    check_axes(first, title="a", xscale="log", yscale="log", xinverted=True)
    assert picture.caption.endswith("Empty layers: a, fc1 from 1.00% down.")


def test_moved_weights_have_four_fates():
    before = np.array([[1, 1, 0], [0, 1, 0]])
    after = np.array([[1, 0, 1], [0, 1, 0]])
    picture = figures.moved_weights(before, after, "T.")
    (ax,) = picture.figure.axes
    cells = ax.collections[0]
    drawn = [to_hex(color) for color in cells.cmap(cells.norm(cells.get_array())).reshape(-1, 4)]
    stays, dropped, grown = (color.lower() for color in style.COLORS[:3])
    assert drawn == [stays, dropped, grown, FAINT, stays, FAINT]
    (legend,) = picture.figure.legends
    handles = zip(texts(legend.get_texts()), legend.legend_handles, strict=True)
    colors = {name: to_hex(handle.get_facecolor()) for name, handle in handles}
    assert colors == {"in neither": FAINT, "stays": stays, "dropped": dropped, "grown": grown}
    assert "of 6 weights: 2 in neither, 2 stays, 1 dropped, 1 grown" in picture.caption
    with pytest.raises(ValueError, match="must have one shape"):
        figures.moved_weights(before, after[:1])


def test_steps_to_zero():
    first, second = [[1.0, -0.5], [0.8, -0.4], [0.7, 0.1]], [[0.2, 0.3], [0.1, 0.3], [0.1, 0.2]]
    picture = figures.steps_to_zero({"one": first, "two": second}, "A title.")
    for ax, path, lengths in zip(
        picture.figure.axes, (first, second), (["0.20", "0.10"], ["0.10", "0.00"]), strict=True
    ):
        for i, weight in enumerate(np.transpose(path)):
            assert ax.lines[i].get_ydata().tolist() == weight.tolist()
            bars = segments(ax, style.COLORS[i])[:, :, 1]
            assert bars.tolist() == np.stack([weight[:-1], weight[1:]], 1).tolist()
        assert texts(ax.texts) == lengths
    assert "one: 1.00 to 0.70, first by 0.20, last by 0.10, -0.50 to 0.10" in picture.caption
    for paths in ({}, {"one": first[:1]}, {"one": first, "two": first[:2]}):
        with pytest.raises(ValueError, match="must have one shape"):
            figures.steps_to_zero(paths)


def test_lengths_and_areas():
    picture = figures.lengths_and_areas({"a": [3.0, -4.0], "b": torch.tensor([[0.0, 6.0]])})
    for ax, sides, norms in zip(
        picture.figure.axes, ([4, 3], [6, 0]), ((7, 5), (6, 6)), strict=True
    ):
        assert [(p.get_width(), p.get_height()) for p in ax.patches] == [(s, s) for s in sides]
        assert [p.get_x() for p in ax.patches] == [0, sides[0]]
        said = [f"width: L1 = {norms[0]}", f"√area: L2 = {norms[1]}"]
        bold = {t.get_text(): t.get_weight() == "bold" for t in ax.texts if "=" in t.get_text()}
        assert bold == {said[0]: norms[0] == 6, said[1]: norms[1] == 5}
    assert "a L1 7, L2 5; b L1 6, L2 6" in picture.caption
    for filters in ({}, {"a": [0.0, 0.0]}):
        with pytest.raises(ValueError, match="not all zero"):
            figures.lengths_and_areas(filters)


def test_scatter():
    rows = [("one", "yes", 0.1, 0.5), ("one", "no", 0.2, 0.9), ("one", "yes", 0.3, 0.7)]
    rows += [("two", "no", 0.6, 0.05), ("two", "yes", 0.4, 0.2)]
    table = pd.DataFrame(rows, columns=["layer", "kept", "old", "new"])
    picture = figures.scatter(table, "old", "new", "kept", title="A title.", panel="layer")
    first = picture.figure.axes[0]
    ends = (0.1, 0.9), (0.05, 0.6)
    for ax, layer, (low, high) in zip(picture.figure.axes, ("one", "two"), ends, strict=True):
        drawn = named(ax.collections)
        assert list(drawn) == ["yes", "no"]
        for kind, dots in drawn.items():
            points = [[r[2], r[3]] for r in rows if r[:2] == (layer, kind)]
            assert dots.get_offsets().tolist() == points
        check_legend(first.get_legend(), drawn)
        (diagonal,) = ax.lines
        assert (diagonal.get_xy1(), diagonal.get_xy2()) == ((low, low), (high, high))
        check_axes(ax, title=layer, xlabel="old")
    assert first.get_ylabel() == "new"
    assert picture.caption == "A title. new against old, with the diagonal: 3 yes, 2 no."


def arrows(ax) -> dict[tuple[float, float], tuple[float, float]]:
    """Where each arrow leads, and where it comes from."""
    return {t.xy: t.xyann for t in ax.texts if getattr(t, "arrow_patch", None)}


def test_arrows_lead_back_on_the_curves_of_what_goes_back():
    history = pd.DataFrame({"step": [0, 4, 9, 100], "loss": [2.0, 1.0, 0.5, 0.25]})
    history["lr"] = [0.03, 0.03, 0.003, 0.0003]
    moments = {"start": 0.0, "early": 0.04, "late": 0.1, "end": 1.0}
    picture = figures.going_back(history, moments, "T.")
    axes = np.reshape(picture.figure.axes, (2, 3))
    roots = [0.0, 0.2, 0.3, 1.0]
    for panels, value in zip(axes, ("loss", "lr"), strict=True):
        for ax in panels:
            points = np.transpose([roots, history[value]])
            assert ax.lines[0].get_xydata() == pytest.approx(points)
        end = (1.0, history[value].iloc[-1])
        back = [pytest.approx(point) for point in points[:3]]
        stops = {"loss": ([], [], back), "lr": ([], back[:1], back)}[value]
        for ax, places in zip(panels, stops, strict=True):
            assert set(arrows(ax).values()) == {end}
            assert list(arrows(ax)) == (places or [(1.27, end[1])])
    ways = ["fine-tune", "LR rewinding", "weight rewinding"]
    assert [PROPERTIES["title"](ax).split(":")[0] for ax in axes[0]] == ways
    check_axes(axes[1, 0], xnames=["start", "\nearly", "late", "\nend"])
    assert picture.caption.endswith("arrows from the end to start, early, late on both curves.")


def test_a_barrier_is_the_height_of_the_hill_that_is_drawn():
    picture = figures.loss_valley("T.")
    heights = []
    for ax in picture.figure.axes[2:]:
        error = ax.lines[0].get_ydata()
        heights.append(round(100 * (error.max() - (error[0] + error[-1]) / 2)))
        assert f"barrier: {heights[-1]} points" in words(ax)
        assert len(arrows(ax)) == (heights[-1] > 0)
    assert heights[0] == 0 < 30 < heights[1]
    assert f"(0 points); two basins, a barrier ({heights[1]} points)." in picture.caption


def test_copies_that_part_late_have_no_hill_between_them():
    picture = figures.parting_copies("T.")
    maps, lines = picture.figure.axes[:2], picture.figure.axes[2:]
    barriers = {}
    for land, ax in zip(maps, lines, strict=True):
        name = PROPERTIES["title"](land)
        error = ax.lines[0].get_ydata()
        barriers[name] = round(100 * (error.max() - (error[0] + error[-1]) / 2))
        assert f"barrier: {barriers[name]} points" in words(ax)
        assert f"{name}, {barriers[name]} points" in picture.caption
        copies = [
            line for line in land.lines if line_color(line) != INK and len(line.get_xdata()) > 1
        ]
        ends = {line.get_xdata()[-1] for line in copies}
        straight = land.lines[-1].get_xdata()
        assert sorted(ends) == pytest.approx(sorted(straight))
        parted = [line.get_xydata()[0] for line in copies]
        assert parted[0] == pytest.approx(parted[1])
        assert ("iteration k" in words(land)) == (parted[0][1] > 0)
    assert barriers["copied later"] == 0 < 30 < barriers["copied at the start"]


def test_ticket_loop_shows_what_of_the_weights_is_kept_and_which_are_new():
    first, trained, fresh = np.random.default_rng(0).normal(size=(3, 2, 3))
    mask = np.array([[True, False, True], [False, False, True]])
    elsewhere = ~mask
    picture = figures.ticket_loop(first, trained, mask, fresh, elsewhere)
    every = np.ones((2, 3), dtype=bool)
    expected = [(first, every), (trained, every), (trained, mask), (first, mask), None]
    expected += [(first, every), (fresh, mask), (first, elsewhere)]
    colors = []
    for ax, grid in zip(picture.figure.axes, expected, strict=True):
        if grid is None:
            assert not ax.axison
            continue
        cells = ax.collections[0].get_array().reshape(2, 3)
        assert (np.ma.getmaskarray(cells) == ~grid[1]).all()
        assert cells.compressed() == pytest.approx(grid[0][grid[1]])
        colors.append(to_hex(ax.collections[0].cmap(0.0)))
    assert [color == colors[0] for color in colors] == [True] * 5 + [False, True]
    assert {"train", "prune", "rewind", "next round: train the ticket"} <= {
        word for ax in picture.figure.axes for word in words(ax)
    }
    assert "pruned to 50%" in picture.caption
    with pytest.raises(ValueError, match="must have one shape"):
        figures.ticket_loop(first, trained, mask[:1], fresh, elsewhere)


@pytest.mark.parametrize("number", ["mean", "std"])
def test_every_run_is_a_dot(number):
    cells = {("net", "a"): [0.1, 0.2, 0.6], ("net", "b"): [-1.0, 0.0, 0.5]}
    cells |= {("big net", "a"): [2.0, 2.5, 2.0], ("big net", "b"): [0.0, 0.1, 0.3]}
    table = tidy("setting method value", cells)
    picture = figures.every_run(table, "value", "method", "setting", number=number, title="T.")
    for ax, setting in zip(picture.figure.axes, ("net", "big net"), strict=True):
        _, *drawn = ax.lines
        for y, (dots, method) in enumerate(zip(drawn, "ab", strict=True)):
            values = cells[setting, method]
            assert dots.get_xydata().tolist() == [[value, y] for value in values]
            said = np.mean(values) if number == "mean" else np.std(values, ddof=1)
            assert f"{setting}, {method} {said:.2f}" in picture.caption
            assert style.minus(f"{said:.2f}") in {
                t.get_text() for t in ax.texts if t.get_position()[1] == y
            }
        check_axes(ax, title=setting, xlabel="value")
    assert texts(picture.figure.axes[0].get_yticklabels()) == ["a", "b"]
    with pytest.raises(ValueError, match="number='max' is unknown; choose mean or std"):
        figures.every_run(table, "value", "method", "setting", number="max")


CHANNELS = pd.DataFrame(
    {
        "layer": ["conv1"] * 3 + ["conv2"] * 3,
        "role": ["reads", "writes", "writes", "reads", "reads", "writes"],
        "channel": [0, 0, 1, 0, 1, 0],
        "unit": [9, 4, 5, 4, 5, 7],
        "group": [0, 1, 1, 1, 1, 2],
    }
)


@pytest.mark.parametrize("lit", [None, 5])
def test_channel_map(lit):
    picture = figures.channel_map(CHANNELS.sample(frac=1, random_state=1).sort_index(), lit, "T.")
    (ax,) = picture.figure.axes
    layer_axes = ["conv1 reads", "conv1 writes", "conv2 reads", "conv2 writes"]
    check_axes(ax, ynames=layer_axes, yinverted=True)
    cells = {(p.get_x(), p.get_y()): p for p in ax.patches if isinstance(p, Rectangle)}
    writing = {(t.get_position()[0], int(t.get_position()[1])): t for t in ax.texts}
    assert len(cells) == len(writing) == len(CHANNELS)
    for row in CHANNELS.itertuples():
        y = layer_axes.index(f"{row.layer} {row.role}")
        cell, text = cells[row.channel + 0.05, y + 0.1], writing[row.channel + 0.5, y]
        color = style.COLORS[row.group - 1].lower() if row.group else "#9a9a9a"
        assert to_hex(cell.get_facecolor()) == color
        assert text.get_text() == {9: "·", 4: "a1", 5: "a2", 7: "b1"}[row.unit]
        is_lit = lit is None or row.unit == lit
        assert (cell.get_alpha() > 0.3) == (text.get_alpha() == 1) == is_lit
    seen = "unit a2 is lit: conv1 writes, conv2 reads" if lit else "2 groups of 2, 1 units"
    assert picture.caption == f"T. The channels of 4 layer axes; {seen}."


BLOCK = """
    stem   writes  a0 a1 | stem  reads   .
    conv1  writes  b0 b1 b2 | conv1 reads a0 a1
    bn1    carries b0 b1 b2
    conv2  writes  a0 a1 | conv2 reads   b0 b1 b2
    fc     writes  . .   | fc    reads   a0 a1"""
FLOW_PLACES = {"stem": 0, "conv1": 3.6, "bn1": 8.2, "conv2": 11.8, "fc": 20.3}


def channels_of(text: str) -> pd.DataFrame:
    """A table of channels: of each layer and role the units' names, a dot for what stays."""
    rows, units = [], {}
    for part in text.replace("|", "\n").strip().splitlines():
        layer, role, *names = part.split()
        for channel, name in enumerate(names):
            key = name if name != "." else (layer, channel)
            unit = units.setdefault(key, len(units))
            rows.append((layer, role, channel, unit, " ab".index(name[0]) if name != "." else 0))
    return pd.DataFrame(rows, columns=["layer", "role", "channel", "unit", "group"])


@pytest.mark.parametrize("lit", [None, 1])
def test_channel_flow(lit):
    picture = figures.channel_flow(channels_of(BLOCK), lit, "T.")
    (ax,) = picture.figure.axes
    drawn = [p for p in ax.patches if isinstance(p, Rectangle)]
    boxes = {p.get_x(): p for p in drawn if to_hex(p.get_edgecolor()) == FAINT}
    sizes = {"stem": (1, 2), "conv1": (2, 3), "bn1": (1, 3), "conv2": (3, 2), "fc": (2, 2)}
    places = dict(zip(sizes, sorted(boxes), strict=True))
    assert list(places.values()) == pytest.approx(list(FLOW_PLACES.values()))
    for layer, size in sizes.items():
        box = boxes[places[layer]]
        assert (box.get_width(), box.get_height(), box.get_y()) == (*size, -size[1] / 2)
    bars = [p.get_bbox().bounds for p in drawn if p.get_alpha() == 0.85 and p.get_width() != 0.9]
    x = places
    cut = [(x["stem"], 0, 1, 1), (x["conv1"] + 1, -1.5, 1, 3), (x["conv2"], 0, 3, 1)]
    cut += [(x["fc"] + 1, -1, 1, 2)]
    assert bars == ([] if lit is None else [pytest.approx(place) for place in cut])
    names = [t.get_text() for t in ax.texts if t.get_alpha() == 1 and t.get_text() != "·"]
    every = "a1 a2 b1 b2 b3 a1 a2 b1 b2 b3 a1 a2 b1 b2 b3 a1 a2"
    assert sorted(names) == (sorted(every.split()) if lit is None else ["a2"] * 4)
    assert "+" in texts(ax.texts)
    assert any("the + adds a1 to a1, …, a2 to a2" in text for text in texts(ax.texts))
    if lit is None:
        seen = " stem writes a; conv1 reads a, writes b; bn1 carries b; conv2 reads b, writes a; "
        seen += "fc reads a."
    else:
        seen = " What goes with a2: stem − filter a2; conv1 − input a2; bn1 loses nothing; "
        seen += "conv2 − filter a2; fc − input a2."
    start = "T. 5 layers; a skip connection from stem is added after conv2."
    assert picture.caption == start + seen


def test_a_chain_has_no_skip_connection():
    table = channels_of("one writes a0 a1 | two reads a0 a1 | two writes b0")
    picture = figures.channel_flow(table, title="")
    assert not picture.figure.axes[0].lines
    assert picture.caption == "2 layers. one writes a; two reads a, writes b."


def geometric(*values):
    return tuple(np.exp(interval(np.log(values))))


def test_zoo():
    left = {("slow", 0): (0.5, 0.8), ("slow", 1): (0.6, 0.9)}
    left |= {("fast", 0): (0.2, 0.25), ("fast", 1): (0.3, 0.2)}
    rows = [
        (tool, model, seed, model in works, "cut: KeyError: 3", 10.0, k * macs, 2.0, 2 * latency)
        for tool, works, k in (("prunelab", ("slow", "fast"), 10), ("torch-pruning", ("slow",), 8))
        for (model, seed), (macs, latency) in left.items()
    ]
    columns = "tool model seed works problem macs_before macs_after latency_before latency_after"
    picture = figures.zoo(pd.DataFrame(rows, columns=columns.split()))
    (ax,) = picture.figure.axes
    series = {
        "operations": [geometric(0.2, 0.3), geometric(0.5, 0.6)],
        "time": [geometric(0.25, 0.2), geometric(0.8, 0.9)],
        "operations, Torch-Pruning": [(np.nan,) * 3, geometric(0.4, 0.48)],
    }
    drawn = named(ax.lines)
    check_legend(ax.get_legend(), drawn)
    assert list(drawn) == list(series)
    for name, values in series.items():
        x = [mean for mean, _, _ in values]
        assert drawn[name].get_xdata() == pytest.approx(x, nan_ok=True)
        assert list(drawn[name].get_ydata()) == [0, 1]
        bars = [[[low, y], [high, y]] for y, (_, low, high) in enumerate(values) if low > 0]
        assert segments(ax, line_color(drawn[name])) == pytest.approx(np.array(bars))
    both = [*zip(series["operations"], series["time"], strict=True)]
    ends = [[[m[0], y], [t[0], y]] for y, (m, t) in enumerate(both)]
    assert segments(ax, FAINT) == pytest.approx(np.array(ends))
    notes = {f"{1 / t[0]:.1f}×": (y, line_color(drawn["time"])) for y, (_, t) in enumerate(both)}
    notes["✗ cut: KeyError"] = (0, line_color(drawn["operations, Torch-Pruning"]))
    assert {name: place[1:] for name, place in words(ax).items()} == notes
    xticks = ["20 %", "30 %", "50 %", "100 %"]
    check_axes(ax, ynames=["fast", "slow"], yinverted=True, xscale="log", xticks=xticks)
    for part in (
        "24% to 55% of the operations, and 22% (fast) to 85% (slow) of the time",
        "Torch-Pruning leaves fewer operations of slow. torch-pruning fails on fast. Bars are 95 %",
    ):
        assert part in picture.caption
    assert "prunelab fails" not in picture.caption


def tickets() -> pd.DataFrame:
    """Three trials of the dense network (round 0) and of two kinds at two densities."""
    cells = {}
    for k, (kind, rounds) in enumerate({"ticket": (0, 3, 7), "random reinit": (3, 7)}.items()):
        for round_ in rounds:
            stop = 188 * (round_ + 2 * k + 1)
            moments = [("early stop", stop), ("end", 2000), ("curve", 1000), ("curve", 2000)]
            for m, (moment, iteration) in enumerate(moments):
                level = 0.8 - 0.1 * k - 0.02 * round_ - 0.01 * min(m, 2) + iteration / 1e5
                cells[kind, round_, moment, iteration] = [level, level + 0.05, level + 0.01]
    table = tidy("kind round moment iteration test_accuracy", cells)
    table["iteration"] += 10 * table["seed"] * (table["moment"] == "early stop")
    table["train_accuracy"] = table["test_accuracy"] + 0.1
    return table.assign(density=0.8 ** table["round"])


def spans(table: pd.DataFrame, x: str, y: str) -> dict:
    places = sorted(set(table[x]))
    return {value: span(table.loc[table[x] == value, y].tolist()) for value in places}


KINDS = ("ticket", "random reinit")


def of_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Its rows, and those of the dense network."""
    return table[(table["kind"] == kind) | (table["round"] == 0)]


def test_tickets_against_density():
    table = tickets()
    measures = {
        "last_accuracy": ("end", "test_accuracy", "Test accuracy at the end"),
        "iteration": ("early stop", "iteration", "Iterations until early stop"),
        "train_accuracy": ("end", "train_accuracy", "Training accuracy at the end"),
        "test_accuracy": ("early stop", "test_accuracy", "Test accuracy at early stop"),
    }
    picture = figures.tickets_against_density(table, KINDS, tuple(measures), "A title.")
    panels = picture.figure.axes
    for ax, (moment, column, title) in zip(panels, measures.values(), strict=True):
        here = table[table["moment"] == moment]
        expected = {kind: spans(of_kind(here, kind), "density", column) for kind in KINDS}
        check_lines(ax, expected, panels[0].get_legend())
        check_density_axis(ax, ["51.2", "100.0"], title=title)  # of every third round
        styles = [line.get_linestyle() for line in named(ax.lines).values()]
        assert styles == ["-", "--"]
        (dense,) = (line for line in ax.lines if line.get_linestyle() == ":")
        assert dense.get_ydata()[0] == pytest.approx(here.loc[here["round"] == 0, column].mean())
        is_percent = PROPERTIES["half"](ax) == "50 %"
        assert is_percent == (column != "iteration")
    stops = table[(table["moment"] == "early stop") & (table["round"] == 7)]
    seen = [np.mean(stops.loc[stops["kind"] == kind, "test_accuracy"]) for kind in KINDS]
    assert f"21.0% kept: ticket {seen[0]:.4g}, random reinit {seen[1]:.4g}." in picture.caption
    assert "of 3 trials" in picture.caption
    zoomed = figures.tickets_against_density(table, KINDS, tuple(measures), zoom=0.01)
    for ax, (moment, column, _) in zip(zoomed.figure.axes, measures.values(), strict=True):
        lowest = table[(table["moment"] == moment) & (table["round"] == 0)][column].mean() - 0.01
        assert (ax.get_ylim()[0] == pytest.approx(lowest)) == (column == "test_accuracy")


def test_markers_are_hollow_where_a_trial_stopped_at_the_limit():
    table = tickets()
    late = figures.stopped_at_limit(table)
    assert late[["kind", "round", "seed", "iteration"]].to_numpy().tolist() == [
        [KINDS[1], 7, 2, 1900]
    ]
    picture = figures.tickets_against_density(table, KINDS)
    for ax in picture.figure.axes:
        (mark,), line = hollow(ax), named(ax.lines)[KINDS[1]]
        assert mark.get_xydata() == pytest.approx(line.get_xydata()[:1])  # of the sparsest
        assert (line_color(mark), mark.get_marker()) == (line_color(line), line.get_marker())
    assert "\nHollow: at least one trial" in picture.figure.get_suptitle()
    assert picture.caption.endswith("in the last 5 % of training: random reinit at 21.0 %.")
    alone = figures.tickets_against_density(table, KINDS[:1], title="A title.")
    assert not [mark for ax in alone.figure.axes for mark in hollow(ax)]
    assert alone.figure.get_suptitle() == "A title."
    assert "ollow" not in alone.caption
    race = figures.ticket_race(table, density=0.21)
    (mark,) = hollow(race.figure.axes[0])
    assert mark.get_xdata() == [1890]
    assert "random reinit after 1,890 iterations (hollow: at the limit)" in race.caption
    slow_dense = table.assign(iteration=table["iteration"].where(table["round"] > 0, 2000))
    picture = figures.tickets_against_density(slow_dense, KINDS[1:])
    (mark,) = hollow(picture.figure.axes[0])
    assert mark.get_xdata() == pytest.approx([0.8**7, 1])


def hollow(ax) -> list:
    """What is drawn with empty markers."""
    paper = style.THEMES["light"].paper
    return [m for m in ax.lines if m.get_markerfacecolor() == paper and len(m.get_xdata())]


@pytest.mark.parametrize("name", style.THEMES)
def test_ticket_curves(name):
    table = tickets()
    with figures.use_theme(name):
        picture = figures.ticket_curves(table, "A title.", density=0.5)
    curves, axes = table[table["moment"] == "curve"], picture.figure.axes
    colors = set()
    for ax, kind in zip(axes[:2], KINDS, strict=True):
        rounds = dict(list(of_kind(curves, kind).groupby("round")))
        named_rounds = {"100.0%": rounds[0], "51.2%": rounds[3], "21.0%": rounds[7]}
        expected = {n: spans(t, "iteration", "test_accuracy") for n, t in named_rounds.items()}
        check_lines(ax, expected, axes[1].get_legend())
        check_axes(ax, title=kind)
        lines = list(named(ax.lines).values())
        colors.add(tuple(map(line_color, lines)))
        assert lines[1].get_linestyle() == ("-" if kind == "ticket" else "--")
    (dark_to_light,) = colors
    light = [np.dot([0.2126, 0.7152, 0.0722], to_rgb(color)) for color in dark_to_light]
    assert light == sorted(light)
    both = {kind: curves[(curves["kind"] == kind) & (curves["round"] == 3)] for kind in KINDS}
    both["dense"] = curves[curves["round"] == 0]
    expected = {n: spans(t, "iteration", "test_accuracy") for n, t in both.items()}
    check_lines(axes[2], expected)
    check_axes(axes[2], title="both, 51.2% kept")
    assert [line.get_linestyle() for line in named(axes[2].lines).values()] == ["-", "--", ":"]
    assert "At the end: ticket 100.0% kept 82.0%, ticket 51.2% kept" in picture.caption


def test_leads_against_density():
    cells = {
        ("a", "early stop", 3): [0.1, 0.3, 0.2],
        ("a", "early stop", 6): [-0.4, -0.2, -0.6],
        ("b", "early stop", 3): [1.0, 1.5, 1.1],
        ("a", "end", 3): [0.0, 0.2, 0.7],
    }
    table = tidy("name moment round lead", cells).assign(density=lambda t: 0.8 ** t["round"])
    picture = figures.leads_against_density(table, "T.", {"early stop": {6: 0.25}}, (-1, 2))
    for ax, moment in zip(picture.figure.axes, ("early stop", "end"), strict=True):
        drawn = named(ax.lines)
        for name in {n for n, m, _ in cells if m == moment}:
            places = {0.8**r: v for (n, m, r), v in cells.items() if (n, m) == (name, moment)}
            expected = {d: interval(v) for d, v in places.items()}
            assert drawn[name].get_xdata() == pytest.approx(list(expected))
            assert drawn[name].get_ydata() == pytest.approx(
                [mean for mean, *_ in expected.values()]
            )
        check_density_axis(ax, ["26.2", "51.2"], title=moment)
        assert ax.get_ylim() == (-1, 2)
        gray = [p.get_bbox().intervaly.tolist() for p in ax.patches]
        assert gray == [[-0.2, 0.2]]
    star = named(picture.figure.axes[0].lines)["the paper, on MNIST"]
    assert star.get_xydata()[0] == pytest.approx([0.8**6, 0.25])
    assert (
        "early stop, a -0.40; early stop, b +1.20; early stop, the paper +0.25" in picture.caption
    )


def test_claims_of_a_paper_stand_beside_ours():
    rows = [  # claim, quantity, published, mean, low, high, agrees, star
        ("sooner", "early stop", "1.61 (38 % earlier)", 2.0, 1.5, 2.5, "yes", 1.61),
        ("later", "early stop", "sooner (than that)", 1.0, 0.8, 1.2, "cannot be told", None),
        ("better", "test accuracy", "+0.3", -0.5, -0.9, -0.1, "no", 0.3),
    ]
    columns = ["claim", "quantity", "published", "mean", "low", "high", "agrees", "star"]
    picture = figures.paper_claims(pd.DataFrame(rows, columns=columns), "T.")
    looks = {"yes": ("#0072b2", "o"), "cannot be told": ("#808080", "D"), "no": ("#d55e00", "s")}
    above, below = picture.figure.axes
    for ax, here in ((above, rows[:2]), (below, rows[2:])):
        marks = [line for line in ax.lines if len(line.get_xdata()) == 1]
        stars = {m.get_ydata()[0]: m.get_xdata()[0] for m in marks if m.get_marker() == "*"}
        assert stars == {y: row[-1] for y, row in enumerate(here) if row[-1] is not None}
        means = [m for m in marks if m.get_marker() != "*"]
        for y, (mark, row) in enumerate(zip(means, here, strict=True)):
            assert mark.get_xydata().tolist() == [[row[3], y]]
            assert (line_color(mark), mark.get_marker()) == looks[row[6]]
            assert words(ax)[row[2].split(" (")[0]][1] == y
        bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2][1:]
        assert [list(bar) for bar in bars] == [[row[4], row[5]] for row in here]
        check_axes(ax, ynames=[row[0] for row in here])
    check_axes(above, xscale="log")
    legend = picture.figure.legends[0]
    assert texts(legend.get_texts()) == [f"agrees: {agrees}" for agrees in looks]
    assert "better (the paper: +0.3) -0.50 [-0.90, -0.10], agrees: no" in picture.caption


def test_ticket_race_is_run_at_the_nearest_density_that_has_curves():
    table = tickets()
    picture = figures.ticket_race(table, density=0.45)
    (ax,) = picture.figure.axes
    runners = {k: (k, 3) for k in KINDS} | {"dense": ("ticket", 0)}
    expected = {}
    stars = [line for line in ax.lines if len(line.get_xdata()) == 1]
    for star, (name, (kind, round_)) in zip(stars, runners.items(), strict=True):
        here = table[(table["kind"] == kind) & (table["round"] == round_)]
        expected[name] = spans(here[here["moment"] == "curve"], "iteration", "test_accuracy")
        stop = here[here["moment"] == "early stop"]
        mean = [np.mean(stop["iteration"]), np.mean(stop["test_accuracy"])]
        assert star.get_xydata()[0] == pytest.approx(mean)
        assert line_color(star) == line_color(named(ax.lines)[name])
        assert f"{name} after {mean[0]:,.0f} iterations with {mean[1]:.1%}" in picture.caption
    check_lines(ax, expected)
    check_axes(ax, title="51.2% of the weights kept.")
    dense = figures.ticket_race(table, density=1.0)
    assert list(named(dense.figure.axes[0].lines)) == ["dense"]
    assert dense.caption.count("iterations with") == 1


def record(study: str, **where) -> pd.DataFrame:
    """The recorded rows that have these values."""
    table = pd.read_csv(RESULTS / f"{study}.csv")
    for column, value in where.items():
        table = table[table[column] == value]
    return table


def pictures_of(study: str) -> dict[str, figures.Picture]:
    return dict(recorded.DRAWN[study](record(study)))


def lines_of(ax) -> dict[str, dict[float, float]]:
    """What is drawn: by name, y at every x."""
    return {name: dict(line.get_xydata().tolist()) for name, line in named(ax.lines).items()}


def mean_of(rows: pd.DataFrame, x, y: str) -> dict[float, float]:
    return pytest.approx(rows.groupby(x)[y].mean().to_dict())


def test_figure_of_the_readme_has_every_rule_by_its_name():
    pictures = pictures_of("one_shot")
    assert list(pictures) == ["one_shot_lenet300", "one_shot_small_convnet"]
    rules = {
        "LAMP, global": ("lamp", "global"),
        "magnitude, global": ("l1", "global"),
        "magnitude, layerwise": ("l1", "layerwise"),
        "random, global": ("random", "global"),
        "random, layerwise": ("random", "layerwise"),
    }
    for name, picture in pictures.items():
        rows = record("one_shot", network=name.removeprefix("one_shot_"))
        rows = rows.assign(density=1 - rows["sparsity"]).groupby(["criterion", "scope"])
        means = {n: mean_of(rows.get_group(key), "density", "accuracy") for n, key in rules.items()}
        assert lines_of(picture.figure.axes[0]) == means


def test_recorded_speeds_are_dense_time_over_the_formats_time():
    layers = {"latency_linear": "linear 2048×2048", "latency_lenet300": "lenet300"}
    pictures = pictures_of("latency")
    assert list(pictures) == list(layers)
    for name, layer in layers.items():
        for ax, batch in zip(pictures[name].figure.axes, (1, 64), strict=True):
            rows = record("latency", layer=layer, batch=batch)
            times = rows.pivot_table(index=["sparsity", "seed"], columns="format", values="median")
            speeds = times[["masked", "permanent", "CSR"]].rdiv(times["dense"], axis=0)
            means = speeds.groupby("sparsity").mean().rename(index=lambda s: 1 - s)
            assert lines_of(ax) == {f: pytest.approx(s.to_dict()) for f, s in means.items()}


def test_recorded_permanence_instability_and_supermasks_are_drawn():
    rows = record("instability", network="half_convnet")
    rows = rows.assign(percent=(100 * rows["share"]).round(1))
    expected = {
        f"instability_{value}": (rows, "percent", value, "kind")
        for value in ("barrier", "test_accuracy")
    }
    for network, part in record("permanence").groupby("network"):
        expected[f"permanence_{network}"] = (part, "steps", "sparsity", "order")
    for experiment, by in (("signs", "values"), ("zeros", "pruned")):
        part = record("supermasks", experiment=experiment)
        expected[f"supermasks_{experiment}"] = (part, "density", "test_accuracy", by)
    pictures = {
        name: picture
        for study in ("instability", "permanence", "supermasks")
        for name, picture in pictures_of(study).items()
    }
    panels = pictures.pop("supermasks_masks").figure.axes
    assert pictures.keys() == expected.keys()
    drawn = [(picture.figure.axes[0], *expected[name]) for name, picture in pictures.items()]
    for ax in panels:
        part = record("supermasks", experiment="masks", values=ax.get_title(loc="left"))
        drawn.append((ax, part, "density", "test_accuracy", "criterion"))
    for ax, part, x, y, by in drawn:
        lines = {name: points for name, points in lines_of(ax).items() if points}
        assert lines == {name: mean_of(group, x, y) for name, group in part.groupby(by)}


def test_recorded_tickets_are_drawn_as_in_the_paper():
    pictures = pictures_of("lottery_tickets")
    kinds = {
        "lottery_figure_1": ["ticket", "random mask"],
        "lottery_figure_4": ["ticket", "random reinit", "one-shot ticket", "one-shot reinit"],
    }
    panels = [("early stop", "iteration"), ("early stop", "test_accuracy")]
    panels += [("end", "test_accuracy"), ("end", "train_accuracy")]
    for name, expected in kinds.items():
        axes = pictures[name].figure.axes
        assert len(axes) == (2 if name == "lottery_figure_1" else 4)
        for ax, (moment, column) in zip(axes, panels, strict=False):
            rows = record("lottery_tickets", moment=moment)
            means = {kind: mean_of(of_kind(rows, kind), "density", column) for kind in expected}
            assert lines_of(ax) == means
            assert list(lines_of(ax)) == expected
    curves = record("lottery_tickets", moment="curve")
    part = np.ceil(curves["iteration"] / 500)
    runs = curves.groupby(["kind", "round", "density", "seed", part], as_index=False)
    curves = runs[["iteration", "test_accuracy"]].mean()
    for ax in pictures["lottery_figure_3"].figure.axes[:2]:
        rows = of_kind(curves, ax.get_title(loc="left")).groupby("density")
        drawn = {f"{d:.1%}": mean_of(r, "iteration", "test_accuracy") for d, r in rows}
        assert lines_of(ax) == drawn


def test_only_resnet20_is_drawn_at_the_end_of_training():
    table = pd.concat(tickets().assign(network=name) for name in ("conv2", "resnet20"))
    pictures = dict(recorded.DRAWN["lottery_networks"](table))
    titles = {k: [PROPERTIES["title"](a) for a in v.figure.axes] for k, v in pictures.items()}
    early = ["Iterations until early stop", "Test accuracy at early stop"]
    assert titles == {"lottery_conv2": early, "lottery_resnet20": ["Test accuracy at the end"]}


def test_each_study_of_recovery_has_its_map_and_all_have_one_chart():
    for study in STUDIES:
        ((name, picture),) = pictures_of(study).items()
        pruned = record(study, role="comparison").query("pruned != 'nothing'")
        ways = {label.get_text() for label in picture.figure.axes[0].get_yticklabels()}
        assert (name, ways) == (study, set(pruned["method"]))
    ((name, chart),) = recorded._draw_chart(RESULTS)
    assert name == "recovery_chart"
    assert len(chart.figure.axes[0].patches) == len(chart.caption.split("; "))


def test_files_of_the_recorded_studies(tmp_path, monkeypatch):
    save_results("mine", tidy("rule sparsity accuracy", ONE_SHOT), {}, tmp_path)
    draw = {"mine": lambda table: [("curve", figures.accuracy_against_density(table))]}
    monkeypatch.setattr(recorded, "DRAWN", draw | {"not recorded": None})
    paths = list(recorded.draw_recorded(tmp_path / "figures", tmp_path))
    assert [path.name for path in paths] == ["curve.png", "curve.pdf", "curve-dark.png"]
    papers = [to_hex(np.asarray(Image.open(p))[0, 0] / 255) for p in (paths[0], paths[2])]
    assert papers == [style.THEMES["light"].paper, style.THEMES["dark"].paper]


@pytest.fixture(scope="module")
def picture():
    return figures.class_probabilities(pd.DataFrame({"class": ["a"], "probability": [1.0]}), "T")


def test_a_theme_holds_inside_its_block_only():
    light, dark = style.THEMES["light"], style.THEMES["dark"]
    with figures.use_theme("dark"):
        with figures.use_theme("light"):
            assert style.theme() == light
        assert style.theme() == dark
    assert style.theme() == light
    before = figures.use_theme("dark")  # one line makes a dark notebook
    assert style.theme() == dark
    before.__exit__()
    with pytest.raises(ValueError, match="theme='blue' is unknown; choose light or dark"):
        figures.use_theme("blue")
    assert style.theme() == light


def test_lines_keep_their_colors_however_many_shades_there_are():
    rng, rows = np.random.default_rng(0), []
    for line, _ in enumerate(style.COLORS):
        rows += [
            {"x": x, "y": x * (1 + panel) + line + rng.normal(), "line": line, "panel": panel}
            for x in range(4)
            for panel in (0, 1)
            for _ in range(5)
        ]
    many = figures.intervals_against(
        pd.DataFrame(rows), "x", "y", "line", panel="panel", percent=False
    )
    pixels = np.asarray(Image.open(io.BytesIO(many.png)).convert("RGB")).reshape(-1, 3)
    for color in style.COLORS:
        away = np.abs(pixels - 255 * np.array(to_rgb(color))).max(axis=1)
        assert (away < 8).sum() > 100, color


def test_a_picture_keeps_the_theme_it_was_drawn_in():
    table = pd.DataFrame({"class": ["a"], "probability": [1.0]})
    with figures.use_theme("dark"):
        dark = figures.class_probabilities(table, "T")
    pixels = np.asarray(Image.open(io.BytesIO(dark.png)).convert("RGB"))
    theme = style.THEMES["dark"]
    ink, paper = (255 * np.array(to_rgb(color)) for color in (theme.ink, theme.paper))
    assert np.abs(pixels[0, 0] - paper).max() < 3
    names_of_classes = pixels[-20:].reshape(-1, 3)
    assert np.abs(names_of_classes - ink).max(axis=1).min() < 60


def test_caption_is_the_alternative_text_and_escaped_in_html(picture):
    bundle = picture._repr_mimebundle_()
    assert bundle == {"text/html": picture.to_html(), "text/plain": picture.caption}
    assert f'alt="{html.escape(picture.caption)}"' in bundle["text/html"]
    assert base64.b64encode(picture.png).decode() in bundle["text/html"]
    assert picture.png.startswith(b"\x89PNG")
    assert not plt.get_fignums()
    quoted = figures.Picture(picture.figure, 'a "quoted" <caption>')
    assert 'alt="a &quot;quoted&quot; &lt;caption&gt;"' in quoted.to_html()


def test_colors_stay_apart_in_gray():
    gray = [np.dot([0.2126, 0.7152, 0.0722], to_rgb(color)) for color in style.COLORS]
    assert len({round(255 * value) for value in gray}) == len(gray)
    assert len(set(style.MARKERS)) == len(style.COLORS)


def test_surprises():
    texts = {"reads": ("ab c\n", [1.0, 2.0, 3.0, 4.0, 5.0]), "writes": ("x" * 70, [0.5] * 70)}
    picture = figures.surprises(texts, "Two texts.")
    assert picture.caption.startswith("Two texts. reads: 3.00 bits a character; writes: 0.50 bits")
    (ax,) = picture.figure.axes
    drawn = [text.get_text() for text in ax.texts]
    assert drawn[0] == "reads (3.00 bits a character)"
    assert drawn[1:6] == ["a", "b", " ", "c", "↵"]
    shades = [patch.get_facecolor()[3] for patch in ax.patches[:5]]
    assert shades == sorted(shades)
    assert shades[0] > 0
    lines = {text.get_position()[1] for text in ax.texts[7:]}
    assert len(lines) == 2  # 70 characters
    with pytest.raises(ValueError, match="'reads' has 2 characters and 1 numbers"):
        figures.surprises({"reads": ("ab", [1.0])}, "")


def test_every_public_figure_is_tested():
    returns = {
        name: getattr(getattr(figures, name), "__annotations__", {}).get("return")
        for name in figures.__all__
    }
    public = {name for name, kind in returns.items() if kind is figures.Picture}
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")
    )
    called = set(re.findall(r"figures\.(\w+)\(", tests))
    assert len(public) == 46
    assert public <= called
