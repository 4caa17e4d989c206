"""Checks for the exercises: each answer gets its own feedback, at once.

A check takes an answer and returns what is wrong with it, or None. Answers that rest on a known
misunderstanding are told which one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CHECKS: dict[str, Callable] = {}


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
    def register(function: Callable) -> Callable:
        CHECKS[number] = function
        return function

    return register


@exercise("00.1")
def compression_ratio(answer: Callable) -> str | None:
    for sparsity, right in ((0.0, 1.0), (0.5, 2.0), (0.9, 10.0), (0.99, 100.0)):
        value = answer(sparsity)
        if not math.isclose(value, right, rel_tol=1e-6):
            if math.isclose(value, 1 - sparsity):
                return "That is the density. The ratio is original / compressed, so 1 or more."
            return f"At sparsity {sparsity} it should be {right:g}, and yours is {value:g}."
    return None


@exercise("00.2")
def half_width(answer: Callable) -> str | None:
    values = [0.911, 0.917, 0.913, 0.909, 0.915]
    mean = sum(values) / 5
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / 4)
    right = 2.7764451 * deviation / math.sqrt(5)
    value = float(answer(values))
    if math.isclose(value, right, rel_tol=1e-3):
        return None
    if math.isclose(value, 1.96 * deviation / math.sqrt(5), rel_tol=1e-3):
        return "1.96 is for many seeds; with five, Student's t with 4 degrees of freedom is 2.776."
    if math.isclose(value, right * math.sqrt(4 / 5), rel_tol=1e-3):
        return "Divide the squares by n − 1, not n: the mean was estimated from the same values."
    if math.isclose(value, right * math.sqrt(5), rel_tol=1e-3):
        return "That is the spread of single runs; the mean of n runs is √n times more certain."
    return f"For {values} it should be {right:.5f}, and yours is {value:.5f}."


@exercise("01.1")
def sparsity_after(answer: Callable) -> str | None:
    for amount, rounds in ((0.1, 5), (0.2, 3), (0.5, 2)):
        right, value = 1 - (1 - amount) ** rounds, answer(amount, rounds)
        if math.isclose(value, amount * rounds, rel_tol=1e-9):
            return f"{rounds} × {amount} counts weights twice: each round takes from what is left."
        if not math.isclose(value, right, rel_tol=1e-9):
            return f"For amount {amount}, {rounds} rounds: {right:.4f}, and yours is {value:.4f}."
    return None


@exercise("01.2")
def amount_per_round(answer: float) -> str | None:
    if math.isclose(answer, 1 - 0.5**0.2, abs_tol=5e-5):
        return None
    if math.isclose(answer, 0.1, abs_tol=1e-9):
        return "Five times 0.1 ends at 40.95 %. Solve (1 − a)⁵ = 0.5 for a."
    return f"Five rounds of {answer} end at {1 - (1 - answer) ** 5:.2%}, not at 50 %."


@exercise("01.3")
def exact_mask(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(7, 11, generator=generator)
    tied = torch.randint(-2, 3, (10, 10), generator=generator).float()
    for weights, what in ((distinct, "distinct weights"), (tied, "weights that tie")):
        for sparsity in (0.0, 0.3, 0.8):
            mask = answer(weights.clone(), sparsity)
            if tuple(mask.shape) != tuple(weights.shape):
                return (
                    f"The mask has shape {tuple(mask.shape)}, the weights {tuple(weights.shape)}."
                )
            right = round(sparsity * weights.numel())
            pruned = int((~mask.bool()).sum())
            if pruned != right:
                return f"With {what} at sparsity {sparsity} it prunes {pruned} instead of {right}."
            kept, gone = weights[mask.bool()].abs(), weights[~mask.bool()].abs()
            if right and kept.min() < gone.max():
                return f"With {what} it prunes a weight that is larger than one it keeps."
    return None


@exercise("06.1")
def csr_break_even(answer: float) -> str | None:
    if math.isclose(answer, 0.5, abs_tol=0.005):
        return None
    if math.isclose(answer, 1 / 3, abs_tol=0.005):
        return "That is for 64-bit column indices, 12 bytes a kept weight; take 32-bit ones."
    return "A kept weight costs 4 bytes of value and 4 of column; a dense weight costs 4."


@exercise("06.2")
def permanent_weight(answer: Callable) -> str | None:
    weight, mask = torch.tensor([1.5, -2.0, 3.0, -4.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    result = answer(weight.clone(), mask.clone())
    if not torch.equal(result, weight * mask):
        return f"For {weight.tolist()} and {mask.tolist()} yours is {result.tolist()}."
    if torch.signbit(result[result == 0]).any():
        return "−2.0 × 0 is −0.0: a zero with its sign bit set, which spoils compression."
    return None


@exercise("07.1")
def whole_model_sparsity(answer: float) -> str | None:
    if math.isclose(answer, 900 / 266_200, rel_tol=2e-3):
        return None
    if math.isclose(answer, 0.9, abs_tol=1e-6):
        return "That is the sparsity of one layer. Divide by the weights of all three."
    if math.isclose(answer, 0.3, abs_tol=1e-6):
        return "A mean over layers weighs 1,000 weights like 235,200. Count weights instead."
    return "900 weights are pruned; how many are there in fc1, fc2 and fc3 together?"


@exercise("07.2")
def density_that_pays(answer: Callable) -> str | None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "sparsity": [0.5, 0.8, 0.9, 0.95, 0.5, 0.8, 0.9, 0.95],
            "format": ["dense"] * 4 + ["CSR"] * 4,
            "median": [1.0, 1.0, 1.0, 1.0, 3.0, 1.2, 0.6, 0.3],
        }
    )
    value = answer(table)
    if value == 0.9:
        return None
    return f"For a table where CSR takes 3, 1.2, 0.6, 0.3 against 1 it is 0.9; yours is {value}."


@exercise("04.1")
def cosine_rate(answer: Callable) -> str | None:
    for step, steps, lr in ((0, 40, 0.1), (20, 40, 0.1), (30, 40, 0.02), (40, 40, 0.02)):
        right, value = lr * (1 + math.cos(math.pi * step / steps)) / 2, answer(step, steps, lr)
        if not math.isclose(value, right, abs_tol=1e-6):
            if math.isclose(value, lr * (1 + math.cos(step / steps)) / 2, abs_tol=1e-6):
                return "It does not get to zero: half a cosine is π long, not 1."
            if math.isclose(value, lr * (1 + math.cos(math.pi * step / 100)) / 2, abs_tol=1e-6):
                return "That is T_max=100 whatever the steps: the guide's mistake."
            return f"At step {step} of {steps} from {lr}: {right:.5f}, and yours is {value:.5f}."
    return None


@exercise("04.2")
def rewound_rate(answer: float) -> str | None:
    if math.isclose(answer, 0.01, rel_tol=1e-6):
        return None
    if math.isclose(answer, 0.1, rel_tol=1e-6):
        return "That is where the whole schedule begins; only its last 600 steps are repeated."
    return "The last 600 of 2,000 steps begin at step 1,400. What was the rate there?"


@exercise("08.1")
def amounts_of(answer: Callable) -> str | None:
    for targets in ([0.5, 0.75], [0.1, 0.2, 0.3, 0.4, 0.5], [0.3, 0.9]):
        before = torch.tensor([0.0, *targets[:-1]], dtype=torch.float64)
        taken = torch.tensor(targets, dtype=torch.float64) - before
        right = taken / (1 - before)
        value = torch.as_tensor(list(answer(list(targets))), dtype=torch.float64)
        if value.shape == taken.shape and torch.allclose(value, taken):
            return "Those are shares of all weights; divide each by the share still there."
        if value.shape != right.shape or not torch.allclose(value, right, atol=1e-6):
            amounts = [round(amount, 4) for amount in right.tolist()]
            return f"For {targets} it should be {amounts}, and yours is {value.tolist()}."
    return None


@exercise("08.2")
def fair_epochs(answer: float) -> str | None:
    if answer == 150:
        return None
    if answer == 50:
        return "Three rounds of 50 epochs: gradual pruning would get three times the training."
    return "Fair is what costs the same in all. How many epochs are three rounds of 50?"


@exercise("09.1")
def passes_until_fresh(answer: int) -> str | None:
    if answer == 44:
        return None
    if answer == 10:
        return "Ten passes keep 0.9¹⁰ = 35 % of the stale statistics."
    if isinstance(answer, int):
        return (
            f"{answer} passes keep {0.9**answer:.2%}; the fewest that keep at most 1 % are asked."
        )
    return "A whole number of passes: solve 0.9ⁿ ≤ 0.01 for n, and round up."


@exercise("09.2")
def batch_statistics(answer: Callable) -> str | None:
    x = torch.randn(8, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * 2 + 1
    mean, variance = answer(x.clone())
    if tuple(mean.shape) != (3,) or tuple(variance.shape) != (3,):
        return f"One number a channel is wanted, [3]; yours are {tuple(mean.shape)}."
    if not torch.allclose(mean, x.mean((0, 2, 3)), atol=1e-5):
        return "The mean goes over the images and over all pixels of a channel."
    if torch.allclose(variance, x.var((0, 2, 3), correction=0), atol=1e-5):
        return "Running variances are unbiased: divide by n − 1, not by n."
    if not torch.allclose(variance, x.var((0, 2, 3)), atol=1e-4):
        return "The variance goes over the same values as the mean."
    return None


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


@exercise("05.1")
def wrong_index(answer: str) -> str | None:
    name = str(answer).removeprefix("bn1.")
    if name == "running_mean":
        return None
    if name in ("weight", "bias", "running_var", "conv1.weight", "conv2.weight"):
        return f"{answer} is cut at `kept`, as it should be. Compare the indices line by line."
    return 'Name the tensor whose entries are the wrong ones, such as "running_var".'


@exercise("05.2")
def columns_after_flatten(answer: Callable) -> str | None:
    for kept, size, right in (([1], 2, [4, 5, 6, 7]), ([0, 2], 2, [0, 1, 2, 3, 8, 9, 10, 11])):
        columns = [int(column) for column in answer(kept, size)]
        if columns == kept:
            return "After flattening, a channel is not one column: it owns size × size of them."
        if columns == [k * size + i for k in kept for i in range(size)]:
            return "A map has size × size pixels, and each of them is a column."
        if columns != right:
            return f"For kept={kept} on a {size}×{size} map it should be {right}, not {columns}."
    return None


@exercise("05.3")
def macs_left(answer: float) -> str | None:
    if math.isclose(answer, 1 / 16, abs_tol=1e-3):
        return None
    if math.isclose(answer, 0.25, abs_tol=1e-3):
        return "The layer writes a quarter of its channels, and also reads only a quarter."
    return "Multiply the share of filters that are left by the share of inputs each still reads."


@exercise("10.1")
def norms_that_disagree(answer: list) -> str | None:
    filters = torch.tensor(answer, dtype=torch.float64)
    if filters.shape != (2, 3):
        return f"Two filters of three weights are wanted; yours have shape {list(filters.shape)}."
    l1, l2 = filters.abs().sum(1), filters.square().sum(1).sqrt()
    if l1[0] < l1[1] and l2[0] > l2[1]:
        return None
    if l1[0] > l1[1] and l2[0] < l2[1]:
        return "They disagree, but the other way round: the filter of the lower norm is pruned."
    return f"The L1 norms are {l1.tolist()}, the L2 norms {l2.tolist()}: here they do not disagree."


@exercise("10.2")
def penalty_step(answer: Callable) -> str | None:
    for w in (0.5, -0.25, 0.01):
        sign = math.copysign(1, w)
        l1, l2 = answer(w, 0.1, 0.2)
        if w < 0 and math.isclose(l1, w - 0.02):
            return f"L1 pulls toward zero: a negative weight such as {w} must rise."
        if not math.isclose(l1, w - 0.02 * sign):
            return f"Under L1, {w} should become {w - 0.02 * sign:g}, and yours is {l1:g}."
        if math.isclose(l2, w * 0.96):
            return "The ½ in R₂ cancels the 2 of the derivative: its gradient is w itself."
        if not math.isclose(l2, w * 0.98):
            return f"Under L2, {w} should become {w * 0.98:g}, and yours is {l2:g}."
    return None


@exercise("03.1")
def rewound_layer(answer: Callable) -> str | None:
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


@exercise("03.2")
def barrier_of_errors(answer: Callable) -> str | None:
    value = answer([0.10, 0.30, 0.25, 0.14])
    if math.isclose(value, 0.18, abs_tol=1e-9):
        return None
    if math.isclose(value, 0.30, abs_tol=1e-9):
        return "That is the height above zero; subtract the mean error of the two ends."
    return f"For errors 0.10, 0.30, 0.25, 0.14 it is 0.18; yours is {value:.2f}."


@exercise("11.1")
def mask_after_round(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    distinct = torch.randn(6, 8, generator=generator)
    tied = torch.randint(-3, 4, (6, 8), generator=generator).float()
    mask = torch.ones(48, dtype=torch.bool)
    mask[torch.randperm(48, generator=generator)[:19]] = False
    mask = mask.view(6, 8)
    for weight, what in ((distinct, "distinct weights"), (tied, "weights that tie")):
        for rate in (0.2, 0.4):
            result = torch.as_tensor(answer(weight.clone(), mask.clone(), rate))
            problem = _round_problem(result, weight, mask, rate)
            if problem is not None:
                return f"With {what}, 29 of 48 left, at rate {rate}: {problem}"
    return None


def _round_problem(result: Tensor, weight: Tensor, mask: Tensor, rate: float) -> str | None:
    new, left = result.bool(), int(mask.sum())
    if result.shape != mask.shape or not torch.equal(result, new.to(result.dtype)):
        return f"a mask {tuple(mask.shape)} of True and False, or 1 and 0, is wanted."
    gone = mask & ~new
    right, pruned = round(rate * left), int(gone.sum())
    if new[~mask].all() and pruned == left - right:
        return "the mask is inverted; it is True where a weight is kept."
    if (new & ~mask).any():
        return "a weight pruned before is back. What is pruned stays pruned."
    if pruned == round(rate * mask.numel()):
        return f"{pruned} go, a share of all weights. The rate is of those still there: {right}."
    if pruned == left - right:
        return f"{pruned} go and {right} stay; the rate is the share that goes."
    if pruned != right and len(weight[mask].abs().unique()) < left:
        return f"{pruned} go, not {right}. A threshold takes all equals or none; count instead."
    if pruned < int(rate * left):
        return f"only {pruned} go, not {right}. Rank no weights but those still there."
    if pruned != right:
        return f"{pruned} go, and it should be {right}."
    if torch.equal(weight[gone].sort()[0], weight[mask].sort()[0][:right]):
        return "the most negative weights go. Low is meant in magnitude, whatever the sign."
    if weight[new].abs().min() < weight[gone].abs().max():
        return "a weight goes that is larger in magnitude than one that stays."
    return None


@exercise("11.2")
def early_stopped(answer: Callable) -> str | None:
    import pandas as pd

    history = pd.DataFrame(
        {
            "iteration": range(0, 900, 100),
            "valid_loss": [2.3, 0.5, 0.42, 0.44, 0.4, 0.4, 0.45, 0.6, 0.65],
            "valid_accuracy": [0.1, 0.82, 0.85, 0.84, 0.86, 0.87, 0.885, 0.88, 0.875],
            "test_accuracy": [0.1, 0.81, 0.84, 0.83, 0.85, 0.855, 0.86, 0.88, 0.87],
        }
    )
    told = {
        0.1: "That is where the loss is highest.",
        0.84: "The loss rises there but falls lower later; look at the whole training.",
        0.855: "Two losses are equally low; the earlier one counts.",
        0.86: "That is where validation accuracy is highest; the loss decides.",
        0.87: "That is the end of the training, where the loss has long risen again.",
        0.88: "That is the best test accuracy: the test images must not choose.",
    }
    result = answer(history.copy())
    if not hasattr(result, "__len__") or len(result) != 2:
        return "Two numbers are wanted: the iteration, and the test accuracy there."
    iteration, accuracy = (round(float(value), 4) for value in result)
    if accuracy in told:
        return told[accuracy]
    if (iteration, accuracy) == (4, 0.85):
        return "4 is the row's place in the table; the column `iteration` says 400."
    if (iteration, accuracy) != (400, 0.85):
        return f"It should be 400 and 0.85 for\n{history}\nand yours is {iteration:g}, {accuracy}."
    part = history.set_index(history.index + 1)
    if [round(float(value), 4) for value in answer(part)] != [400, 0.85]:
        return "With an index that starts at 1 it finds another row: a label is no position."
    return None


@exercise("11.3")
def random_reinit(answer: Callable) -> str | None:
    generator = torch.Generator().manual_seed(0)
    initial, moved, fresh = torch.randn(3, 6, 8, generator=generator)
    trained = initial + moved
    mask = trained.abs() > trained.abs().median()
    start = answer(initial.clone(), trained.clone(), mask.clone(), fresh.clone())
    if torch.equal(start, fresh * mask):
        return None
    if start.shape != mask.shape:
        return (
            f"Weights {tuple(mask.shape)} are wanted, pruned ones zero; not {tuple(start.shape)}."
        )
    if start.all():
        return "That is dense: it has twice the weights of the ticket. Where is the mask?"
    if torch.equal(start, initial * mask):
        return "That is the ticket itself; its weights are what the control must not have."
    if torch.equal(start, trained * mask):
        return "Those weights are trained; ticket and control both start from untrained ones."
    if torch.equal(start, fresh * (fresh.abs() > fresh.abs().median())):
        return "The new weights' own magnitudes chose the mask. The control has the ticket's."
    if not torch.equal(start != 0, mask):
        if torch.equal(start, initial * (start != 0)):
            return "Initial weights at other places are another control, the random mask."
        return "Other weights are kept than in the ticket. Change one thing, not two."
    return "The places are the ticket's, as they should be, but the weights are not the new ones."


@exercise("12.1")
def sparsity_of_equal_weights(answer: Callable) -> str | None:
    for ratio in (0.25, 0.5, 0.75):
        value = answer(ratio)
        if math.isclose(value, (1 - ratio) ** 2):
            return "That is the density, the share that is left."
        if math.isclose(value, ratio):
            return "The filters that stay also read fewer channels, so more weights go."
        if not math.isclose(value, 1 - (1 - ratio) ** 2):
            return f"At ratio {ratio} it should be {1 - (1 - ratio) ** 2:g}; yours is {value:g}."
    return None


@exercise("12.2")
def macs_by_layer(answer: float) -> str | None:
    if math.isclose(answer, 16):
        return None
    if math.isclose(answer, 1 / 16):
        return "The other way round: the second way leaves the layer with the large maps."
    if math.isclose(answer, 4):
        return "A weight is used at every pixel of the map; count pixels, not rows."
    return "Every weight costs one MAC at each pixel of the map its layer makes."
