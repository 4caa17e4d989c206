"""Right answers pass, and known misunderstandings are told apart."""

import copy
import math

import nbformat
import numpy as np
import pytest
import torch

from prunelab.data import ROOT
from prunelab.exercises import EXERCISES, check, hint
from prunelab.exercises.comparing import problem_of_function, problem_of_value
from prunelab.exercises.exercise import (
    FIND_THE_BUG,
    GIVEN,
    IMPLEMENT,
    PREDICT,
    REASON,
    _find,
    exercise,
    in_order,
    source,
)
from prunelab.exercises.notebooks import practice, write
from prunelab.masks import make_pruning_permanent
from prunelab.pruning import apply_global_pruning


def exact_mask(weights, sparsity):
    keep = torch.ones(weights.numel(), dtype=torch.bool)
    keep[weights.abs().flatten().argsort(stable=True)[: round(sparsity * weights.numel())]] = False
    return keep.view_as(weights)


def threshold_mask(weights, sparsity):
    count = round(sparsity * weights.numel())
    return weights.abs() > (weights.abs().flatten().kthvalue(count).values if count else -1)


def half_width(values, t=2.776, ddof=1):
    deviation = torch.tensor(values, dtype=torch.float64).std(correction=ddof).item()
    return t * deviation / math.sqrt(len(values))


def cosine(step, steps, lr):
    return lr * (1 + math.cos(math.pi * step / steps)) / 2


def mask_after_round(weight, mask, rate, magnitude=torch.abs):
    candidates = mask.flatten().nonzero().flatten()
    order = magnitude(weight.flatten()[candidates]).argsort(stable=True)
    new = mask.flatten().clone()
    new[candidates[order[: round(rate * len(candidates))]]] = False
    return new.view_as(mask)


def mask_by_threshold(weight, mask, rate):
    """Right but for ties: it takes all equals."""
    kept = weight[mask].abs()
    return mask & (weight.abs() > kept.kthvalue(round(rate * len(kept))).values)


def mask_from_threshold(weight, mask, rate):
    """Right but for ties: it takes none of the equals."""
    kept = weight[mask].abs()
    return mask & (weight.abs() >= kept.kthvalue(1 + round(rate * len(kept))).values)


def share_of_all_weights(weight, mask, rate):
    return mask_after_round(weight, mask, rate * mask.numel() / int(mask.sum()))


def pruned_weights_ranked(weight, mask, rate):
    count = round(rate * int(mask.sum()))
    return mask & exact_mask(weight * mask, count / mask.numel())


def revived(weight, mask, rate):
    return mask_by_threshold(weight, mask, rate) | (~mask & (weight.abs() > 0.5))


def shuffled(mask, generator):
    """Each row by itself."""
    orders = [torch.randperm(mask.shape[1], generator=generator) for _ in mask]
    return torch.stack([row[order] for row, order in zip(mask, orders, strict=True)])


def always_the_same(seed):
    return seeded(1)


def seeded(seed, width=20):
    torch.manual_seed(seed)
    return torch.nn.Linear(width, 10)


def asked(teacher, inputs, T, grad=False):
    """An answer to 02.4 that is right but for gradients, or for what is done to the outputs."""
    teacher.eval()
    with torch.set_grad_enabled(grad):
        return torch.softmax(teacher(inputs) / T, dim=1)


def asked_with_others(teacher, inputs, T):
    """The same for any batch, but in training mode: the batch is filled up with others."""
    others = torch.linspace(-1, 1, 160).view(32, 5)
    with torch.no_grad():
        return torch.cat(
            [torch.softmax(teacher(torch.cat([x[None], others])) / T, dim=1)[:1] for x in inputs]
        )


def masks_that_keep(chosen):
    """An answer to 01.4 that keeps, of all weights together, the share that `chosen` picks."""
    return lambda weights, sparsity: [
        mask.view_as(weight)
        for mask, weight in zip(
            chosen(torch.cat([weight.flatten() for weight in weights]), sparsity).split(
                [weight.numel() for weight in weights]
            ),
            weights,
            strict=True,
        )
    ]


