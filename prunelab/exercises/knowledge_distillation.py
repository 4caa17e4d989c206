"""Exercises of notebook 02."""

import copy
import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from prunelab.data import load_data
from prunelab.exercises.exercise import FIND_THE_BUG, IMPLEMENT, PREDICT, REASON, exercise
from prunelab.models import pretrained


@exercise(
    "02.1",
    "What temperature does to two scores",
    REASON,
    level=1,
    minutes=4,
    unit="a number, such as 1.5",
    hints=(
        "Write down softmax for both classes. What do the two fractions have in common?",
        "The denominators cancel. The ratio is exp of the *difference* of the two scores.",
        "First divide both scores by T = 3. Then take exp of their difference.",
    ),
    mistakes={
        "That is at T = 1. Divide both scores by T first.": math.exp(6),
        "T divides the scores, not the ratio of the probabilities.": math.exp(6) / 3,
        "That is the difference of the scores at T = 3. Softmax takes exp of it.": 2.0,
        "That is the probability of the shirt. How many times as large is it as that of the "
        "coat?": 1 / (1 + math.exp(-2)),
    },
)
def softened_odds():
    """A teacher gives a shirt the score 6 and a coat the score 0. At temperature 3, how many times
    as probable as the coat is the shirt?
    """
    return math.exp(6 / 3 - 0 / 3)


@exercise(
    "02.2",
    "What a teacher must save",
    REASON,
    level=2,
    minutes=5,
    unit="a share, such as 0.5",
    hints=(
        "Count in forward passes. What does a step cost without the teacher, and what with it?",
        "Three units of work become four. Fewer steps must make up for it.",
        "If a share s is saved, (1 − s) · 4 = 3.",
    ),
    mistakes={
        "With a third fewer steps the teacher is already ahead: 2/3 · 4 is less than 3.": 1 / 3,
        "That is the share of the steps that is left.": 3 / 4,
        "That is how much more a step costs. How many fewer steps make up for it?": 4 / 3,
    },
)
def steps_worth_it():
    """A training step is a forward pass, and a backward pass that costs twice as much. The teacher
    adds one more forward pass. Which share of the steps must it save to break even in time?
    """
    return 1 - 3 / 4


def pairs_of_scores() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)

    def scores(*shape: int) -> torch.Tensor:
        return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)

    same = scores(3, 4)
    sizes = [((4, 10), 3.0), ((1, 3), 1.0), ((7, 2), 8.0), ((5, 6), 0.5)]
    return [*((scores(*size), scores(*size), T) for size, T in sizes), (same, same, 2.0)]


def divergence(outputs, teacher_outputs, T, factor=2, student_T=None):
    """The teacher's part of each image and class; or, with other arguments, a wrong one."""
    student = (outputs / (student_T or T)).log_softmax(dim=1)
    teacher = (teacher_outputs / T).log_softmax(dim=1)
    return T**factor * teacher.exp() * (teacher - student)


def mean_of_images(terms):
    return terms.sum(dim=1).mean()


@exercise(
    "02.3",
    "The teacher's part of the loss",
    IMPLEMENT,
    level=3,
    minutes=15,
    hints=(
        "Equation (2.1) stands in the notebook; you need what follows (1 − α). The divergence of "
        "two distributions is KL(p ‖ q) = Σ p · (log p − log q), summed over the classes.",
        "p is the teacher's, q the student's, both softened by T. `log_softmax(dim=1)` gives "
        "their logarithms.",
        "With `p` and `q` as logarithms it is `(p.exp() * (p - q)).sum(dim=1)`. Then the mean "
        "over the images, and the factor T².",
    ),
    cases=pairs_of_scores,
    mistakes={
        "T² is missing. Without it the teacher is not heard at a high temperature.": (
            lambda outputs, teacher_outputs, T: mean_of_images(
                divergence(outputs, teacher_outputs, T, factor=0)
            )
        ),
        "Your factor is T. The gradient shrinks as 1 / T², so T² makes up for it.": (
            lambda outputs, teacher_outputs, T: mean_of_images(
                divergence(outputs, teacher_outputs, T, factor=1)
            )
        ),
        "You take the mean over all numbers. Sum over the classes, and take the mean over the "
        "images.": lambda *given: divergence(*given).mean(),
        "One number is wanted: take the mean over the images.": (
            lambda *given: divergence(*given).sum(dim=1)
        ),
        "You sum over the images; (2.1) takes their mean.": lambda *given: divergence(*given).sum(),
        "That is KL(student ‖ teacher). In (2.1) the teacher comes first.": (
            lambda outputs, teacher_outputs, T: mean_of_images(
                divergence(teacher_outputs, outputs, T)
            )
        ),
        "The student's scores must be divided by T, too.": (
            lambda outputs, teacher_outputs, T: mean_of_images(
                divergence(outputs, teacher_outputs, T, student_T=1.0)
            )
        ),
        "Divide the scores by T before the softmax, the teacher's and the student's.": (
            lambda outputs, teacher_outputs, T: (
                T**2 * mean_of_images(divergence(outputs, teacher_outputs, 1.0))
            )
        ),
        "That can be negative: the student's probabilities need their logarithm, too.": (
            lambda outputs, teacher_outputs, T: (
                T**2
                * F.kl_div(
                    (outputs / T).softmax(dim=1),
                    (teacher_outputs / T).softmax(dim=1),
                    reduction="batchmean",
                )
            )
        ),
        "That is a cross-entropy. It has the same gradient, but it is not 0 where student and "
        "teacher agree: log p is missing.": (
            lambda outputs, teacher_outputs, T: (
                T**2 * F.cross_entropy(outputs / T, (teacher_outputs / T).softmax(dim=1))
            )
        ),
    },
)
def teacher_part(outputs, teacher_outputs, T):
    """Return the teacher's part of (2.1), what follows (1 − α), with T² in it. Both tensors hold
    class scores of shape [images, classes]. Write it with sums and logarithms, without
    `F.kl_div`.
    """
    student = (outputs / T).log_softmax(dim=1)
    teacher = (teacher_outputs / T).log_softmax(dim=1)
    return T**2 * (teacher.exp() * (teacher - student)).sum(dim=1).mean()


