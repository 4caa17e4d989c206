"""The explorer: its numbers are the notebooks', and in a browser every control does its work."""

import json
import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from prunelab.explorer import page as explorer
from prunelab.explorer.measured import Numbers, recorded
from prunelab.explorer.names import OWN, SIMPLE, WAYS, listed
from prunelab.figures.style import THEMES
from prunelab.intervals import mean_interval, written
from prunelab.lab import playbook
from prunelab.lab.claims import claims
from prunelab.lab.effects import lead
from prunelab.lab.playbook import CELL
from prunelab.lab.store import CannotKeep
from tests.chromium import PATIENCE, launched

ENDS = ["mean", "low", "high"]


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    return recorded()


@pytest.fixture(scope="module")
def facts(numbers) -> dict:
    return explorer.facts(numbers)


def close(shown: dict, row) -> bool:
    return [shown[end] for end in ENDS] == pytest.approx([row[end] for end in ENDS], abs=6e-5)


def each(table):
    """The rows of a table of ways, with the name of their cell."""
    for _, row in table.iterrows():
        yield explorer.key(tuple(row[CELL])), row["method"], row


def test_accuracies_are_those_of_the_recorded_tables(facts):
    table = playbook.comparisons(playbook.recovery())
    pruned = table[table["pruned"] != "nothing"]
    shares = mean_interval(pruned, [*CELL, "method"], "test_accuracy")
    shares[ENDS] *= 100
    shares = shares.assign(text=written(shares, "%", ".1f"))
    for key, way, row in each(shares):
        shown = facts["cells"][key]["ways"][way]
        assert close(shown, row), (key, way)
        assert shown["text"] == row["text"]
        assert shown["n"] == row["n"] == 5
    there = sum(len(set(cell["ways"]) & set(WAYS)) for cell in facts["cells"].values())
    assert there == len(shares)


def test_distances_from_the_best_way_are_those_of_notebook_13(facts):
    behind = playbook.behind_best(playbook.comparisons(playbook.recovery()))
    for key, way, row in each(behind):
        assert facts["cells"][key]["over"]["best"] == row["best"]
        shown = facts["cells"][key]["ways"][way]["against"].get("best")
        assert (shown is None) == (way == row["best"])
        assert shown is None or close(shown, row)


def test_distances_from_the_dense_network_are_those_of_notebook_13(facts):
    lost = playbook.against_dense(playbook.comparisons(playbook.recovery()))
    for key, way, row in each(lost):
        assert close(facts["cells"][key]["ways"][way]["against"]["dense"], row)


@pytest.mark.parametrize("way", ["distillation", "last rate", f"LR rewinding{OWN}"])
def test_distances_from_the_best_simple_way(numbers, facts, way):
    """It is a cosine wherever several were tried; own rates are named as in notebook 13."""
    own = numbers.rates[numbers.rates["role"] == "comparison"]
    study = pd.concat([numbers.study, own.assign(method=own["method"] + OWN)])
    pruned = study[study["pruned"] != "nothing"]
    for key, _, row in each(lead(pruned, way, "", "cosine").assign(method=way)):
        assert facts["cells"][key]["over"]["simple"] == "cosine"
        assert close(facts["cells"][key]["ways"][way]["against"]["simple"], row)


def test_the_simple_way_is_chosen_on_validation_images(numbers, facts):
    means = numbers.table[numbers.table["method"].isin(SIMPLE)]
    means = means.groupby([*CELL, "method"])["valid_accuracy"].mean().reset_index()
    best = means.loc[means.groupby(CELL)["valid_accuracy"].idxmax()]
    for key, way, row in each(best[best["pruned"] != "nothing"]):
        assert facts["cells"][key]["over"]["simple"] == way, row


def test_every_verdict_follows_from_its_interval(facts):
    for cell, way in ((c, w) for c in facts["cells"].values() for w in c["ways"].values()):
        for name, shown in way["against"].items():
            low, high = shown["low"], shown["high"]
            if not low < high:
                expected = "cannot be told"
            elif low >= -0.2 and high <= 0.2:
                expected = "no difference that matters"
            elif low <= 0 <= high:
                expected = "cannot be told"
            else:
                expected = "ahead" if low > 0 else "behind"
            assert shown["verdict"] == expected, (cell["over"][name], shown)
            assert shown["text"].endswith(" points")


