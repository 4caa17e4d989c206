"""Checks of the exercises of notebook 02."""

import math

from prunelab.exercises.checking import exercise


@exercise("02.1")
def softened_odds(answer: float) -> str | None:
    if math.isclose(answer, math.exp(2), rel_tol=1e-3):
        return None
    if math.isclose(answer, math.exp(6), rel_tol=1e-3):
        return "That is at T = 1. Divide both scores by T first."
    if math.isclose(answer, math.exp(6) / 3, rel_tol=1e-3):
        return "T divides the scores, not the ratio of the probabilities."
    return "The ratio of two softmax probabilities is exp of the difference of their scores."


@exercise("02.2")
def steps_worth_it(answer: float) -> str | None:
    if math.isclose(answer, 0.25, abs_tol=0.005):
        return None
    if math.isclose(answer, 1 / 3, abs_tol=0.005):
        return "With a third fewer steps the teacher is already ahead: 2/3 · 4/3 is less than 1."
    return "A step costs 4/3 as much; which share of the steps makes the product 1?"
