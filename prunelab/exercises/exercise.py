"""An exercise in one place: task, solution, hints, and what is usually got wrong.

The function below `@exercise(...)` is the solution and its docstring is the task. From them come
the student's notebook, the key, and the check of an answer (`prunelab.exercises.notebooks`).
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from IPython.display import Markdown

from prunelab.exercises.comparing import problem_of_function, problem_of_value, shown

IMPLEMENT = "write it from the equation"
FIND_THE_BUG = "find the bug"
PREDICT = "predict, then measure"
REASON = "work it out"


@dataclass(frozen=True, eq=False)
class Exercise:
    """What `exercise` makes of a solution.

    Attributes:
        number: such as "03.2": of the notebook, and in it.
        title, kind, level, minutes, hints, unit: what the student is told.
        solution: a function as it is wanted; or, without parameters, one that returns the value.
        cases, mistakes, tolerance: what the usual check needs.
    """

    number: str
    title: str
    kind: str
    level: int
    minutes: int
    hints: tuple[str, str, str]
    solution: Callable
    unit: str
    cases: Callable[[], Sequence[tuple]]
    mistakes: Mapping
    tolerance: float

    @property
    def task(self) -> str:
        return inspect.getdoc(self.solution) or ""

    @property
    def wants_value(self) -> bool:
        return not inspect.signature(self.solution).parameters

    @cached_property
    def right(self):
        """The value of an exercise that wants one."""
        return self.solution()

    def problem(self, answer) -> str | None:
        """What is wrong with an answer, or None."""
        own = CHECKS.get(self.number, self.usual_problem)
        if self.wants_value:
            return own(answer)
        if not callable(answer):
            name = self.solution.__name__
            return f"A function is wanted, and this is {shown(answer)}. Give `{name}`, uncalled."
        answer = Watched(answer)
        try:
            return own(answer)
        except Exception as error:
            return answer.blame(error)

    def usual_problem(self, answer) -> str | None:
        """The same of an answer that is a function, tried on all cases, or a value."""
        if self.wants_value:
            return problem_of_value(answer, self.right, self.mistakes, self.tolerance)
        return problem_of_function(
            answer, self.solution, self.cases(), self.mistakes, self.tolerance
        )

    def check(self, function: Callable) -> Callable:
        """Make a function the check of this exercise: what is wrong with an answer, or None."""
        CHECKS[self.number] = function
        return function

    def given(self, function: Callable) -> Callable:
        """Make a function what the student is given, to find the bug in it."""
        GIVEN[self.number] = function
        return function

    @property
    def worked_out(self) -> str:
        """The solution's source, as it stands in the key."""
        return source(self.solution)

    @property
    def start(self) -> str:
        """What the student's cell begins with."""
        name = self.solution.__name__
        if self.number in GIVEN:
            return source(GIVEN[self.number], called=name)
        if not self.wants_value:
            return source(self.solution, empty=True)
        unit = f"  # {self.unit}" if self.unit else ""
        guess = f"guess = ...{unit}\n" if self.kind == PREDICT else ""
        return f"{guess}answer = ..." + ("" if guess else unit)


class Watched:
    """A student's function that remembers its last call, to tell its errors from a check's own."""

    def __init__(self, function: Callable):
        self.function = function
        self.returned = None
        self.error: Exception | None = None

    def __call__(self, *arguments, **named):
        try:
            self.returned = self.function(*arguments, **named)
        except Exception as error:
            self.error = error
            raise
        return self.returned

    def blame(self, error: Exception) -> str:
        """What to say of an error that ended a check."""
        what = f"{type(error).__name__}: {error}"
        if error is self.error:
            return f"It raised {what}."
        if self.returned is None:
            return "It returned None. Is a `return` missing?"
        return f"It returned {shown(self.returned)}, which is not of the kind wanted ({what})."


EXERCISES: dict[str, Exercise] = {}
"""Every exercise by its number."""
CHECKS: dict[str, Callable] = {}
"""The checks of those that have one of their own."""
GIVEN: dict[str, Callable] = {}
"""What the student is given, where there is a bug to find."""