def in_rounds(model, targets, train, last=True, train_once=False):
    for number, sparsity in enumerate(targets):
        apply_global_pruning(model, sparsity=sparsity)
        if not train_once or number == 0:
            train(model)
    return make_pruning_permanent(model) if last else model


def by_amounts(model, targets, train):
    """Amounts instead of targets."""
    for amount in targets:
        apply_global_pruning(model, amount=amount)
        train(model)
    return make_pruning_permanent(model)


def cut_at(state, kept, columns):
    """An answer to 05.1; of the tensors in `columns` the second dimension is cut."""
    return {name: t[:, kept] if name in columns else t[kept] for name, t in state.items()}


def zeros_in_parameters(model):
    weights = [p for name, p in model.named_parameters() if "weight" in name]
    return sum((p == 0).sum().item() for p in weights) / sum(p.numel() for p in weights)


def zeros_in_all_tensors(model):
    tensors = [*model.parameters(), *model.buffers()]
    return sum((t == 0).sum().item() for t in tensors) / sum(t.numel() for t in tensors)


def threshold_in_groups(scores, n, m):
    """An answer to 17.3 that is right but for ties."""
    groups = scores.unflatten(1, (-1, m))
    return (groups >= groups.sort(dim=-1).values[..., m - n, None]).flatten(1)


def surgeons_row(row, gram, j, left):
    """An answer to 17.4 that is right but for what is left of weight j."""
    inverse = torch.linalg.inv(gram)
    new = row - row[j] / inverse[j, j] * inverse[:, j]
    new[j] = left
    return new


def attention_before(q, k, v):
    """An answer to 17.5 where no position sees itself."""
    scores = q @ k.T / math.sqrt(q.shape[1])
    itself_or_later = torch.ones(len(q), len(q), dtype=torch.bool).triu()
    return scores.masked_fill(itself_or_later, -torch.inf).softmax(dim=1) @ v


