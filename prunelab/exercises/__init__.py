"""Exercises that answer at once: `check("01.2", answer)`. A file a notebook, named as it."""

from prunelab.exercises import (  # noqa: F401 - each adds its exercises on import
    bn_recalibration,
    channel_surgery,
    cosine_finetuning,
    global_pruning,
    gradual_pruning,
    knowledge_distillation,
    l1_vs_l2,
    lottery_tickets,
    pruning_before_training,
    pruning_permanence,
    recovery_playbook,
    ship_it,
    sparsity_checks,
    start_here,
    structured_vs_unstructured,
    tickets_taken_apart,
    transformer,
    weight_rewinding,
)
from prunelab.exercises.exercise import EXERCISES, check, hint

__all__ = ["EXERCISES", "check", "hint"]
