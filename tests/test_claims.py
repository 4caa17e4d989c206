"""Every row of the tables of claims, measured again from the recorded tables by other code."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from scipy import stats

from prunelab.lab.claims import (
    SAID,
    claims,
    colored,
    counted,
    counts,
    p_value,
    ticket_claims,
    verdict,
    verdicts,
)
from prunelab.lab.effects import trained_longer
from prunelab.lab.readme import (
    KOREAN_README,
    README,
    findings,
    summaries,
    table_of_claims,
    with_claims,
    with_korean_claims,
)

NUMBERS = ("mean", "low", "high")
DATA = Path(__file__).parents[1] / "data"


@cache
def table_of(study: str) -> pd.DataFrame:
    return pd.read_csv(DATA / "results" / f"{study}.csv")


def read(study: str, **where) -> pd.DataFrame:
    rows = table_of(study)
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def settings(rows: pd.DataFrame, *columns: str) -> Iterator[tuple[str, pd.DataFrame]]:
    for values, of_values in rows.groupby([*columns]):
        yield ", ".join(map(str, values)), of_values


def seeds(rows: pd.DataFrame, value: str = "test_accuracy", **where) -> pd.Series:
    """`value` of each of five seeds, or ten."""
    for column, wanted in where.items():
        rows = rows[rows[column] == wanted]
    assert sorted(rows["seed"]) in ([*range(5)], [*range(10)])
    return rows.set_index("seed")[value]


def interval(values: pd.Series) -> tuple[float, float, float]:
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return values.mean(), low, high


def points(a: pd.Series, b: pd.Series) -> tuple[float, float, float]:
    return interval(100 * (a - b))


def ratio(a: pd.Series, b: pd.Series) -> tuple[float, float, float]:
    return tuple(np.exp(interval(np.log(a) - np.log(b))))


def best(rows: pd.DataFrame, setting: str, value: str = "valid_accuracy", sign: int = 1):
    """The rows at the best mean over seeds, by validation."""
    means = {which: sign * of.mean() for which, of in rows.groupby(setting)[value]}
    return rows[rows[setting] == max(means, key=means.get)]


WHICH = ("network", "sparsity", "steps", "schedule", "budgets", "ratio", "pruned", "method", "rate")


def with_more(study: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one setting, and those that were measured on more networks."""
    setting = rows[[name for name in WHICH if name in rows]].drop_duplicates()
    assert len(setting) == 1
    more = table_of("undecided").query("study == @study")
    return pd.concat([rows, more.merge(setting)[rows.columns]])


WORDS = {
    "01": ("30 % of the weights cost next to nothing", "points lost", "below 1"),
    "02": ("a teacher makes recovery twice as fast", "time without / with", "above 2"),
    "03": ("rewinding recovers best", "points over LR rewinding", "above 0"),
    "03 barrier": ("rewinding is the most stable", "barrier over LR rewinding, points", "below 0"),
    "04": ("a tenth of the rate is right", "points lost to the best rate", "below 0.2"),
    "05": ("a cut network is faster at once", "time before / after", "above 1"),
    "06": ("permanent zeros outlast training", "sparsity after one step, %", "above 80"),
    "08": ("five steps beat one", "points over one-shot, equal cost", "above 0"),
    "09": ("recalibrate after pruning", "points gained, untrained", "above 0"),
    "09 late": ("recalibrate after pruning", "points gained, fine-tuned", "above 0.2"),
    "10": ("an L1 penalty is better", "points over L2, not retrained", "above 0"),
    "10 early": ("an L1 penalty is better", "points over L2, 1 epoch retrained", "above 0"),
    "10 late": ("an L1 penalty is better", "points over L2, 5 epochs retrained", "above 0"),
    "12 drop": ("filters cost more than weights", "points more, not retrained", "above 0"),
    "12 speed": ("filters make it faster at once", "time dense / cut", "above 1"),
    "13 weights": ("90 % sparsity is recoverable", "points lost", "below 1"),
    "13 tuning": ("half the filters need careful tuning", "points over the last rate", "above 1"),
    "13 rewind": ("weights want rewinding", "points over a cosine", "above 0"),
    "13 rewind rate": ("weights want rewinding", "points over LR rewinding", "above 0"),
    "13 own rate": ("weights want rewinding", "points over a cosine, own rate", "above 0"),
    "13 teacher": ("filters want a teacher", "points over a cosine", "above 0"),
    "13 gradual": ("pruning bit by bit costs less", "points over a cosine", "above 0"),
}