MISUNDERSTOOD = [  # of exercises with a check of their own
    ("00.3", always_the_same, "Two seeds must give two"),
    ("00.3", lambda seed: torch.nn.Linear(20, 10), "Seed 1 gives two different layers"),
    ("00.3", lambda seed: seeded(seed, width=10), "from 20 to 10"),
    ("01.3", threshold_mask, "weights that tie"),
    ("01.3", lambda weights, sparsity: ~exact_mask(weights, 1 - sparsity), "larger than one"),
    ("01.3", lambda weights, sparsity: ~exact_mask(weights, sparsity), "inverted"),
    ("01.3", lambda weights, sparsity: exact_mask(weights, sparsity).flatten(), "shape"),
    ("01.3", lambda weights, sparsity: weights * exact_mask(weights, sparsity), "other values"),
    ("01.4", masks_that_keep(lambda every, sparsity: every.abs() > 0), "prunes 0 of 78"),
    ("01.4", masks_that_keep(lambda every, sparsity: ~exact_mask(every, 1 - sparsity)), "larger"),
    ("01.4", lambda weights, sparsity: weights[0].abs() > sparsity, "a tensor of shape"),
    ("05.2", lambda kept, size: kept, "not one column"),
    ("05.2", lambda kept, size: [k * size + i for k in kept for i in range(size)], "size × size"),
    ("05.3", 0.25, "reads only a quarter"),
    ("06.2", lambda weight, mask: (weight * mask).abs(), "has changed"),
    ("06.2", lambda weight, mask: weight + 0.0, "hides is not zero"),
    ("06.2", lambda weight, mask: weight[mask == 1], "shape"),
    ("06.3", lambda *given: in_rounds(*given, last=False), "masks are still there"),
    ("06.3", lambda *given: in_rounds(*given, train_once=True), "Calls of `train`: 1"),
    ("06.3", by_amounts, "has 62% zeros"),
    ("06.3", lambda *given: "done", "Return the model"),
    ("02.4", lambda *given: asked(*given, grad=True), "no_grad"),
    ("02.4", lambda teacher, inputs, T: asked(teacher, inputs, 1.0), "softmax"),
    ("02.4", lambda teacher, inputs, T: asked(teacher, inputs, T)[:, :2], "class is wanted"),
    ("02.4", asked_with_others, "running statistics"),
    ("07.1", 0.9, "one layer"),
    ("07.1", 0.3, "mean over layers"),
    ("07.2", lambda table: 0.8, "0.9"),
    ("07.2", lambda table: print(), "this table it gives None. Is a `return` missing?"),
    ("07.2", lambda table: table["dens"], "this table it raises KeyError: 'dens'."),
    ("07.2", lambda table: table, "of type DataFrame, and a number is wanted"),
    ("03.1", lambda now, first: first, "masked layer has"),
    ("03.1", lambda now, first: {**now, "weight_orig": first["weight"]}, "goes back too"),
    ("03.1", lambda now, first: now, "not the initial ones"),
    ("09.2", lambda x: (x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)), "unbiased"),
    ("09.2", lambda x: (x.mean(0), x.var(0)), "One number a channel"),
    ("05.1", lambda state, kept: list(state), "A dictionary with the names"),
    ("05.1", lambda state, kept: cut_at(state, kept, []), "conv2.weight has shape"),
    ("05.1", lambda state, kept: cut_at(state, kept[:1], ["conv2.weight"]), "shape [1, 1, 3, 3]"),
    ("05.1", lambda state, kept: cut_at(state, kept - 1, ["conv2.weight"]), "of other channels"),
    ("07.3", lambda model: 0.0, "in all layers it gives 0: too small"),
    ("07.3", lambda model: model.fc9, "in all layers it raises AttributeError"),
    ("07.3", zeros_in_parameters, "in all layers it gives 0: too small"),
    ("07.3", zeros_in_all_tensors, "in all layers"),
    ("07.3", GIVEN["07.3"], "in its last layer alone it gives 0.8: too large"),
    ("09.1", 10, "34.87 %"),
    ("09.1", 50, "Fewer are enough"),
    ("09.1", 43, "at most 1 % shall be left"),
    ("09.1", 43.7, "no part of a pass"),
    ("09.1", "many", "A number of passes"),
    ("11.1", share_of_all_weights, "share of all weights"),
    ("11.1", lambda *given: mask_after_round(*given, magnitude=torch.neg), "larger in magnitude"),
    ("11.1", lambda *given: mask_after_round(*given, magnitude=torch.clone), "most negative"),
    ("11.1", mask_by_threshold, "all equals"),
    ("11.1", mask_from_threshold, "all equals or none"),
    ("11.1", revived, "is back"),
    ("11.1", lambda *given: ~mask_after_round(*given), "inverted"),
    ("11.1", pruned_weights_ranked, "no longer there"),
    ("11.1", lambda weight, mask, rate: mask_after_round(weight, mask, 1 - rate), "that goes"),
    ("11.1", lambda weight, *rest: weight * mask_after_round(weight, *rest), "True and False"),
    ("11.1", lambda weight, mask, rate: mask_after_round(weight, mask, 7 / 29), "7 go"),
    ("11.1", lambda weight, mask, rate: mask_after_round(weight, mask, 5 / 29), "cut off"),
    ("11.1", lambda weight, mask, rate: mask.flatten(), "a mask (6, 8)"),
    (
        "14.3",
        lambda mask, generator: mask[:, torch.randperm(40, generator=generator)],
        "Some units",
    ),
    ("14.3", lambda mask, generator: shuffled(mask.T, generator).T, "Half of the inputs"),
    ("14.3", lambda mask, generator: shuffled(mask, generator), "Some units"),
    ("14.3", lambda mask, generator: torch.rand(30, 40, generator=generator) < 0.1, "keeps 120"),
    (
        "14.3",
        lambda mask, generator: mask.flatten()[torch.randperm(1200)].view(30, 40),
        "Draw from",
    ),
    ("14.3", lambda mask, generator: mask.flip(0, 1), "does not depend on"),
    ("14.3", lambda mask, generator: mask.flatten(), "(30, 40) yours has (1200,)"),
    ("14.3", lambda mask, generator: mask * 0.5, "True and False"),
    ("17.3", threshold_in_groups, "it keeps 4 and 4 of four, not 2"),
    ("17.4", lambda *given: surgeons_row(*given, left=1e-17), "rounding has left something"),
    ("17.4", lambda *given: surgeons_row(*given, left=0.3), "weight j is still there"),
    ("17.4", lambda row, gram, j: -row, "For [0.2739"),
    ("17.4", lambda row, gram, j: torch.linalg.inv(gram), "and (3,) is wanted"),
    ("17.5", attention_before, "sees itself, too"),
    ("10.1", [[2, 2, 2], [0, 5, 0]], "other way round"),
    ("10.1", [[1, 1, 1], [2, 2, 2]], "do not disagree"),
    ("10.1", [[1, 2], [3, 4]], "three weights"),
    ("10.1", [[0, 5, 0], [2, 2]], "Two lists of three numbers"),
]