def test_dense_networks_are_those_that_validation_prefers(facts, numbers):
    dense = numbers.table.query("pruned == 'nothing' and budget == 1 and network == 'lenet300'")
    best = dense[dense["method"] == "distillation"]["test_accuracy"]
    shown = facts["dense"]["lenet300"]
    assert shown["1"]["way"] == "distillation"
    assert shown["1"]["mean"] == pytest.approx(100 * best.mean(), abs=6e-5)
    before = dense[dense["method"] == "as pruned"]["test_accuracy"]
    assert shown["0"]["mean"] == pytest.approx(100 * before.mean(), abs=6e-5)


def test_every_combination_has_data_or_a_plain_sentence(facts):
    names = [[choice["name"] for choice in facts["choices"][name]] for name in CELL]
    offered = {"|".join(names) for names in product(*names)}
    assert offered == set(facts["cells"]) | set(facts["missing"])
    assert not set(facts["cells"]) & set(facts["missing"])
    for key, words in facts["missing"].items():
        network = key.partition("|")[0]
        assert words.startswith(f"Not recorded: {network}, ")
        assert "there is: " in words
    convnet = facts["missing"]["convnet|weights|0.2|1"]
    assert convnet.endswith("Of convnet with weights pruned there is: 5 % kept.")


def test_advice_is_that_of_the_decision_chart(facts, numbers):
    behind = playbook.behind_best(numbers.table)
    full = behind[playbook.tried_fully(behind)]
    decided = playbook.decisions(full, playbook.against_dense(numbers.table))
    tried = {explorer.key(tuple(cell)) for cell in full[CELL].drop_duplicates().to_numpy()}
    assert tried == {key for key, cell in facts["cells"].items() if cell["advice"]["advised"]}
    rows = {
        explorer.key(("", *row[CELL[1:]])).partition("|")[2]: row for _, row in decided.iterrows()
    }
    for key in tried:
        row, advice = rows[key.partition("|")[2]], facts["cells"][key]["advice"]
        assert advice["title"] == row["do"]
        assert advice["sure"] == (row["as_good"] == row["networks"] > 1)
        assert f"loses {row['least']:.1f}" in " ".join(advice["overall"])
        unsure = [words for words in advice["overall"] if words.startswith("In ")]
        assert len(unsure) == (row["networks"] > 1) * (row["networks"] - row["as_good"])


def test_what_the_guide_claims_stands_once_with_its_verdict(facts):
    said = [line for cell in facts["cells"].values() for line in cell["advice"]["evidence"]]
    said = [line for line in said if line.startswith("The guide says")]
    answers = claims("13")
    assert len(said) == len(answers)
    for row in answers.itertuples():
        assert sum(line.endswith(f"Verdict: {row.verdict}.") for line in said) > 0
    wants = next(
        line
        for line in facts["cells"]["resnet20|weights|0.05|1"]["advice"]["evidence"]
        if "bit by bit" in line
    )
    assert "Measured on 10 networks: points over a cosine 0.88" in wants
    assert wants.endswith("Verdict: holds.")


def test_uncertainty_is_said_in_words(facts):
    for key, cell in facts["cells"].items():
        words = " ".join(cell["advice"]["evidence"])
        verdicts = [way["against"].get("best", {}).get("verdict") for way in cell["ways"].values()]
        assert ("“Cannot be told” means" in words) == ("cannot be told" in verdicts), key
        assert "5 networks, seeds 0 to 4" in words
        assert "survive Holm's procedure" in words


def test_every_way_is_described_and_its_marks_differ(facts):
    looks = [
        (facts["families"][w["family"]]["dash"], w["marker"], w["hollow"]) for w in facts["ways"]
    ]
    assert len(set(looks)) == len(looks)
    named = {way["name"] for way in facts["ways"]}
    assert named == {way for cell in facts["cells"].values() for way in cell["ways"]}
    assert all(way["about"] for way in facts["ways"])