def guide() -> Iterator[tuple]:
    """Of each row: which claim, the setting, and mean, low and high."""
    for place, rows in settings(read("one_shot", criterion="l1", scope="global"), "network"):
        yield "01", place, points(*(seeds(rows, "accuracy", sparsity=s) for s in (0, 0.3)))

    for _, rows in settings(read("recovery_speed"), "network", "pruned", "amount"):
        losses = ("labels", "distillation")
        two = [best(rows[rows["loss"] == loss], "rate", "steps", -1) for loss in losses]
        if all(runs["reached"].all() for runs in two):
            place = "{network}, {amount}".format(**rows.iloc[0])
            yield "02", place, ratio(*(seeds(runs, "seconds") for runs in two))

    pruned = read("rewinding").query("density < 1")
    pruned = pruned.assign(sparsity=(1 - pruned["density"]).round(2))
    for place, rows in settings(pruned, "network", "sparsity"):
        yield "03", place, points(*(seeds(rows, method=m) for m in ("rewind to start", LR)))
    for place, rows in settings(pruned[pruned["barrier"].notna()], "network", "sparsity"):
        two = [seeds(rows, "barrier", method=m) for m in ("rewind to start", LR)]
        yield "03 barrier", place, points(*two)

    cosine = read("learning_rates", schedule="cosine")
    for place, rows in settings(cosine, "network", "sparsity", "steps"):
        two = (best(rows, "rate"), rows[rows["rate"] == 0.1])
        yield "04", place, points(*(seeds(with_more("learning_rates", runs)) for runs in two))

    zoo = read("zoo", tool="prunelab")
    logs = np.log(zoo["latency_before"]) - np.log(zoo["latency_after"])
    times = tuple(np.exp(interval(logs.groupby(zoo["model"]).mean())))
    yield "05", "22 networks of torchvision", times

    early = read("permanence", order="permanent, then fine-tune", steps=1)
    for place, rows in settings(early, "network"):
        yield "06", place, interval(100 * seeds(rows, "sparsity"))

    for place, rows in settings(read("gradual", budgets=1), "network", "sparsity"):
        two = (best(rows[rows["method"] == way], "rate") for way in ("five steps", "one-shot"))
        yield "08", place, points(*(seeds(with_more("gradual", runs)) for runs in two))

    for key, steps in {"09": 0, "09 late": 860}.items():
        trained = read("bn_recalibration", steps=steps)
        for place, rows in settings(trained, "network", "pruned", "amount"):
            two = ("recalibrated now", "stale at the start")
            yield key, place, points(*(seeds(rows, "accuracy", statistics=s) for s in two))

    penalties = read("regularization").query("sparsity > 0")
    before, tuning = (
        penalties[(penalties["steps"] == 0) & (penalties["role"] == role)]
        for role in ("comparison", "choice")
    )
    for place, rows in settings(before, *CELL):
        there = tuning[tuning["sparsity"] == rows["sparsity"].iloc[0]]
        strength = {p: best(t, "strength")["strength"].iloc[0] for p, t in there.groupby("penalty")}
        two = (seeds(rows, penalty=p, strength=strength[p]) for p in ("l1", "l2"))
        yield "10", place, points(*two)
    for key, steps in {"10 early": 430, "10 late": 2150}.items():
        after = penalties[(penalties["role"] == "comparison") & (penalties["steps"] == steps)]
        for place, rows in settings(after, *CELL):
            two = (seeds(rows, penalty=p, retraining=p) for p in ("l1", "l2"))
            yield key, place, points(*two)

    yield from guide_on_structure()