def chapters():
    return sorted({number.split(".")[0] for number in EXERCISES})


@pytest.mark.parametrize("chapter", chapters())
def test_the_key_is_right(chapter, capsys):
    room: dict = {}
    for cell in practice(chapter, key=True).cells:
        if cell.cell_type == "code":
            exec(cell.source, room)
    said = capsys.readouterr().out.splitlines()
    numbers = [number for number in EXERCISES if number.startswith(chapter)]
    assert [line.split("!")[0] for line in said] == [f"{n}: right" for n in sorted(numbers)]


@pytest.mark.parametrize("chapter", chapters())
def test_what_the_student_is_given_is_not_right(chapter, capsys):
    room: dict = {}
    for cell in practice(chapter).cells:
        if cell.cell_type == "code":
            exec(cell.source, room)
    for line in capsys.readouterr().out.splitlines():
        number = line.split(":")[0]
        assert ("not yet" if number in GIVEN else "not answered yet") in line


def test_the_notebooks_are_those_of_the_exercises():
    for chapter in chapters():
        path = ROOT / "notebooks" / "exercises" / f"{chapter}_exercises.ipynb"
        written = [(c.id, c.source) for c in nbformat.read(path, as_version=4).cells]
        assert written == [(c.id, c.source) for c in practice(chapter).cells]


def test_outputs_stay_where_only_words_have_changed(tmp_path):
    words, code, *_ = write(tmp_path)
    for path, kind in ((words, "markdown"), (code, "code")):
        notebook = nbformat.read(path, as_version=4)
        of_kind = [cell for cell in notebook.cells if cell.cell_type == kind]
        of_kind[0].source += "\n# more"
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.update(execution_count=7, outputs=[nbformat.v4.new_output("stream", text="ran")])
        nbformat.write(notebook, path)
    write(tmp_path)
    counts = [
        next(c for c in nbformat.read(path, 4).cells if c.cell_type == "code").execution_count
        for path in (words, code)
    ]
    assert counts == [7, None]
    assert "# more" not in words.read_text(encoding="utf-8")


def test_writing_leaves_alone_what_is_as_it_should_be(tmp_path):
    old, *_, changed = write(tmp_path)
    notebook = nbformat.read(old, as_version=4)
    notebook.cells[1].execution_count = 7
    nbformat.write(notebook, old)
    changed.write_text(changed.read_text().replace("Exercises for", "Nothing for"))
    write(tmp_path)
    assert nbformat.read(old, as_version=4).cells[1].execution_count == 7
    assert "Nothing for" not in changed.read_text()


