"""How an answer is checked: every exercise has a function that says what is wrong, or nothing.

A check takes an answer and returns what is wrong with it, or None. Answers that rest on a known
misunderstanding are told which one.
"""

from collections.abc import Callable

CHECKS: dict[str, Callable] = {}
"""The check of every exercise by its number, such as "01.2"."""


def check(number: str, answer) -> None:
    """Print whether an answer is right, and if not, why.

    Args:
        number: of the exercise, such as "01.2".
        answer: a number or a function, as the exercise asks; `...` means not answered yet.

    Raises:
        ValueError: no exercise of that number.
    """
    if number not in CHECKS:
        raise ValueError(f"number={number!r} is no exercise; there are {', '.join(sorted(CHECKS))}")
    if answer is ...:
        print(f"{number}: not answered yet. Replace the `...` and run this cell again.")
        return
    try:
        problem = CHECKS[number](answer)
    except Exception as error:
        problem = f"your answer raised {type(error).__name__}: {error}"
    print(f"{number}: right!" if problem is None else f"{number}: not yet. {problem}")


def exercise(number: str) -> Callable:
    """Make the function below the check of an exercise: what is wrong with an answer, or None."""

    def register(function: Callable) -> Callable:
        CHECKS[number] = function
        return function

    return register
