"""Exercises of notebook 03."""

from collections.abc import Callable

import torch

from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, exercise
from prunelab.models import lenet300
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import snapshot, weight_rewinding


@exercise(
    "03.1",
    "Back to the start, by hand",
    IMPLEMENT,
    level=2,
    minutes=8,
    hints=(
        "Print the keys of both: `weight_orig`, `weight_mask` and `bias` on one side, `weight` and "
        "`bias` on the other.",
        "Three tensors make the result. One of them stays as it is now. Which?",
        "Begin with a copy of `now`, and replace two of its tensors by those of `initial`.",
    ),
)
def rewound_layer(now, initial):
    """`now` is the state dict of one masked layer. `initial` is the state dict that it had before
    training and before masks. Return the state dict of the rewound layer.
    """
    return {**now, "weight_orig": initial["weight"], "bias": initial["bias"]}


@rewound_layer.check
def _(answer: Callable) -> str | None:
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    now = {"bias": torch.ones(2), "weight_orig": torch.full((2, 2), 9.0), "weight_mask": mask}
    initial = {"weight": torch.arange(4.0).view(2, 2) + 1, "bias": torch.zeros(2)}
    state = answer(dict(now), dict(initial))
    if set(state) != set(now):
        return f"The masked layer has {sorted(now)}; yours has {sorted(state)}."
    if not torch.equal(state["weight_mask"], mask):
        return "The mask has changed. It is the one thing that stays."
    if not torch.equal(state["weight_orig"] * mask, initial["weight"] * mask):
        return "The kept weights are not the initial ones; they belong into weight_orig."
    if not torch.equal(state["bias"], initial["bias"]):
        return "The bias has stayed where training left it. It goes back too."
    return None


def lines() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(4, 7, generator=generator).tolist()
    below = [0.4, 0.1, 0.2, 0.3]
    return [([0.1, 0.3, 0.25, 0.14],), (below,), *((errors,) for errors in random)]


@exercise(
    "03.2",
    "The height of a barrier",
    IMPLEMENT,
    level=1,
    minutes=4,
    hints=(
        "Equation (3.2) stands in the notebook, below *Are they in one valley?*",
        "It is a maximum minus a mean. Of what is the maximum, and of what the mean?",
        "The mean is that of the two ends alone, `(errors[0] + errors[-1]) / 2`. The maximum is "
        "over what lies between: `errors[1:-1]`.",
    ),
    cases=lines,
    mistakes={
        "That is the height above zero; subtract the mean error of the two ends.": (
            lambda errors: max(errors[1:-1])
        ),
        "Your maximum is over the ends, too; (3.2) looks between them.": (
            lambda errors: max(errors) - (errors[0] + errors[-1]) / 2
        ),
        "You subtract the mean of all errors; (3.2) takes the two ends.": (
            lambda errors: max(errors[1:-1]) - sum(errors) / len(errors)
        ),
        "You subtract the lower end; (3.2) takes the mean of both.": (
            lambda errors: max(errors[1:-1]) - min(errors[0], errors[-1])
        ),
    },
)
def barrier(errors):
    """A list holds the errors along the line between two networks, both ends included. Return the
    error barrier (3.2).
    """
    return max(errors[1:-1]) - (errors[0] + errors[-1]) / 2


@exercise(
    "03.3",
    "A snapshot that moves",
    FIND_THE_BUG,
    level=2,
    minutes=8,
    hints=(
        "Take a snapshot, train one step, and look at the snapshot again.",
        "`state_dict` holds the very tensors that training changes. It copies nothing.",
        "Every tensor needs a copy of its own: `detach().clone()`.",
    ),
)
def snapshot_of(model):
    """This function is to keep the weights of a model, so that one can go back to them after
    training. Used with `weight_rewinding`, it goes back to nowhere. Repair it.
    """
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@snapshot_of.given
def with_a_bug(model):
    return dict(model.state_dict())


@snapshot_of.check
def _(answer: Callable) -> str | None:
    model = torch.nn.Linear(2, 2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = answer(model)
    if set(state) != set(before):
        return f"The model has {sorted(before)}; yours has {sorted(state)}."
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    moved = [name for name in before if not torch.equal(state[name], before[name])]
    if moved:
        return f"The model was trained, and {moved} of the snapshot moved with it."
    if any(tensor.requires_grad for tensor in state.values()):
        return "It holds on to the graph of gradients: detach the copies."
    return None


@exercise(
    "03.4",
    "How far back is back?",
    PREDICT,
    level=2,
    minutes=8,
    unit="a share, such as 0.5",
    hints=(
        "`snapshot` before anything else, then `apply_global_pruning`, then change the weights.",
        "After `weight_rewinding`, count the zeros in `layer.weight` of all layers.",
        "`layer.weight` is mask × weight. The weights went back. Did the mask?",
    ),
    mistakes={
        "That is where it stood before pruning. Does a mask go back?": 0.0,
        "That is the share that is *left*.": 0.1,
    },
    tolerance=1e-3,
)
def sparsity_after_rewinding():
    """A new `lenet300` is pruned to 90 % and then rewound to a snapshot from *before* the pruning.
    Which share of its weights is zero now? Guess first, then measure it.
    """
    model = lenet300(seed=0)
    start = snapshot(model)
    apply_global_pruning(model, sparsity=0.9)
    weight_rewinding(model, start)
    layers = (model.fc1, model.fc2, model.fc3)
    weights = torch.cat([layer.weight.flatten() for layer in layers])
    return (weights == 0).float().mean().item()