LR, CELL = "LR rewinding", ("network", "sparsity")


def guide_on_structure() -> Iterator[tuple]:
    for place, rows in settings(read("structured"), "network", "ratio"):
        before = rows[rows["method"] == "before"]
        two = (before[before["pruned"] == p] for p in ("weights, equal parameters", "filters"))
        yield "12 drop", place, points(*(seeds(with_more("structured", runs)) for runs in two))

    for place, rows in settings(read("structured_cost"), "network", "ratio", "batch"):
        dense, cut = (seeds(rows, "median", variant=which) for which in ("dense", "filters"))
        yield "12 speed", place, ratio(dense, cut)

    yield from guide_on_recovery()


TWO_WAYS = {
    "13 tuning": ("filters", "cosine", "last rate"),
    "13 rewind": ("weights", "rewinding to early", "cosine"),
    "13 rewind rate": ("weights", "rewinding to early", LR),
    "13 teacher": ("filters", "distillation", "cosine"),
    "13 gradual": ("weights", "gradual", "cosine"),
}


def guide_on_recovery() -> Iterator[tuple]:
    files = sorted((DATA / "results").glob("recovery_*net*.csv"))
    five = pd.concat([read(file.stem, role="comparison") for file in files])
    study = pd.concat([five, read("undecided")])
    for key, (kind, way, over) in TWO_WAYS.items():
        pruned = study[study["pruned"].str.split(",").str[0] == kind]
        for place, rows in settings(pruned, "network", "pruned", "density", "budget"):
            if key == "13 tuning" and "0.5" not in place.split(", "):
                continue
            if {way, over} <= set(rows["method"]):
                trained = [set(rows[rows["method"] == m]["seed"]) for m in (way, over)]
                of_both = rows[rows["seed"].isin(set.intersection(*trained))]
                yield key, place, points(*(seeds(of_both, method=m) for m in (way, over)))

    early = read("recovery_rates", role="comparison", method="rewinding to early")
    for place, rows in settings(
        early.query("pruned == 'weights'"), "network", "pruned", "density", "budget"
    ):
        cell = five.merge(rows[["network", "pruned", "density", "budget"]].drop_duplicates())
        yield "13 own rate", place, points(seeds(rows), seeds(cell, method="cosine"))

    whole = study.query("budget == 1 and density == 1")
    for network, dense in settings(whole, "network"):
        as_long = seeds(best(dense, "method"))
        rows = study[study["pruned"].str.startswith("weights") & (study["network"] == network)]
        rows = rows.query("budget == 1 and density <= 0.1 and method == 'cosine'")
        for place, cell in settings(rows, "network", "pruned", "density"):
            both = cell[cell["seed"].isin(as_long.index)]
            yield (
                "13 weights",
                place,
                points(as_long[as_long.index.isin(both["seed"])], seeds(both)),
            )


WITHIN = {  # so near the bound, nobody would choose by it
    "above 0": (-0.2, 0.2),
    "below 0": (-0.2, 0.2),
    "above 1": (1 / 1.1, 1.1),
    "below 1": (1 / 1.1, 1.1),
    "above 2": (2 / 1.1, 2 * 1.1),
}
BOUND_MATTERS = {WORDS[key] for key in ("01", "13 weights", "13 tuning")}


def said_by(low: float, high: float, claimed: str, within=None) -> str:
    side, bound = claimed.split()
    if within is not None and within[0] <= low and high <= within[1]:
        return "no difference that matters"
    if low > float(bound):
        return "holds" if side == "above" else "does not hold"
    if high < float(bound):
        return "holds" if side == "below" else "does not hold"
    return "cannot be told"


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return claims()