def test_a_chapter_without_exercises_is_an_error():
    with pytest.raises(ValueError, match="'3' has no exercises"):
        practice("3")


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_has_every_kind(chapter):
    kinds = {one.kind for number, one in EXERCISES.items() if number.startswith(chapter)}
    assert kinds >= {IMPLEMENT, FIND_THE_BUG, PREDICT} or chapter == "13"
    assert kinds <= {IMPLEMENT, FIND_THE_BUG, PREDICT, REASON}


@pytest.mark.parametrize("number", EXERCISES)
def test_what_an_exercise_says_of_itself(number):
    one = EXERCISES[number]
    assert 1 <= one.level <= 4
    assert 2 <= one.minutes <= 60
    assert len(set(one.hints)) == 3
    assert (number in GIVEN) == (one.kind == FIND_THE_BUG)
    assert one.wants_value or one.kind != PREDICT
    assert one.task.endswith((".", "?", "`", ")"))
    assert one.worked_out in hint(number).data
    assert all(text in hint(number).data for text in one.hints)


@pytest.mark.parametrize("number", EXERCISES)
def test_usual_mistakes_are_named(number):
    one = EXERCISES[number]
    for said, wrong in one.mistakes.items():
        assert one.problem(wrong) == said


@pytest.mark.parametrize("number", [n for n, one in EXERCISES.items() if one.cases()])
def test_no_constant_passes(number):
    one = EXERCISES[number]
    for case in one.cases():
        constant = one.solution(*copy.deepcopy(case))
        assert one.problem(lambda *_, constant=constant: constant) is not None


@pytest.mark.parametrize(("number", "answer", "told"), MISUNDERSTOOD)
def test_misunderstanding_is_named(number, answer, told, capsys):
    check(number, answer, guess=0)
    output = capsys.readouterr().out
    assert "not yet" in output
    assert told in output


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda now, initial: 1 / 0, "It raised ZeroDivisionError: division by zero."),
        (lambda now: now, "It raised TypeError: <lambda>() takes 1 positional argument but 2 were"),
        (lambda now, initial: print(end=""), "It returned None. Is a `return` missing?"),
        (lambda now, initial: 7, "It returned 7, which is not of the kind wanted (TypeError:"),
        ({"bias": 0}, "this is {'bias': 0}. Give `rewound_layer`, uncalled."),
    ],
)
def test_an_answer_that_can_not_be_used_is_told_why(answer, told, capsys):
    check("03.1", answer)
    assert told in capsys.readouterr().out


def test_an_error_is_no_usual_mistake():
    def failing(x):
        raise TypeError("mine")

    mistakes = {"You have not read the task.": lambda x: x.missing()}
    mistakes["Not that."] = failing
    assert "mine" in problem_of_function(failing, lambda x: x, [(1.0,)], mistakes, 1e-6)


@pytest.mark.parametrize("given", ["return ...", "pass", "..."])
def test_an_empty_function_is_not_answered_yet(given, capsys):
    room: dict = {}
    exec(f"def barrier(errors):\n    {given}", room)
    check("03.2", room["barrier"])
    assert "not answered yet" in capsys.readouterr().out


def test_a_comment_of_a_solution_stays():
    def commented():
        """Nothing."""
        # What is returned.
        return 1

    assert source(commented).splitlines()[1].strip() == "# What is returned."


def test_a_guess_comes_first_and_is_shown_beside_what_was_measured(capsys):
    check("03.4", 0.9)
    check("03.4", 0.9, ...)
    check("03.4", 0.9, 0.2)
    check("03.4", torch.tensor([0.9]), 0.2)
    check("03.2", EXERCISES["03.2"].solution, 0.2)
    without, dots, with_guess, a_tensor, no_guess = capsys.readouterr().out.splitlines()
    assert "measured was [0.9]" in a_tensor
    assert no_guess == "03.2: right!"
    assert without == dots
    assert "guess first" in dots
    assert with_guess == "03.4: right! You guessed 0.2, measured was 0.9."


