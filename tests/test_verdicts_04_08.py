"""The verdicts of notebooks 04 and 08, recomputed from the recorded and the published tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

DATA = Path(__file__).parents[1] / "data"


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(DATA / "results" / f"{name}.csv")


def tuned(rows: pd.DataFrame) -> tuple[float, pd.Series]:
    """The rate of the best mean validation accuracy, and test accuracy (percent) by seed there."""
    rate = rows.groupby("rate")["valid_accuracy"].mean().idxmax()
    return rate, at(rows, rate)


def at(rows: pd.DataFrame, rate: float) -> pd.Series:
    return 100 * rows[rows["rate"] == rate].set_index("seed")["test_accuracy"].sort_index()


def interval(difference: pd.Series) -> tuple[float, float, float]:
    assert len(difference) == 5
    low, high = stats.t.interval(0.95, 4, difference.mean(), stats.sem(difference))
    return low, difference.mean(), high


LENET = [("lenet300", sparsity, steps) for sparsity in (0.8, 0.95) for steps in (430, 1290)]
CONVNET = [("half_convnet", 0.5, 215), ("half_convnet", 0.8, 215)]


def retrained(network: str, sparsity: float, steps: int, schedule: str) -> pd.DataFrame:
    rows = table("learning_rates")
    rows = rows[(rows["network"] == network) & (rows["sparsity"] == sparsity)]
    return rows[(rows["steps"] == steps) & (rows["schedule"] == schedule)]


def larger_rate_gains(setting: tuple, schedule: str) -> tuple[float, tuple]:
    rows = retrained(*setting, schedule)
    rate, best = tuned(rows)
    return rate, interval(best - at(rows, 0.1))


@pytest.mark.parametrize(
    ("setting", "schedule", "least"),
    [(setting, "cosine", 0.4) for setting in [*LENET, CONVNET[1]]]
    + [(setting, "constant", 0.15) for setting in LENET],
)
def test_ten_times_smaller_does_not_hold(setting, schedule, least):
    rate, (low, mean, _) = larger_rate_gains(setting, schedule)
    assert rate > 0.1
    assert low > 0
    assert mean > least


@pytest.mark.parametrize(
    ("setting", "schedule"), [(CONVNET[0], "cosine"), *((s, "constant") for s in CONVNET)]
)
def test_ten_times_smaller_holds(setting, schedule):
    _, (low, _, high) = larger_rate_gains(setting, schedule)
    assert low < 0 < high


def cosine_gains(setting: tuple, rate: float | None = None) -> tuple[float, float, float]:
    cosine, constant = (retrained(*setting, schedule) for schedule in ("cosine", "constant"))
    if rate is None:
        return interval(tuned(cosine)[1] - tuned(constant)[1])
    return interval(at(cosine, rate) - at(constant, rate))


@pytest.mark.parametrize("setting", [*CONVNET, *LENET[:2]])
def test_cosine_holds_at_its_own_rate(setting):
    low, mean, _ = cosine_gains(setting)
    assert low > 0
    assert mean < 1


@pytest.mark.parametrize("setting", LENET[2:])
def test_cosine_cannot_be_told_from_constant_at_95_percent(setting):
    low, _, high = cosine_gains(setting)
    assert low < 0 < high


@pytest.mark.parametrize("setting", LENET[2:])
def test_cosine_loses_at_a_tenth_of_the_rate(setting):
    _, mean, high = cosine_gains(setting, rate=0.1)
    assert high < 0
    assert mean < -0.5


def test_cosine_gains_at_a_tenth_where_little_is_broken():
    assert cosine_gains(CONVNET[0], rate=0.1)[0] > 0


@pytest.mark.parametrize("setting", LENET)
@pytest.mark.parametrize("schedule", ["one-cycle", "step"])
def test_other_falling_schedules_do_as_well_as_cosine(setting, schedule):
    other, cosine = (tuned(retrained(*setting, name))[1] for name in (schedule, "cosine"))
    assert abs((other - cosine).mean()) < 0.15


def renda() -> pd.DataFrame:
    rows = pd.read_csv(DATA / "published" / "renda2020.csv")
    return rows[rows["pruning"] == "Unstructured"]


def difference_of_means(a: pd.Series, b: pd.Series) -> tuple[float, float, float]:
    """Of two means of three runs each."""
    assert a["trials"] == b["trials"] == 3
    mean = a["accuracy_mean"] - b["accuracy_mean"]
    half = stats.t.ppf(0.975, 4) * np.hypot(a["accuracy_sd"], b["accuracy_sd"]) / np.sqrt(3)
    return mean - half, mean, mean + half


@pytest.mark.parametrize("end", ["min", "max"])
def test_published_rewinding_wins_on_long_budgets_only(end):
    rows = renda().query("not iterative and density == 0.1074")
    intervals = []
    for _, network in rows.groupby("network"):
        last = network[network["retrain_epochs"] == network["retrain_epochs"].agg(end)]
        last = last.set_index("method")
        pair = last.loc["learning-rate rewinding"], last.loc["fine-tune"]
        intervals.append(difference_of_means(*pair))
    assert len(intervals) == 4
    if end == "min":
        assert all(low < 0 < high for low, _, high in intervals)
    else:
        assert all(mean > 0.5 for _, mean, _ in intervals)
        assert sum(low > 0 for low, _, _ in intervals) == 3


LENET_SPARSITIES = (0.5, 0.9, 0.97)
PLACES = [("half_convnet", 0.8), *(("lenet300", sparsity) for sparsity in LENET_SPARSITIES)]


def pruned(place: tuple, method: str, budgets: int) -> pd.Series:
    rows = table("gradual")
    rows = rows[(rows["network"] == place[0]) & (rows["sparsity"] == place[1])]
    return tuned(rows[(rows["method"] == method) & (rows["budgets"] == budgets)])[1]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", ["five steps", "cubic"])
def test_gradual_is_no_better_on_one_budget(place, method):
    _, mean, high = interval(pruned(place, method, 1) - pruned(place, "one-shot", 1))
    assert mean < -0.1
    assert high < 0.01


def test_one_shot_beats_five_steps_to_one_half_on_one_budget():
    place = ("lenet300", 0.5)
    _, mean, high = interval(pruned(place, "five steps", 1) - pruned(place, "one-shot", 1))
    assert high < 0
    assert mean < -0.2


def test_five_steps_win_on_five_budgets_in_lenet300_and_more_so_when_sparser():
    means = []
    for sparsity in LENET_SPARSITIES:
        place = ("lenet300", sparsity)
        low, mean, _ = interval(pruned(place, "five steps", 5) - pruned(place, "one-shot", 5))
        assert low > 0
        means.append(mean)
    assert means == sorted(means)
    assert means[-1] > 0.8


def test_five_steps_do_not_win_on_five_budgets_in_half_convnet():
    place = PLACES[0]
    _, mean, high = interval(pruned(place, "five steps", 5) - pruned(place, "one-shot", 5))
    assert mean < 0
    assert high < 0.05


@pytest.mark.parametrize("place", PLACES)
def test_less_than_half_of_the_gain_is_owed_to_the_rounds(place):
    once = pruned(place, "one-shot", 1)
    low, gain, _ = interval(pruned(place, "five steps", 5) - once)
    training = (pruned(place, "one-shot", 5) - once).mean()
    assert low > 0
    assert training > gain / 2
    assert place[0] == "lenet300" or training > gain


def published_pair(network: str, density: float, epochs: tuple[float, float], method: str):
    rows = renda()
    rows = rows[(rows["network"] == network) & np.isclose(rows["density"], density)]
    rows = rows[rows["method"] == method]
    per_round = rows[rows["iterative"] & (rows["retrain_epochs"] == epochs[0])]
    once = rows[~rows["iterative"] & (rows["retrain_epochs"] == epochs[1])]
    return difference_of_means(per_round.squeeze(), once.squeeze())


NETWORKS = ("resnet20", "resnet56", "resnet110", "resnet50")


def test_published_equal_cost_at_one_half_cannot_be_told_apart():
    for network in NETWORKS:
        epochs = (27, 81) if network == "resnet50" else (50, 150)
        low, _, high = published_pair(network, 0.512, epochs, "fine-tune")
        assert low < 0 < high


def test_published_equal_cost_at_13_percent_is_worse_for_two_of_four():
    intervals = [
        published_pair(network, 0.1342, (9, 81) if network == "resnet50" else (10, 90), "fine-tune")
        for network in NETWORKS
    ]
    assert sum(high < 0 for _, _, high in intervals) == 2
    assert not any(low > 0 for low, _, _ in intervals)


def test_published_full_retraining_every_round_gains_with_large_rates():
    for network in NETWORKS:
        epochs = (90, 90) if network == "resnet50" else (182, 182)
        for density in (0.512, 0.1074):
            assert published_pair(network, density, epochs, "learning-rate rewinding")[1] > 0
    small = [
        published_pair(n, 0.1074, (90, 90) if n == "resnet50" else (182, 182), "fine-tune")[1]
        for n in NETWORKS
    ]
    assert sum(mean > 0 for mean in small) == 2