def test_every_claim_of_the_guide_is_what_the_studies_say(table):
    keys = ["claim", "quantity", "claimed", "setting"]
    oracle = {(*WORDS[key], place): numbers for key, place, numbers in guide()}
    measured = table.set_index(keys)
    assert len(measured) == len(oracle) == 98
    assert set(measured.index) == set(oracle)
    for key, (mean, low, high) in oracle.items():
        row = measured.loc[key]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx((mean, low, high)), key
        within = None if key[:3] in BOUND_MATTERS else WITHIN.get(key[2])
        assert row["verdict"] == said_by(low, high, key[2], within), key


def test_verdicts_are_those_that_notebooks_give_in_words(table):
    said = table.groupby("notebook")["verdict"].agg(lambda all_: "".join(one[0] for one in all_))
    assert said.to_dict() == {  # by setting: holds, does not hold, no difference, cannot be told
        "01": "hd",
        "02": "ddcdc",
        "03": "ddddddnn",
        "04": "hddddd",
        "05": "h",
        "06": "dd",
        "08": "dddc",
        "09": "hhhhdddd",
        "10": "nhhhhcddcnnnnhc",
        "12": "hchhhhhhhhhh",
        "13": "chddddhdhhdddddddddddhdnnnncchdhddh",
    }


def test_the_readme_has_todays_verdicts_and_nothing_else_of_it_is_written(table):
    text = README.read_text(encoding="utf-8")
    assert with_claims(text) == text, "make notebooks writes the table"
    assert with_claims(text.replace("| holds (1 of 2), cannot", "| never, cannot")) == text
    assert with_claims(text.replace("Is a teacher worth having?", "Is it?")) == text
    assert "| **does not hold** | points over LR rewinding: -1.20" in text
    rows = [line for line in table_of_claims(table).splitlines() if line.endswith("| 02 |")]
    assert rows == [
        "| a teacher makes recovery twice as fast | does not hold (3 of 5), cannot be told "
        "(2 of 5) | time without / with: 0.69 to 1.66 (above 2 is claimed) | 02 |"
    ]
    with pytest.raises(ValueError, match="the readme has no lines"):
        with_claims("# Nothing")


def test_the_korean_readme_has_todays_verdicts(table):
    text = KOREAN_README.read_text(encoding="utf-8")
    assert with_korean_claims(text) == text, "make notebooks writes the table"
    rows = [line for line in text.splitlines() if line.endswith("| 02 |")]
    assert rows == [
        "| 교사 모델이 있으면 회복이 두 배 빨라진다 | 맞지 않는다 (5개 중 3개), 알 수 없다 "
        "(5개 중 2개) | 걸린 시간, 교사 없이 / 교사와 함께: 0.69 ~ 1.66 (주장: 2 초과) | 02 |"
    ]
    assert text.count(" |\n", text.index("<!-- claims")) == len(list(summaries(table))) + 1


def test_the_findings_are_the_least_and_the_greatest_effect(monkeypatch):
    study = pd.concat(
        pd.DataFrame(
            {"network": network, "pruned": "weights", "density": 0.05, "budget": 1.0}
            | {"method": method, "role": "comparison", "seed": range(5)}
            | {"test_accuracy": 0.8 + (lead + 0.1 * np.arange(5) * (lead > 0)) / 100}
        )
        for network, gain in (("a", 1.0), ("b", 3.0), ("c", 2.0))
        for method, lead in {"cosine": gain, "last rate": 0.0}.items()
    )
    dense = study.assign(pruned="nothing", test_accuracy=study["test_accuracy"] ** 2)
    monkeypatch.setattr("prunelab.lab.readme.QUESTIONS", {"Why?": ("cosine", "last rate")})
    assert findings(pd.concat([study, dense])) == (
        "* **Why?** *Cosine* minus *last rate*, with the same budget of steps, in 3 settings: from "
        "+1.20 [+1.00, +1.40] points (a, weights, 5% kept, 100% of the steps) to "
        "+3.20 [+3.00, +3.40] points (b, weights, 5% kept, 100% of the steps). "
        "That the first gains: holds in 3."
    )


