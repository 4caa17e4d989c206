"""Exercises that answer at once: `check("01.2", answer)`. A file a notebook, named as it."""

from prunelab.exercises import (  # noqa: F401 - each adds its exercises on import
    lottery_tickets,
    recovery_playbook,
    structured_vs_unstructured,
    tickets_taken_apart,
    weight_rewinding,
)
from prunelab.exercises.exercise import EXERCISES, check, hint

__all__ = ["EXERCISES", "check", "hint"]
