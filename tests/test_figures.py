"""Every figure draws in both themes, says what there is to see, and leaves nothing open."""

import copy
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from prunelab import figures
from prunelab.figures import recorded, style
from prunelab.masks import get_masks
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import bytes_on_disk, check_sparsity
from prunelab.surgery import channel_table

PNG = b"\x89PNG"


def grid(**columns) -> pd.DataFrame:
    """All combinations of the given values."""
    return pd.MultiIndex.from_product(columns.values(), names=columns.keys()).to_frame(index=False)


def values(table: pd.DataFrame) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 0.9, len(table))


@pytest.fixture(scope="module")
def network():
    return lenet300(seed=0)


def pruned(network, sparsity):
    return apply_global_pruning(copy.deepcopy(network), sparsity=sparsity)


def draw_channel_map(network, data):
    return figures.channel_map(channel_table(network, data.test.x[:1]).query("channel < 5"))


def draw_images(network, data):
    return figures.images(data.test, data.classes)


def draw_training_curves(network, data):
    table = grid(split=["train", "valid"], step=[0, 10, 20])
    return figures.training_curves(table.assign(loss=values(table), accuracy=values(table)))


def draw_kept_by_layer(network, data):
    layers = check_sparsity(pruned(network, 0.9)).iloc[:-2]
    return figures.kept_by_layer(pd.concat([layers.assign(rule="a"), layers.assign(rule="b")]))


def draw_mask_and_histogram(network, data):
    mask = get_masks(pruned(network, 0.9))["fc2"]
    return figures.mask_and_histogram(network.fc2.weight.detach(), mask, "fc2")


def draw_accuracy_against_density(network, data):
    table = grid(rule=["a", "b"], sparsity=[0.0, 0.5, 0.9], seed=range(3))
    return figures.accuracy_against_density(table.assign(accuracy=values(table)), "A title.")


def draw_bytes_against_density(network, data):
    sizes = [bytes_on_disk(pruned(network, s)).assign(sparsity=s) for s in (0.0, 0.5, 0.9)]
    return figures.bytes_against_density(pd.concat(sizes))


def draw_bytes_by_format(network, data):
    return figures.bytes_by_format(bytes_on_disk(pruned(network, 0.9)), 0.9)


def draw_zeros_while_training(network, data):
    table = grid(order=["a", "b"], steps=[0, 1, 10], seed=range(3))
    return figures.zeros_while_training(table.assign(sparsity=values(table)))


def draw_speed_against_density(network, data):
    table = grid(batch=[1, 64], format=["masked", "CSR"], sparsity=[0.5, 0.9], seed=range(3))
    return figures.speed_against_density(table.assign(speedup=values(table)))


def draw_intervals_against(network, data):
    table = grid(network=["a", "b"], method=["c", "d"], steps=[0, 10, 100], seed=range(3))
    return figures.intervals_against(
        table.assign(accuracy=values(table)),
        "steps",
        "accuracy",
        "method",
        panel="network",
        scale="symlog",
        reference=0.9,
        title="A title.",
    )


def draw_differences(network, data):
    table = grid(setting=["a", "b"], source=["measured", "published"])
    mean = values(table)
    return figures.differences(
        table.assign(mean=mean, low=mean - 0.1, high=mean + 0.1), "A title.", "points"
    )


def draw_zoo(network, data):
    table = grid(tool=["prunelab", "torch-pruning"], model=["a", "b"], seed=range(3))
    fails = (table["tool"] != "prunelab") & (table["model"] == "b")
    after = np.where(fails, np.nan, values(table))
    table = table.assign(
        macs_before=1, latency_before=1, macs_after=after, latency_after=after, seconds=after
    )
    return figures.zoo(table.assign(works=~fails, problem=np.where(fails, "cut: KeyError: 3", "")))


def draw_class_probabilities(network, data):
    table = pd.DataFrame({"class": data.classes, "probability": np.linspace(0, 0.2, 10)})
    return figures.class_probabilities(table, "A title")


def draw_scatter(network, data):
    table = grid(layer=["a", "b"], kept=["yes", "no"], x=[0.1, 0.5])
    return figures.scatter(
        table.assign(y=values(table)), "x", "y", "kept", title="A title.", panel="layer"
    )


def draw_weight_histograms(network, data):
    weights = network.fc2.weight.detach().numpy()
    return figures.weight_histograms({"small": weights.ravel(), "large": 2 * weights.ravel()}, 0.3)


def tickets() -> pd.DataFrame:
    kinds = ["ticket", "random reinit", "random mask"]
    moments = ["early stop", "end", "curve"]
    table = grid(kind=kinds, round=[0, 3, 7], moment=moments, iteration=[0, 100], seed=range(3))
    table = table[(table["kind"] == "ticket") | (table["round"] > 0)]
    accuracies = {"test_accuracy": values(table), "train_accuracy": values(table)}
    return table.assign(density=0.8 ** table["round"], **accuracies)