@exercise(
    "02.4",
    "A teacher that changes its mind",
    FIND_THE_BUG,
    level=2,
    minutes=8,
    hints=(
        "Which layer of a network looks at all images of a batch at once?",
        "BatchNorm does, in training mode: it takes mean and variance from the batch. "
        "`torch.no_grad()` does not change that.",
        "Put the teacher in evaluation mode before you ask it.",
    ),
)
def soft_targets(teacher, inputs, T):
    """This function asks a teacher with BatchNorm for its softened probabilities. `no_grad` is
    there, and still one and the same image gets other probabilities in another batch. Repair it.
    """
    teacher.eval()
    with torch.no_grad():
        return F.softmax(teacher(inputs) / T, dim=1)


@soft_targets.given
def in_training_mode(teacher, inputs, T):
    with torch.no_grad():
        return F.softmax(teacher(inputs) / T, dim=1)


@soft_targets.check
def _(answer: Callable) -> str | None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        norm, x = nn.BatchNorm1d(6), torch.randn(8, 5)
        teacher = nn.Sequential(nn.Linear(5, 6), norm, nn.ReLU(), nn.Linear(6, 3))
        for _ in range(5):
            teacher(2 * torch.randn(32, 5) + 1)
    right = F.softmax(copy.deepcopy(teacher).eval()(x) / 2, dim=1)
    before = copy.deepcopy(norm.state_dict())
    whole, some = answer(teacher, x, 2.0), answer(teacher, x[:2], 2.0)
    if whole.shape != right.shape:
        return f"A probability an image and class is wanted, {tuple(right.shape)} here."
    if not torch.allclose(whole[:2], some, atol=1e-6):
        return "The same two images get other probabilities among eight than by themselves."
    if any(not torch.equal(norm.state_dict()[name], old) for name, old in before.items()):
        return "Asking the teacher has changed the running statistics of its BatchNorm."
    if whole.requires_grad:
        return "Gradients flow into the teacher: ask it under `torch.no_grad()`."
    if not torch.allclose(whole, right, atol=1e-6):
        return "These are not the softmax of the teacher's scores / T in evaluation mode."
    return None


@exercise(
    "02.5",
    "When the teacher is wrong",
    PREDICT,
    level=2,
    minutes=8,
    unit="a share, such as 0.5",
    hints=(
        "For each image you need the two classes with the highest scores: "
        "`scores.topk(2).indices`.",
        "First find the images whose first class is not the label. Leave out all others.",
        "`(second == y)[first != y]` says for each of them whether the second class is right. "
        "Take the mean of it as floats.",
    ),
    mistakes={
        "That is the share of all images. Count only those where the first choice is wrong.": (
            0.0729
        ),
        "That is how often the first *or* the second is right, over all images.": 0.9727,
    },
)
def second_choice():
    """The shipped `lenet300` names a wrong class for about a tenth of the test images. Of these,
    for which share is its *second* choice the right one? A guess by chance would be right for one
    in nine. Guess first, then measure it.
    """
    test = load_data("fashion-mnist").test
    with torch.no_grad():
        first, second = pretrained("lenet300")(test.x).topk(2).indices.T
    return (second == test.y)[first != test.y].float().mean().item()