def test_names_that_hold_commas_are_listed_with_semicolons():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b, c", "d"]) == "a; b, c and d"


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_colors_stand_out_in_both_themes(facts, theme):
    """By WCAG 2: text 4.5, marks 3."""
    style = explorer.page(facts)
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    read = [dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks]
    light = {name: color for block in (read[0], read[2]) for name, color in block.items()}
    colors = light if theme == "light" else light | read[1] | read[3]
    assert colors["paper"] == THEMES[theme].paper
    for ground in (colors["paper"], colors["ground"]):
        assert min(contrast(colors[text], ground) for text in ("ink", "muted", "accent")) >= 4.5
    marks = [name for name in facts["families"] if name in colors]
    assert len(marks) == 4
    assert min(contrast(colors[mark], colors["paper"]) for mark in marks) >= 3


def test_the_page_holds_its_facts_and_names_no_other_place(facts):
    whole = explorer.page(facts)
    (data,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', whole)
    assert json.loads(data) == json.loads(json.dumps(facts))
    assert set(re.findall(r"https?://[\w./]+", whole)) == {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in whole


def test_facts_cannot_end_the_script():
    assert explorer.page({"words": "</script><b>"}).count("</script>") == 2


def test_a_folder_that_cannot_be_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "recorded", lambda: None)
    monkeypatch.setattr(explorer, "facts", lambda _: {})
    assert explorer.write(tmp_path / "new" / "folder").read_text("utf-8").startswith("<!DOCTYPE")
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotKeep):
        explorer.write(tmp_path / "file")


# In a browser.


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(facts, tmp_path_factory) -> str:
    path: Path = tmp_path_factory.mktemp("explorer") / "index.html"
    path.write_text(explorer.page(facts), "utf-8")
    return path.as_uri()


class Reader:
    """The page as a reader has it, offline; what it requests and complains of is kept."""

    def __init__(self, browser, address: str, width: int = 1280, theme: str = "light"):
        size = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=size, color_scheme=theme, offline=True)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.requests, self.complaints = [], []
        self.page = self.context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(address)

    def parts(self) -> dict[str, str]:
        inside = {name: f"#{name}" for name in ("chart", "accuracies", "differences", "advice")}
        parts = {name: self.page.locator(place).inner_html() for name, place in inside.items()}
        hash = self.page.evaluate("location.hash")
        return parts | {"hash": hash, "spoken": self.page.locator("#spoken").text_content()}


@pytest.fixture
def reader(browser, address):
    reader = Reader(browser, address)
    yield reader
    assert {url.partition("#")[0] for url in reader.requests} == {address}
    assert not reader.complaints
    reader.context.close()


BOTH = {"chart", "accuracies", "differences"}
CONTROLS = {
    "network": ("resnet20", BOTH | {"advice", "spoken"}),
    "pruned": ("weights, layerwise", BOTH | {"advice", "spoken"}),
    "density": ("0.2", {"chart", "differences", "advice", "spoken"}),
    "budget": ("0.25", BOTH | {"advice", "spoken"}),
    "axis": ("budget", {"chart", "accuracies"}),
    "against": ("dense", {"differences"}),
}
"""Each with a value to choose, and what has to change; the chosen density is drawn, not listed."""


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_by_mouse_and_by_keyboard(reader, control):
    value, changes = CONTROLS[control]
    before = reader.parts()
    place = f'input[name="{control}"][value="{value}"]'
    reader.page.locator(f"label:has({place})").click()
    after = reader.parts()
    assert {part for part in before if before[part] != after[part]} == changes | {"hash"}
    assert reader.page.locator(place).is_checked()
    reader.page.keyboard.press("ArrowRight")  # the radio button that was clicked has the focus
    moved = reader.parts()
    assert {part for part in before if after[part] != moved[part]} >= {"hash"}
    assert not reader.page.locator(place).is_checked()
    reader.page.keyboard.press("ArrowLeft")
    assert reader.parts() == after


def test_each_way_is_hidden_and_shown_by_mouse_and_by_keyboard(reader):
    before = reader.parts()
    box = reader.page.get_by_role("checkbox", name="gradual")
    box.click()
    hidden = reader.parts()
    assert {part for part in before if before[part] != hidden[part]} == BOTH | {"hash"}
    assert "gradual" not in hidden["chart"] + hidden["differences"]
    box.focus()
    reader.page.keyboard.press("Space")
    again = reader.parts()
    assert {part for part in before if before[part] != again[part]} == {"hash"}  # it was empty
    reader.page.get_by_role("checkbox", name="as pruned").check()
    assert "as pruned" in reader.parts()["differences"]