def test_a_number_is_that_of_one_exercise(monkeypatch):
    monkeypatch.setattr("prunelab.exercises.exercise.EXERCISES", {})
    register = exercise("03.9", "Twice", REASON, level=1, minutes=1, hints=("", "", ""))

    def one():
        return 1

    def two():
        return 2

    register(one)
    again = register(one)  # its module was imported anew
    with pytest.raises(ValueError, match=r"number='03.9' is that of .*one; give this one another"):
        register(two)
    assert _find("03.9") is again


def test_the_tenth_exercise_comes_after_the_ninth():
    assert in_order(["03.10", "11.1", "03.9"]) == ["03.9", "03.10", "11.1"]


def test_unknown_number_is_an_error():
    for function in (hint, lambda number: check(number, 0)):
        with pytest.raises(ValueError, match=r"03\.1"):
            function("99.9")


@pytest.mark.parametrize(
    ("answer", "right", "told"),
    [
        (lambda x: 2.0, lambda x: x, "For 1 it gives 2: too large."),
        (
            lambda x: x / 0,
            lambda x: x,
            "For 1 it raises ZeroDivisionError: float division by zero.",
        ),
        (lambda x: np.float64(x), lambda x: x, None),
        (lambda x: np.full(2, x), lambda x: torch.full((2,), x), None),
        (lambda x: torch.ones(2, 1), lambda x: torch.ones(2), "of shape (2, 1), and (2,) is"),
        (lambda x: [x], lambda x: [x, x], "1 values, and 2 are wanted"),
        (lambda x: (x, x), lambda x: [x, x], None),
        (lambda x: torch.tensor([1, 0]), lambda x: torch.tensor([True, False]), None),
        (lambda x: {"a": x}, lambda x: {"a": x}, None),
        (lambda x: "a", lambda x: x, "of type str, and a number is wanted"),
        (lambda x: math.nan, lambda x: x, "not right"),
        (
            lambda x: torch.zeros(20),
            lambda x: torch.ones(20),
            "At [0], for 1, it gives 0: too small",
        ),
        (lambda x: torch.zeros(2), lambda x: torch.ones(2), "For 1 it gives [0, 0]: not right."),
        (lambda x: None, lambda x: x, "For 1 it gives None. Is a `return` missing?"),
        (lambda x: torch.tensor([1, 0]), lambda x: [True, False], None),
        (lambda x: [1, 0], lambda x: torch.tensor([1, 0]), "of type list, and Tensor is wanted"),
        (lambda x: (np.ones(2), 1), lambda x: (torch.ones(2), 1), None),
        (lambda x: torch.tensor(x + 1), lambda x: x, "For 1 it gives 2: too large."),
        (lambda x: 15_000, lambda x: 2, "For 1 it gives 15000: too large."),
        (lambda x: 15_000.4, lambda x: 2, "For 1 it gives 15000: too large."),
        (lambda x: {"a": x}, lambda x: x, "For 1 it gives {'a': 1}: of type dict, and a number"),
    ],
)
def test_functions_are_compared(answer, right, told):
    problem = problem_of_function(answer, right, [(1.0,), (2.0,)], {}, 1e-6)
    assert (problem is None) if told is None else told in problem


@pytest.mark.parametrize(
    ("answer", "right", "told"),
    [
        (0.0034, 900 / 266_200, None),
        (0.34, 900 / 266_200, "in percent"),
        (619, 6.19, "619 is too large."),
        (0.5, 0.9, "0.5 is too small."),
        ("much", 0.9, "A number is wanted, and this is 'much'."),
        (torch.tensor(0.9), 0.9, None),
        ("bn2", "bn1", "'bn2' is not right."),
    ],
)
def test_values_are_compared(answer, right, told):
    problem = problem_of_value(answer, right, {}, 0.02)
    assert (problem is None) if told is None else told in problem


def test_an_answer_may_change_what_it_gets():
    def clearing(values):
        total = sum(values)
        values.clear()
        return total

    assert problem_of_function(clearing, sum, [([1.0, 2.0],), ([3.0],)], {}, 1e-6) is None