def draw_tickets_against_density(network, data):
    kinds, measures = ("ticket", "random reinit"), tuple(figures.TICKET_MEASURES)
    return figures.tickets_against_density(tickets(), kinds, measures, "A title.")


def draw_ticket_curves(network, data):
    return figures.ticket_curves(tickets(), "A title.")


def draw_ticket_race(network, data):
    return figures.ticket_race(tickets(), density=0.5)


DRAWINGS = [value for name, value in dict(globals()).items() if name.startswith("draw_")]


@pytest.mark.parametrize("draw", DRAWINGS, ids=lambda draw: draw.__name__)
def test_draws_a_picture_with_a_caption(draw, network, data):
    picture = draw(network, data)
    assert picture.png.startswith(PNG)
    assert len(picture.caption) > 40
    assert not plt.get_fignums()


def test_zoo_names_what_fails_and_what_gains_most(network, data):
    caption = draw_zoo(network, data).caption
    assert "torch-pruning fails on b." in caption
    assert "prunelab fails" not in caption
    assert re.search(r"[5-9]\d% \([ab]\) to [5-9]\d% \([ab]\) of the time", caption)


def test_interval_of_a_line_of_one_point_is_a_bar():
    table = pd.DataFrame({"kind": "a", "steps": 0, "seed": range(3), "y": [0.1, 0.2, 0.3]})
    (ax,) = figures.intervals_against(table, "steps", "y", "kind").figure.axes
    bars = [
        segment[:, 1].tolist()
        for collection in ax.collections
        if isinstance(collection, LineCollection)
        for segment in collection.get_segments()
    ]
    half_width = 4.302653 * 0.1 / 3**0.5
    assert bars == [pytest.approx([0.2 - half_width, 0.2 + half_width])]


def test_every_public_figure_is_tested():
    public = {
        name
        for name, value in vars(figures).items()
        if getattr(value, "__annotations__", {}).get("return") is figures.Picture
    }
    assert public == {draw.__name__.removeprefix("draw_") for draw in DRAWINGS}


def test_themes_differ(network, data):
    pictures = []
    for theme in style.THEMES:
        with figures.use_theme(theme):
            pictures.append(draw_bytes_by_format(network, data).png)
    assert pictures[0] != pictures[1]


def test_caption_is_the_alternative_text(network, data):
    picture = draw_bytes_by_format(network, data)
    bundle, metadata = picture._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == bundle["text/plain"] == picture.caption


def test_caption_is_escaped_in_html(network, data):
    picture = draw_bytes_by_format(network, data)
    picture.caption = 'a "quoted" <caption>'
    assert 'alt="a &quot;quoted&quot; &lt;caption&gt;"' in picture.to_html()


def test_all_recorded_figures_are_drawn_in_both_themes(tmp_path):
    drawn = {path.name for path in recorded.draw_recorded(tmp_path)}
    assert drawn == {path.name for path in tmp_path.iterdir()}
    lights = {name for name in drawn if name.endswith(".png") and "-dark" not in name}
    assert {name.replace(".png", "-dark.png") for name in lights} <= drawn
    assert {name.replace(".png", ".pdf") for name in lights} <= drawn


def test_figures_of_another_folder_are_drawn_from_it(tmp_path):
    tickets().to_csv(tmp_path / "lottery_tickets.csv", index=False)
    drawn = {path.name for path in recorded.draw_recorded(tmp_path / "figures", tmp_path)}
    names = ("1", "3", "4_iterative", "4_one-shot")
    endings = (".png", "-dark.png", ".pdf")
    assert drawn == {f"lottery_figure_{name}{ending}" for name in names for ending in endings}


def test_caption_gives_the_mean_of_the_sparsest_tickets(network, data):
    table = tickets()
    table = table[table["kind"] == "ticket"]
    at = (table["moment"] == "end") & (table["round"] == 7)
    table.loc[at, "test_accuracy"] = [0.5, 0.6, 0.7] * 2
    caption = figures.tickets_against_density(table, ("ticket",), ("last_accuracy",)).caption
    assert "with 21.0% kept: ticket 0.6." in caption


def test_a_race_is_run_at_the_nearest_density_that_has_curves():
    table = tickets()
    stops = (table["moment"] == "early stop") & (table["round"] == 3)
    table.loc[stops & (table["kind"] == "ticket"), "iteration"] = [200] * 6
    caption = figures.ticket_race(table, density=0.45).caption
    assert caption.startswith("51.2% of the weights kept.")
    assert "ticket after 200 iterations" in caption
    assert "dense after 50 iterations" in caption


def test_a_race_of_the_dense_network_is_one_line(network, data):
    caption = figures.ticket_race(tickets(), density=1.0).caption
    assert caption.count("iterations with") == caption.count("dense after") == 1


def test_colors_stay_apart_in_gray():
    red, green, blue = 0.2126, 0.7152, 0.0722
    rgb = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in style.COLORS]
    gray = [red * r + green * g + blue * b for r, g, b in rgb]
    assert len({round(value) for value in gray}) == len(gray)
    assert len(set(style.MARKERS)) == len(style.COLORS)