def test_the_keyboard_alone_reaches_everything(reader):
    reached = []
    for _ in range(40):
        reader.page.keyboard.press("Tab")
        reached.append(
            reader.page.evaluate(
                "(e => e.name === 'way' ? e.value : e.name || e.id || e.textContent)"
                "(document.activeElement)"
            )
        )
    assert reached[0] == "skip"
    for name in (*CONTROLS, "cosine", "as pruned", "What this rests on"):
        assert name in reached, name
    assert any("as a table" in words for words in reached)


def test_a_link_keeps_the_choice_and_a_wrong_one_says_so(reader, browser, address):
    reader.page.get_by_role("checkbox", name="scratch").first.uncheck()
    for control, (value, _) in CONTROLS.items():
        reader.page.locator(f'label:has(input[name="{control}"][value="{value}"])').click()
    here = reader.parts()
    other = Reader(browser, address + here["hash"])
    assert other.parts() == here
    other.page.goto(address + "#network=vgg&density=0.05&hide=cosine;nothing")
    other.page.wait_for_selector("#wrong:visible")
    assert other.page.locator("#wrong").text_content() == (
        "The address asks for network “vgg”, way “nothing”, which is not here. "
        "You see something else."
    )
    assert other.page.get_by_role("radio", name="lenet300").is_checked()
    assert not other.page.get_by_role("checkbox", name="cosine").first.is_checked()
    assert not other.complaints
    other.context.close()


def test_what_was_not_recorded_says_so(reader, facts):
    reader.page.locator('label:has(input[value="convnet"])').click()
    reader.page.locator('label:has(input[name="density"][value="0.2"])').click()
    sentence = facts["missing"]["convnet|weights|0.2|1"]
    for place in ("#overall", "#spoken", "#gains-words"):
        assert reader.page.locator(place).text_content() == sentence
    assert not reader.page.locator("#differences").is_visible()
    assert reader.page.locator("#chart circle, #chart path").count() > 0  # 5 % kept is drawn
    reader.page.locator('label:has(input[name="axis"][value="budget"])').click()
    assert reader.page.locator("#no-chart").text_content() == sentence
    assert reader.page.locator("#chart path").count() == 0


def test_the_tables_hold_what_is_drawn(reader, facts):
    ways = facts["cells"]["lenet300|weights|0.05|1"]["ways"]
    shown = reader.page.locator("#differences tbody tr").all_inner_texts()
    start = {way["name"] for way in facts["ways"] if way["start"]}
    assert len(shown) == len(start & set(ways))
    for way in start & set(ways) - {"cosine"}:
        difference = ways[way]["against"]["simple"]
        (row,) = [row for row in shown if row.split("\t")[0].strip() == way]
        assert difference["text"] in row
        assert difference["verdict"] in row
    drawn = reader.page.locator("#chart .way title").all_text_contents()
    reader.page.get_by_text("The numbers of this chart as a table").click()
    rows = reader.page.locator("#accuracies tbody tr").all_inner_texts()
    assert len(rows) == len(drawn) + 1  # the dense network
    for words in drawn:
        way, text = words.rpartition(": ")[::2]
        way, density = way.rpartition(", ")[::2]
        assert any(row.startswith(f"{way}\t{density}\t{text}") for row in rows), words


def test_every_control_has_a_name_and_the_chart_a_description(reader):
    for role in ("radio", "checkbox"):
        controls = reader.page.get_by_role(role)
        named = reader.page.get_by_role(role, name=re.compile(r"\w"))
        assert controls.count() == named.count() > 10
    for group in ("Network", "What is pruned", "Density", "Budget", "Draw it against", "From"):
        assert reader.page.get_by_role("group", name=group).count() == 1
    assert reader.page.get_by_role("img", name="Share of test images named right").count() == 1
    assert reader.page.get_by_role("status").count() == 1
    assert reader.page.get_by_role("table", name="Points of test accuracy").count() == 1


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_a_phone_and_follows_the_theme(browser, address, width, theme):
    reader = Reader(browser, address, width, theme)
    for part in ("", "#network=lenet300&budget=0.25&axis=budget&against=best"):
        reader.page.goto(address + part)
        reader.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert reader.page.evaluate("document.documentElement.scrollWidth") <= width
    channels = [int(THEMES[theme].paper[i : i + 2], 16) for i in (1, 3, 5)]
    ground = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == f"rgb({', '.join(map(str, channels))})"
    reader.context.close()
