"""Every figure of the project, each one call on a tidy table; a file a subject, one style.

Figures hold no results of their own: what they show comes in as a table or a tensor. Those of the
recorded studies are in `prunelab.figures.recorded`.
"""

from prunelab.figures.drawn_channels import channel_flow
from prunelab.figures.drawn_early import densities_of_layers, kept_at_inputs, moved_weights
from prunelab.figures.drawn_gradual import mask_growing, shares_by_round
from prunelab.figures.drawn_masks import mask_times_weight, thresholds
from prunelab.figures.drawn_penalties import lengths_and_areas, steps_to_zero
from prunelab.figures.drawn_permanence import tensors_through_step
from prunelab.figures.drawn_rates import descents
from prunelab.figures.drawn_rewinding import every_run, going_back, loss_valley
from prunelab.figures.drawn_shapes import smaller_or_holes
from prunelab.figures.drawn_sparse import sparse_rows
from prunelab.figures.drawn_stability import parting_copies
from prunelab.figures.drawn_statistics import stale_statistics
from prunelab.figures.drawn_teacher import softened
from prunelab.figures.drawn_text import surprises
from prunelab.figures.drawn_tickets import ticket_loop
from prunelab.figures.general import differences, effects_map, intervals_against, scatter
from prunelab.figures.lottery import (
    TICKET_MEASURES,
    stopped_at_limit,
    ticket_curves,
    ticket_race,
    tickets_against_density,
)
from prunelab.figures.pruning import (
    accuracy_against_density,
    mask_and_histogram,
    weight_histograms,
    zeros_while_training,
)
from prunelab.figures.recovery import decision_chart, front, ways_back
from prunelab.figures.sparsity import bytes_against_density, bytes_by_format, speed_against_density
from prunelab.figures.style import Picture, use_theme
from prunelab.figures.surgery import channel_map, zoo
from prunelab.figures.ticket_claims import leads_against_density, paper_claims
from prunelab.figures.training import class_probabilities, images, training_curves

__all__ = [
    "TICKET_MEASURES",
    "Picture",
    "accuracy_against_density",
    "bytes_against_density",
    "bytes_by_format",
    "channel_flow",
    "channel_map",
    "class_probabilities",
    "decision_chart",
    "densities_of_layers",
    "descents",
    "differences",
    "effects_map",
    "every_run",
    "front",
    "going_back",
    "images",
    "intervals_against",
    "kept_at_inputs",
    "leads_against_density",
    "lengths_and_areas",
    "loss_valley",
    "mask_and_histogram",
    "mask_growing",
    "mask_times_weight",
    "moved_weights",
    "paper_claims",
    "parting_copies",
    "scatter",
    "shares_by_round",
    "smaller_or_holes",
    "softened",
    "sparse_rows",
    "speed_against_density",
    "stale_statistics",
    "steps_to_zero",
    "stopped_at_limit",
    "surprises",
    "tensors_through_step",
    "thresholds",
    "ticket_curves",
    "ticket_loop",
    "ticket_race",
    "tickets_against_density",
    "training_curves",
    "use_theme",
    "ways_back",
    "weight_histograms",
    "zeros_while_training",
    "zoo",
]
