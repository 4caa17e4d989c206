"""The verdicts of notebook 11, recomputed from the recorded tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prunelab import figures
from prunelab.lab.results import RESULTS

ROUNDS = range(22)
WEIGHTS = {"fc1": 784 * 300, "fc2": 300 * 100, "fc3": 100 * 10}
RATES = {"fc1": 0.2, "fc2": 0.2, "fc3": 0.1}


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(RESULTS / "lottery_tickets.csv")


@pytest.fixture(scope="module")
def stops(runs) -> pd.DataFrame:
    return runs[runs["moment"] == "early stop"].set_index(["kind", "round", "seed"]).sort_index()


def interval(values: pd.Series) -> tuple[float, float]:
    assert len(values) == 5
    return stats.t.interval(0.95, 4, values.mean(), stats.sem(values))


def points(stops, kind: str, round_: int, against: str, against_round: int) -> pd.Series:
    accuracy = 100 * stops["test_accuracy"]
    return accuracy[kind, round_] - accuracy[against, against_round]


def times_as_early(stops, kind: str, round_: int, against: str, against_round: int) -> pd.Series:
    iteration = np.log(stops["iteration"])
    return iteration[against, against_round] - iteration[kind, round_]


def test_every_round_has_its_runs(stops):
    assert len(stops) == 410
    for kind in ("random reinit", "random mask"):
        assert {(r, s) for r in ROUNDS[1:] for s in range(5)} == set(stops.loc[kind].index)
    assert {(r, s) for r in ROUNDS for s in range(5)} == set(stops.loc["ticket"].index)


def test_densities_are_those_of_the_rates(stops):
    left = dict(WEIGHTS)
    for round_ in ROUNDS:
        density = sum(left.values()) / sum(WEIGHTS.values())
        assert stops.xs(round_, level="round")["density"].to_numpy() == pytest.approx(density)
        left = {name: n - round(RATES[name] * n) for name, n in left.items()}


def test_one_shot_and_iterative_pruning_agree_after_one_round(stops):
    columns = ["iteration", "test_accuracy"]
    assert stops.loc["one-shot ticket", 1][columns].equals(stops.loc["ticket", 1][columns])


@pytest.mark.parametrize("round_", range(3, 14))
def test_tickets_stop_sooner_than_the_dense_network(stops, round_):
    assert interval(times_as_early(stops, "ticket", round_, "ticket", 0))[0] > 0


@pytest.mark.parametrize("round_", range(5, 16))
def test_tickets_are_more_accurate_from_33_to_4_percent(stops, round_):
    assert interval(points(stops, "ticket", round_, "ticket", 0))[0] > 0


@pytest.mark.parametrize(
    ("kind", "first"), [("ticket", 20), ("random reinit", 14), ("random mask", 12)]
)
def test_where_each_kind_falls_behind(stops, kind, first):
    behind = [r for r in ROUNDS[1:] if interval(points(stops, kind, r, "ticket", 0))[1] < 0]
    assert behind == list(range(first, 22))


@pytest.mark.parametrize("round_", range(4, 22))
def test_tickets_stop_sooner_than_both_controls(stops, round_):
    for control in ("random reinit", "random mask"):
        assert interval(times_as_early(stops, "ticket", round_, control, round_))[0] > 0


def test_accuracy_over_reinit_cannot_be_told_at_21_percent_but_at_7(stops):
    low, high = interval(points(stops, "ticket", 7, "random reinit", 7))
    assert low < 0 < high
    assert interval(points(stops, "ticket", 12, "random reinit", 12))[0] > 0


@pytest.mark.parametrize("round_", [12, 15, 18, 21])
def test_pruning_in_rounds_beats_one_shot_at_low_density(stops, round_):
    assert interval(points(stops, "ticket", round_, "one-shot ticket", round_))[0] > 0


def test_sparse_controls_have_not_stopped_but_tickets_have(stops):
    mean = stops["iteration"].groupby(level=["kind", "round"]).mean()
    for control in ("random reinit", "random mask"):
        assert (mean[control].loc[16:] > 13_000).all()
    assert mean["ticket"].max() < 8_000


def test_figure_4_draws_the_recorded_means_and_ranges(runs, stops):
    picture = figures.tickets_against_density(runs, ("ticket", "random reinit"))
    panels = picture.figure.axes
    assert not plt.get_fignums()
    for ax, column in zip(panels, ("iteration", "test_accuracy"), strict=True):
        drawn = {line.get_label(): line.get_xydata() for line in ax.lines}
        for kind in ("ticket", "random reinit"):
            rows = stops.loc[[kind]] if kind == "ticket" else stops.loc[[kind, "ticket"]]
            rows = rows[(rows.index.get_level_values("kind") == kind) | (rows["density"] == 1)]
            mean = rows.groupby("density")[column].mean()
            assert drawn[kind] == pytest.approx(np.column_stack([mean.index, mean.to_numpy()]))


def test_figure_3_draws_the_recorded_curves(runs):
    picture = figures.ticket_curves(runs)
    curves = runs[(runs["moment"] == "curve") & (runs["kind"] == "ticket")]
    drawn = picture.figure.axes[0].lines
    for line, (_, rows) in zip(drawn, curves.groupby("round"), strict=False):
        mean = rows.groupby("iteration")["test_accuracy"].mean()
        assert line.get_ydata() == pytest.approx(mean.to_numpy())


def difference(study: str, query: str, column: str, a: str, b: str, value="test_accuracy"):
    rows = pd.read_csv(RESULTS / f"{study}.csv").query(query)
    wide = 100 * rows.pivot_table(index="seed", columns=column, values=value)
    return interval(wide[a] - wide[b])


TICKET_OF_CONVNET = "network == 'half_convnet' and kind == 'ticket'"


@pytest.mark.parametrize("k", [17, 43, 86, 172, 430])
def test_the_ticket_of_the_convnet_is_better_if_rewound_late(k):
    assert difference("instability", TICKET_OF_CONVNET, "k", k, 0)[0] > 0
    barrier = difference("instability", TICKET_OF_CONVNET, "k", k, 0, "barrier")
    assert barrier[0] < 0 < barrier[1]


def test_the_ticket_of_the_convnet_gains_a_point_at_once_and_nothing_after_5_percent():
    rows = pd.read_csv(RESULTS / "instability.csv").query(TICKET_OF_CONVNET)
    mean = 100 * rows.groupby("k")["test_accuracy"].mean()
    assert mean[17] - mean[0] > 1
    low, high = difference("instability", TICKET_OF_CONVNET, "k", 430, 86)
    assert low < 0 < high
    assert high < 0.15


def test_the_barrier_at_the_start_differs_between_networks():
    rows = pd.read_csv(RESULTS / "instability.csv").query(TICKET_OF_CONVNET)
    barriers = sorted(100 * rows.query("k == 0")["barrier"])
    assert barriers[0] == pytest.approx(0.1, abs=0.05)
    assert barriers[1] < 0.4 < 0.9 < barriers[2]
    assert barriers[-1] == pytest.approx(2.9, abs=0.05)


@pytest.mark.parametrize(("k", "more_stable"), [(17, 1), (43, 1), (172, 1), (430, 0)])
def test_the_ticket_of_the_convnet_is_more_stable_than_dense(k, more_stable):
    query = f"network == 'half_convnet' and k == {k}"
    low, _ = difference("instability", query, "kind", "dense", "ticket", "barrier")
    assert (low > 0) == bool(more_stable)


def test_the_ticket_of_the_convnet_stays_behind_the_dense_original():
    rows = pd.read_csv(RESULTS / "instability.csv").query(TICKET_OF_CONVNET)
    behind = (
        100 * (rows["original_test_accuracy"] - rows["test_accuracy"]).groupby(rows["k"]).mean()
    )
    assert behind[[86, 172, 430]].to_numpy() == pytest.approx(0.8, abs=0.05)


def test_late_weights_do_not_help_a_random_mask():
    query = "network == 'half_convnet' and kind == 'random mask'"
    low, high = difference("instability", query, "k", 172, 0)
    assert low < 0 < high < 0.2


def test_the_ticket_of_lenet_is_stable_from_the_start():
    rows = pd.read_csv(RESULTS / "instability.csv").query("network == 'lenet300'")
    assert interval(rows.query("kind == 'ticket'")["barrier"])[1] < 0.001


def test_controls_of_the_convnet_have_the_highest_barriers():
    rows = pd.read_csv(RESULTS / "instability.csv").query("network == 'half_convnet'")
    mean = rows.groupby(["kind", "k"])["barrier"].mean().sort_values()
    assert {kind for kind, _ in mean.index[-3:]} == {"random mask", "random reinit"}


def test_a_mask_alone_is_far_from_chance_but_not_a_random_one():
    rows = pd.read_csv(RESULTS / "supermasks.csv").query("experiment == 'masks'")
    mean = rows.groupby(["criterion", "values", "density"])["test_accuracy"].mean()
    assert mean.idxmax()[:2] == ("large final, same sign", "signed constant")
    assert mean.max() > 0.75
    assert mean["random"].max() < 0.15


@pytest.mark.parametrize(("kept", "signs", "magnitudes"), [(0.2, 1, 0), (0.07, 1, 0), (0.02, 0, 1)])
def test_what_signs_and_magnitudes_are_worth(kept, signs, magnitudes):
    query = f"experiment == 'signs' and {0.9 * kept} < density < {1.1 * kept}"
    both = "reinit, initial signs"
    worth = difference("supermasks", query, "values", both, "random reinit")
    assert (worth[0] > 0) == bool(signs)
    assert (difference("supermasks", query, "values", "initial", both)[0] > 0) == bool(magnitudes)


def test_zeros_cannot_be_told_at_21_percent_and_are_worst_at_2():
    for arm in ("initial", "initial if it grew"):
        low, high = difference(
            "supermasks", "experiment == 'zeros' and density > 0.1", "pruned", arm, "zero"
        )
        assert low < 0 < high
        sparse = "experiment == 'zeros' and density < 0.1"
        assert difference("supermasks", sparse, "pruned", arm, "zero")[0] > 0


def test_masks_are_learned_best_at_the_middle_rate():
    rows = pd.read_csv(RESULTS / "supermasks.csv").query("experiment == 'learned masks'")
    mean = rows.groupby(["values", "mask_learning_rate"])["valid_accuracy"].mean()
    assert {rate for _, rate in mean.groupby("values").idxmax()} == {0.1}
