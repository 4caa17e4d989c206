"""The open project keeps a plan: what is committed, what is measured under it, what is said."""

import json
from datetime import UTC, datetime, timedelta
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from prunelab.data import ROOT

spec = spec_from_file_location("project", ROOT / "course" / "source" / "project" / "project.py")
project = module_from_spec(spec)
spec.loader.exec_module(project)

PLAN = {
    "question": "Is the first arm ahead of the second one?",
    "compared": ("a", "b"),
    "controls": ("c",),
    "unit": "points",
    "better": "higher",
    "scale": "difference",
    "side": "above",
    "bound": 0.0,
    "matters": 3,
    "seeds": [0, 1, 2, 3, 4],
    "more_seeds": [5, 6, 7, 8, 9],
    "tuning_seeds": [10, 11],
    "rates": {"a": [1, 2, 3], "b": [1, 2, 3]},
    "budget": {"a": 10, "b": 10, "c": 10},
    "why_unequal": "",
    "prediction": 2,
    "minutes": 1,
}


class Measured:
    """Measures nothing: a value by arm, which differs a little by seed, best at rate 2."""

    def __init__(self, **values: float):
        self.values, self.calls = {"b": 10.0, "c": 5.0} | values, []

    def __call__(self, arm, seed, rate, split):
        self.calls.append((arm, seed, rate, split))
        return self.values[arm] + (0.1 * (seed % 3) if arm == "a" else 0) - abs((rate or 2) - 2)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"controls": ()}, "'controls' is empty"),
        ({"compared": ("a", "c")}, "a name stands twice"),
        ({"compared": ("a",)}, "'compared' must hold two names"),
        ({"question": "Is it?"}, "one sentence with a question mark"),
        ({"seeds": [0, 1, 2, 3, 3]}, "'seeds' must hold five numbers"),
        ({"more_seeds": [4, 5, 6, 7, 8]}, "some seeds stand twice"),
        ({"tuning_seeds": [10]}, "'tuning_seeds' must hold two"),
        ({"rates": {"a": [1, 2]}}, "'rates' of 'a' must hold three"),
        ({"rates": {"d": [1, 2, 3]}}, "'rates' has 'd'"),
        ({"budget": {"a": 10, "b": 10}}, "'budget' must have the names"),
        ({"budget": {"a": 20, "b": 10, "c": 10}}, "'why_unequal' must say why"),
        ({"scale": "ratio", "matters": 1}, "'matters' must be above 1"),
        ({"matters": 0}, "'matters' must be above 0"),
        ({"scale": "factor"}, "'scale' must be one of"),
        ({"unit": "…"}, "still has a '…'"),
        ({"bound": "0"}, "'bound' must be a number"),
        ({"hope": 1}, "or too many: \\['hope'\\]"),
    ],
)
def test_a_plan_that_lacks_something_is_refused_and_not_written(change, words):
    with pytest.raises(ValueError, match=words):
        project.preregister(PLAN | change)
    assert not project.PLAN.exists()


def test_what_is_measured_is_not_measured_again_and_belongs_to_the_plan():
    with pytest.raises(ValueError, match=r"there is no plan\.json"):
        project.measure_all(PLAN, Measured(a=20))
    project.preregister(PLAN)
    first, again = Measured(a=20), Measured(a=20)
    rows = project.measure_all(PLAN, first)
    choices = [call for call in first.calls if call[3] == "valid"]
    assert len(choices) == 2 * 3 * 2
    assert {call[1] for call in choices} == {10, 11}
    assert len(first.calls) - len(choices) == 3 * 5
    assert {call[2] for call in first.calls if call[3] == "test"} == {2, None}
    assert project.measure_all(PLAN, again).equals(rows)
    assert again.calls == []
    effect = project.effect_of(PLAN, rows, PLAN["seeds"])
    project.check_results(PLAN, effect, "holds")
    with pytest.raises(ValueError, match="does not follow from your interval"):
        project.check_results(PLAN, effect, "cannot be told")
    with pytest.raises(ValueError, match="is not that of your measurements"):
        project.check_results(PLAN, (effect[0], effect[0] - 1, effect[0] + 1), "holds")
    with pytest.raises(ValueError, match="it has changed since"):
        project.check_results(PLAN | {"matters": 1}, effect, "holds")
    with pytest.raises(ValueError, match=r"these differ: \['matters'\]"):
        project.preregister(PLAN | {"matters": 1})


@pytest.mark.parametrize(
    ("a", "said"), [(20, "holds"), (12, "no difference that matters"), (-20, "does not hold")]
)
def test_an_effect_in_points_is_held_against_what_matters_in_points(a, said):
    project.preregister(PLAN)
    rows = project.measure_all(PLAN, Measured(a=a))
    assert project.said_of(PLAN, project.effect_of(PLAN, rows, PLAN["seeds"])) == said


def test_a_ratio_is_held_against_a_factor():
    plan = PLAN | {"scale": "ratio", "bound": 1.0, "matters": 1.1}
    project.preregister(plan)
    rows = project.measure_all(plan, Measured(a=10.2))
    effect = project.effect_of(plan, rows, plan["seeds"])
    assert 1 < effect[0] < 1.1
    project.check_results(plan, effect, "no difference that matters")


def test_where_five_cannot_tell_ten_are_measured():
    plan = PLAN | {"matters": 0.05, "rates": {}, "tuning_seeds": ()}
    project.preregister(plan)
    measured = Measured(a=9.9)
    rows = project.measure_all(plan, measured)
    assert sorted({call[1] for call in measured.calls}) == list(range(10))
    effect = project.effect_of(plan, rows, range(10))
    project.check_results(plan, effect, "cannot be told")
    kept = json.loads(project.RESULTS.read_text())
    kept["rows"] = [row for row in kept["rows"] if row["seed"] != 9]
    project.RESULTS.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="3 measurements of the plan are not there"):
        project.check_results(plan, effect, "cannot be told")


def test_what_is_older_than_the_plan_or_of_another_one_does_not_count():
    project.preregister(PLAN)
    project.measure_all(PLAN, Measured(a=20))
    kept = json.loads(project.RESULTS.read_text())
    kept["rows"][0]["time"] = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    project.RESULTS.write_text(json.dumps(kept))
    with pytest.raises(ValueError, match="1 measurements are older"):
        project.committed_rows(PLAN)
    project.RESULTS.write_text(json.dumps(kept | {"plan": "another"}))
    with pytest.raises(ValueError, match="under another plan"):
        project.committed_rows(PLAN)


def test_the_quickest_measurement_is_made_once_more(capsys):
    project.preregister(PLAN)
    measured = Measured(a=20)
    project.measure_all(PLAN, measured)
    before = len(measured.calls)
    project.once_more(PLAN, measured)
    assert len(measured.calls) == before + 1
    assert "measured again" in capsys.readouterr().out
    project.once_more(PLAN, measured, limit=-1)
    assert "is not made again" in capsys.readouterr().out
