"""`show` tells the truth about a function, and a slider redraws its figure."""

import inspect

import ipywidgets as widgets
import pytest
from ipywidgets.widgets.widget import _instances

from prunelab import teaching
from prunelab.figures import Picture
from prunelab.pruning import apply_global_pruning, lowest
from prunelab.teaching import equations, show, slider
from prunelab.training import evaluate


class FakePicture:
    def __init__(self, value):
        self.value = value

    def to_html(self) -> str:
        return f"drawn at {self.value}"

    def _repr_mimebundle_(self) -> dict[str, str]:
        return {"text/html": self.to_html(), "text/plain": "caption"}


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr(teaching, "display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_show_has_the_description_the_equation_the_source_and_the_file():
    text = show(lowest).data
    assert "Mark the `count` lowest scores" in text
    assert r"\tag{1.2}" in text
    assert "threshold = scores.kthvalue(count).values" in text


@pytest.mark.parametrize(
    ("folder", "function", "link"),
    [
        ("notebooks", lowest, "[prunelab/pruning.py](../prunelab/pruning.py)"),
        ("notebooks", evaluate, "[prunelab/training.py](../prunelab/training.py)"),  # decorated
        ("notebooks/exercises", lowest, "[prunelab/pruning.py](../../prunelab/pruning.py)"),
        ("..", lowest, "`prunelab/pruning.py`"),  # outside of what JupyterLab can open
    ],
)
def test_show_links_to_the_file(monkeypatch, folder, function, link):
    monkeypatch.chdir(teaching.ROOT / folder)
    assert f"in {link}\n" in show(function).data


def test_show_leaves_arguments_and_docstring_out_of_the_source():
    text = show(apply_global_pruning).data
    assert '"""' not in text
    assert "Args:" not in text


def test_shown_source_runs_as_it_is():
    code = show(lowest).data.split("```python\n")[1].split("\n```")[0]
    scope = dict(vars(inspect.getmodule(lowest)))
    exec(code, scope)
    assert scope["lowest"] is not lowest


def test_show_refuses_what_is_not_the_projects():
    with pytest.raises(ValueError, match="prunelab"):
        show(print)


def test_equations_lists_the_numbers_of_a_docstring():
    assert equations(lowest) == ["1.2"]
    assert equations(show) == []


def test_slider_redraws_when_its_knob_is_turned(displayed):
    knob = widgets.FloatSlider(0.5)
    slider(lambda sparsity: FakePicture(sparsity), sparsity=knob)
    assert displayed[0]["text/html"] == "drawn at 0.5"
    assert displayed[0]["text/plain"] == "caption"
    view = displayed[0]["application/vnd.jupyter.widget-view+json"]
    picture = _instances[view["model_id"]].children[-1]
    assert picture.value == "drawn at 0.5"
    knob.value = 0.75
    assert picture.value == "drawn at 0.75"


def test_slider_names_knobs_that_do_not_fit():
    with pytest.raises(ValueError, match="sparsity"):
        slider(lambda sparsity: Picture, density=widgets.FloatSlider())


def test_a_bar_shows_every_step_leaves_nothing_and_can_be_hidden(monkeypatch, capsys):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    assert list(teaching.progress(range(3))) == [0, 1, 2]
    drawn = capsys.readouterr().err
    assert "0/3" in drawn
    assert not drawn.rpartition("\r")[0].rpartition("\r")[2].strip()
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert list(teaching.progress(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""