def test_a_color_stands_behind_each_verdict_and_the_word_stays(table):
    page = colored(table[["claim", "verdict"]]).page
    cells = re.findall(r'<td id="(T_\w+_row\d+_col1)"[^>]*>([^<]*)</td>', page)
    assert [words for _, words in cells] == table["verdict"].to_list()
    rules = dict.fromkeys(cell for cell, _ in cells)
    for selectors, color in re.findall(r"([^{}]+)\{\s*background-color: ([^;}]+);", page):
        rules |= dict.fromkeys(re.findall(r"#(T_\w+)", selectors), color.strip())
    assert [rules[cell] for cell, _ in cells] == [SAID[words] for _, words in cells]
    assert set(table["verdict"]) == set(SAID)
    other = colored(table[["claim", "verdict"]].iloc[1:]).page
    assert not {cell for cell, _ in cells} & set(re.findall(r'id="(\w+)"', other))


def test_a_colored_table_has_its_words_in_plain_text():
    answers = verdicts("09")
    bundle, _ = DisplayFormatter().format(colored(answers))
    assert bundle == {"text/html": colored(answers).page, "text/plain": answers.to_string()}


def test_a_notebook_has_its_own_claims_and_writes_them(table):
    assert claims("09").equals(table[table["notebook"] == "09"].reset_index(drop=True))
    row = verdicts("05").loc["a cut network is faster at once"].iloc[0]
    assert (row["effect"], row["verdict"]) == ("2.38 [2.14, 2.65]", "holds")
    with pytest.raises(ValueError, match="notebook='07' has no claims; choose one of"):
        claims("07")


@pytest.mark.parametrize(
    ("low", "high", "side", "expected"),
    [
        (2.1, 3.0, "above", "holds"),
        (1.0, 1.9, "above", "does not hold"),
        (1.5, 2.5, "above", "cannot be told"),
        (2.0, 2.5, "above", "cannot be told"),
        (1.0, 2.0, "below", "cannot be told"),
        (1.0, 1.9, "below", "holds"),
        (2.1, 3.0, "below", "does not hold"),
        (float("nan"), float("nan"), "below", "cannot be told"),
        (2.5, 2.5, "above", "cannot be told"),
    ],
)
def test_verdict_follows_from_interval_and_bound(low, high, side, expected):
    assert verdict(low, high, side, 2.0) == expected


@pytest.mark.parametrize(
    ("low", "high", "matters", "expected"),
    [
        (1.8, 2.2, 0.2, "no difference that matters"),
        (2.1, 2.2, 0.2, "no difference that matters"),
        (1.79, 2.1, 0.2, "cannot be told"),
        (1.9, 2.21, 0.2, "cannot be told"),
        (2.1, 2.3, 0.2, "holds"),
        (1.7, 1.9, 0.2, "does not hold"),
        (1.0, 4.0, 2.0, "no difference that matters"),
        (0.99, 4.0, 2.0, "cannot be told"),
        (2.1, 4.1, 2.0, "holds"),
    ],
)
def test_a_difference_may_be_too_small_to_matter(low, high, matters, expected):
    assert verdict(low, high, "above", 2.0, matters) == expected


def test_how_many_verdicts_can_be_trusted_together(table):
    sample = pd.Series([0.3, 0.1, 0.4, 0.2, 0.35])
    as_it_is = SimpleNamespace(n=5, **dict(zip(NUMBERS, interval(sample), strict=True)))
    expected = stats.ttest_1samp(sample, 0.25).pvalue
    assert p_value(as_it_is, 0.25, False) == pytest.approx(expected)
    powers = np.exp(interval(np.log(sample)))
    ratios = SimpleNamespace(n=5, **dict(zip(NUMBERS, powers, strict=True)))
    expected = stats.ttest_1samp(np.log(sample), np.log(0.2)).pvalue
    assert p_value(ratios, 0.2, True) == pytest.approx(expected)
    four = pd.DataFrame({"p": [0.02, 0.012, 0.9, 0.018], "verdict": ["holds"] * 4})
    assert counted(four)["after Holm"] == 1  # 0.012 ≤ 0.05 / 4, but 0.018 > 0.05 / 3
    assert counted(table).to_list() == [98, 77, 4.9, 37]


