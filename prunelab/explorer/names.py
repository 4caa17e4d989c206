"""What the page calls networks, prunings and ways, and how a way's marks look."""

from typing import NamedTuple

from prunelab.figures.style import COLORS

OWN = ", own rate"
"""What notebook 13 adds to the name of a way whose rate the study `recovery_rates` chose."""

NETWORKS = {
    "lenet300": "LeNet-300-100, fully connected",
    "convnet": "small_convnet of width 12",
    "resnet20": "ResNet-20 of width 8",
}
PRUNED = {
    "weights": "single weights",
    "filters": "whole filters",
    "weights, layerwise": "single weights, the same share of every layer",
    "filters, global": "whole filters, ranked over all layers",
}


class Family(NamedTuple):
    """Ways that change the same thing: a color, and dashes for who cannot see it."""

    words: str
    color: str
    """One of the figures' colors, or a name of the page's own grays."""
    dash: str


FAMILIES = {
    "rate": Family("change the learning rate", COLORS[0], ""),
    "rewound": Family("change the weights", COLORS[1], "9 4"),
    "teacher": Family("change the loss", COLORS[2], "3 3"),
    "gradual": Family("change the pruning", COLORS[3], "10 3 2 3"),
    "control": Family("controls", "ink", "1 4"),
    "untrained": Family("not retrained", "muted", "none"),
}


class Way(NamedTuple):
    """A way back: its family, the shape of its points, and what it does."""

    family: str
    marker: str
    about: str


WAYS = {
    "cosine": Way("rate", "circle", "from a chosen rate down along a cosine"),
    "one-cycle": Way("rate", "up", "up to a chosen rate and down again"),
    "constant": Way("rate", "diamond", "one chosen rate"),
    "LR rewinding": Way("rate", "square", "the schedule of the dense training once more"),
    "last rate": Way("rate", "down", "the last rate of the dense training"),
    "weight rewinding": Way("rewound", "square", "the weights of an earlier step, and on from it"),
    "rewinding to early": Way(
        "rewound", "circle", "the weights after a tenth of the training, then the other nine tenths"
    ),
    "distillation": Way("teacher", "circle", "a cosine, and the dense network as a teacher"),
    "distillation, LR rewinding": Way("teacher", "square", "LR rewinding, and a teacher"),
    "gradual": Way("gradual", "diamond", "ten small cuts with training in between"),
    "scratch": Way("control", "up", "the pruned shape with new weights"),
    "random mask": Way("control", "diamond", "as much is kept, but drawn at random"),
    "as pruned": Way("untrained", "circle", "no retraining"),
    "BN recalibration": Way("untrained", "square", "only BatchNorm's statistics measured anew"),
}
SIMPLE = tuple(name for name, way in WAYS.items() if way.family == "rate")
"""One training after one cut, without a teacher and without going back to earlier weights."""


def share(value: float) -> str:
    """0.05 is "5 %"."""
    return f"{value:.0%}".replace("%", " %")


def listed(words: list[str]) -> str:
    """ "a", "a and b", or "a, b and c"; names that hold commas are quoted by semicolons."""
    comma = "; " if any("," in word for word in words) else ", "
    return " and ".join([comma.join(words[:-1]), words[-1]] if len(words) > 1 else words)


def cell_in_words(network: str, pruned: str, density: float, budget: float) -> str:
    return f"{network}, {pruned}, {share(density)} kept, {share(budget)} of the steps"