def exercise(
    number: str,
    title: str,
    kind: str,
    *,
    level: int,
    minutes: int,
    hints: tuple[str, str, str],
    unit: str = "",
    cases: Callable[[], Sequence[tuple]] = list,
    mistakes: Mapping | None = None,
    tolerance: float | None = None,
) -> Callable[[Callable], Exercise]:
    """Make the function below the solution of an exercise, and its docstring the task.

    Args:
        number: such as "03.2".
        title: a few words.
        kind: one of `IMPLEMENT`, `FIND_THE_BUG`, `PREDICT`, `REASON`.
        level: 1 (a line) to 4 (an hour's thought).
        minutes: that most students need.
        hints: three, from "where to look" to "all but the answer".
        unit: of a value that is wanted, with an example.
        cases: makes the tuples of arguments on which a function is tried, random ones and edges.
        mistakes: what to say, by the answer it is said to: for a function one that is wrong in
            a usual way, for a value a usual wrong one.
        tolerance: relative, of numbers; if None 0.02 of a value, so that two digits are enough,
            and 1e-6 of what a function returns.

    Raises:
        ValueError: the number is that of another exercise.
    """

    def register(solution: Callable) -> Exercise:
        other = EXERCISES.get(number)
        if other is not None and _full_name(other.solution) != _full_name(solution):
            taken = _full_name(other.solution)
            raise ValueError(f"number={number!r} is that of {taken}; give this one another")
        usual = 1e-6 if inspect.signature(solution).parameters else 0.02
        made = Exercise(
            number=number,
            title=title,
            kind=kind,
            level=level,
            minutes=minutes,
            hints=hints,
            solution=solution,
            unit=unit,
            cases=cases,
            mistakes=mistakes or {},
            tolerance=usual if tolerance is None else tolerance,
        )
        EXERCISES[number] = made
        return made

    return register


def check(number: str, answer, guess=None) -> None:
    """Print whether an answer is right, and if not, why.

    Args:
        number: of the exercise, such as "01.2".
        answer: a value or a function, as the exercise asks; `...` means not answered yet.
        guess: what you expected, where the exercise asks for it.

    Raises:
        ValueError: no exercise of that number.
    """
    asked = _find(number)
    if answer is ... or _is_empty(answer):
        print(f"{number}: not answered yet. Replace the `...` and run this cell again.")
        return
    if asked.kind == PREDICT and (guess is None or guess is ...):
        print(f"{number}: guess first. A wrong guess costs nothing, and you learn more.")
        return
    try:
        problem = asked.problem(answer)
    except Exception as error:
        problem = f"{shown(answer)} can't be compared ({type(error).__name__}: {error})."
    if problem is not None:
        print(f"{number}: not yet. {problem}")
    elif asked.kind != PREDICT:
        print(f"{number}: right!")
    else:
        print(f"{number}: right! You guessed {guess}, measured was {shown(answer)}.")


def hint(number: str) -> Markdown:
    """Three hints, each behind a fold, and behind the last one a solution.

    Args:
        number: of the exercise, such as "01.2".
    """
    asked = _find(number)
    folds = {f"Hint {n}": text for n, text in enumerate(asked.hints, start=1)}
    folds["A solution"] = f"```python\n{asked.worked_out}\n```"
    return Markdown(
        "\n".join(
            f"<details><summary>{name}</summary>\n\n{text}\n\n</details>\n"
            for name, text in folds.items()
        )
    )


def source(function: Callable, called: str | None = None, empty: bool = False) -> str:
    """A function's code without decorators and docstring.

    Args:
        function: whose.
        called: another name for it.
        empty: `return ...` in the place of what it does.
    """
    text = textwrap.dedent(inspect.getsource(function))
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    lines = text.splitlines()
    first = tree.body[0]
    head = lines[tree.lineno - 1 : first.lineno - 1]
    after_docstring = first.lineno - 1 if ast.get_docstring(tree) is None else first.end_lineno
    body = ["    return ..."] if empty else lines[after_docstring:]
    code = "\n".join([*head, *body])
    return code.replace(f"def {tree.name}(", f"def {called or tree.name}(", 1)


def in_order(numbers: Iterable[str]) -> list[str]:
    """Numbers of exercises as they are counted: "01.2" before "01.10"."""
    return sorted(numbers, key=lambda number: [int(part) for part in number.split(".")])


def _full_name(function: Callable) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _find(number: str) -> Exercise:
    if number not in EXERCISES:
        known = ", ".join(in_order(EXERCISES))
        raise ValueError(f"number={number!r} is no exercise; there are {known}")
    return EXERCISES[number]


def _is_empty(answer) -> bool:
    """A function as it is given, that returns `...`, or one that does nothing at all."""

    def given():
        return ...

    def nothing():
        pass

    code = getattr(answer, "__code__", None)
    return code is not None and any(
        (code.co_code, code.co_consts) == (empty.__code__.co_code, empty.__code__.co_consts)
        for empty in (given, nothing)
    )