def tickets() -> Iterator[tuple]:
    stops = read("lottery_tickets", moment="early stop", replicate=0)
    for claim in pd.read_csv(DATA / "published" / "frankle2019_lenet300.csv").itertuples():
        one = stops[(stops["kind"] == claim.kind) & (stops["round"] == claim.round)]
        other = stops[(stops["kind"] == claim.against) & (stops["round"] == claim.against_round)]
        side = "above" if claim.above else "below"
        if claim.quantity == "early stop":
            yield claim.claim, f"{side} 1", ratio(*(seeds(t, "iteration") for t in (other, one)))
        else:
            yield claim.claim, f"{side} 0", points(seeds(one), seeds(other))


def test_every_claim_of_tickets_is_what_the_trials_say():
    table = ticket_claims(read("lottery_tickets")).set_index("claim")
    words = {"holds": "yes", "does not hold": "no", "cannot be told": "cannot be told"}
    assert len(table) == 15
    for claim, claimed, numbers in tickets():
        row = table.loc[claim]
        assert (row["mean"], row["low"], row["high"]) == pytest.approx(numbers), claim
        assert row["agrees"] == words[said_by(*numbers[1:], claimed)], claim


def test_where_dense_is_far_ahead_only_what_is_said_to_be_below_agrees():
    study = read("lottery_tickets")
    lead = 100 * (study["round"] == 0)
    ahead = study.assign(
        test_accuracy=study["test_accuracy"] + lead, iteration=study["iteration"] / (1 + lead)
    )
    others = study.assign(replicate=1, test_accuracy=0.5)  # of which nothing is said
    table = ticket_claims(pd.concat([ahead, others]))
    table = table[table["claim"].str.endswith("dense")]
    below = table["claim"].str.contains("below")
    assert (below.sum(), (~below).sum()) == (2, 9)
    assert set(table["agrees"][below]) == {"yes"}
    assert set(table["agrees"][~below]) == {"no"}


def test_the_dense_network_is_compared_with_itself_before_it_was_trained_longer():
    longer = trained_longer(table_of("rewinding"), table_of("trajectories"))
    assert len(longer) == 4
    for row in longer.itertuples():
        network, way = row.setting.split(", ")
        at = best(read("trajectories", network=network, split="valid"), "learning_rate", "accuracy")
        rate = at["learning_rate"].iloc[0]
        before = read("trajectories", network=network, split="test", learning_rate=rate)
        after = read("rewinding", network=network, density=1, method=way)
        after = after[after["seed"].isin(before["seed"])]
        expected = points(seeds(after), seeds(before, "accuracy"))
        assert (row.mean, row.low, row.high) == pytest.approx(expected)


def test_counts_are_those_of_all_claims_in_columns_that_do_not_wrap():
    everything = claims()
    shown = counts(everything)
    headings, *rows = re.findall(r"<tr>(.*?)</tr>", shown.page, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(\d+)<", row) for row in rows[1:]]
    said = re.findall(r"col\d\" >(.*?)<", headings)
    assert said == [words.replace(" ", "\N{NO-BREAK SPACE}") for words in SAID]
    there = everything["verdict"].value_counts()[list(SAID)]
    assert [sum(map(int, column)) for column in zip(*cells, strict=True)] == list(there)
    (five,) = [row for row in rows if "08 · five steps beat one" in row]
    assert re.findall(r">(\d)<", five) == ["0", "3", "0", "1"]
