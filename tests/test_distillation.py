"""The loss is the paper's, keeps its scale at every T, and leaves the teacher alone."""

import copy

import pytest
import torch

from prunelab.distillation import distill, kd_loss
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.training import fit
from tests.helpers import left_as_it_was

CLASSES = 10
GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 8, CLASSES, generator=GENERATOR)
LABELS = torch.randint(CLASSES, (8,), generator=GENERATOR)


def soft_gradient(T: float) -> torch.Tensor:
    outputs = STUDENT.clone().requires_grad_()
    kd_loss(outputs, TEACHER, LABELS, T=T, alpha=0).backward()
    return outputs.grad


def test_no_gradient_flows_into_the_teacher():
    outputs, teacher_outputs = (t.clone().requires_grad_() for t in (STUDENT, TEACHER))
    kd_loss(outputs, teacher_outputs, LABELS).backward()
    assert teacher_outputs.grad is None
    assert outputs.grad.abs().sum() > 0


def test_soft_gradient_keeps_its_size_at_high_temperature():
    expected = ((STUDENT - STUDENT.mean(1, True)) - (TEACHER - TEACHER.mean(1, True))) / 8 / CLASSES
    torch.testing.assert_close(soft_gradient(T=200), expected, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize(
    "scores", [lambda z: z.log_softmax(1), lambda z: z - z.mean(1, True) + 1 / CLASSES]
)
def test_log_probabilities_and_scores_that_happen_to_add_up_to_one_are_scores_too(scores):
    loss = kd_loss(scores(STUDENT), scores(TEACHER), LABELS)
    assert loss.item() == pytest.approx(kd_loss(STUDENT, TEACHER, LABELS).item(), rel=1e-5)


def test_hot_half_precise_and_positive_scores_are_fine():
    scores = STUDENT.softmax(1)
    for outputs, T in ((STUDENT, 1e6), (STUDENT.bfloat16(), 3.0), (1.5 * scores, 3.0)):
        assert kd_loss(outputs, outputs, LABELS, T=T).isfinite()


def test_distill_is_kd_loss_of_the_teacher_in_evaluation_mode(data):
    teacher = small_convnet(width=4, seed=0).train()
    x, y = data.train.x[:8], data.train.y[:8]
    loss = distill(teacher, T=2.0, alpha=0.3)(STUDENT, y, x)
    default = distill(teacher)(STUDENT, y, x)
    with torch.no_grad():
        in_training = kd_loss(STUDENT, copy.deepcopy(teacher)(x), y, T=2.0, alpha=0.3)
        expected = kd_loss(STUDENT, copy.deepcopy(teacher).eval()(x), y, T=2.0, alpha=0.3)
        by_hand = kd_loss(STUDENT, copy.deepcopy(teacher).eval()(x), y, T=3.0, alpha=0.5)
    assert loss == expected
    assert default == by_hand
    assert kd_loss(STUDENT, TEACHER, y) == kd_loss(STUDENT, TEACHER, y, T=3.0, alpha=0.5)
    assert loss != in_training


def test_teacher_is_left_as_it_is(data):
    teacher = small_convnet(width=4, seed=0).train()
    loss = distill(teacher)
    first = loss(STUDENT, LABELS, data.train.x[:8])
    with left_as_it_was(teacher):
        fit(lenet300(seed=1), data, steps=2, loss=loss, device="cpu", progress=False)
    assert loss(STUDENT, LABELS, data.train.x[:8]) == first  # its statistics stayed too


def test_a_network_can_be_its_own_teacher(data):
    model = lenet300(seed=0)
    loss = distill(model)
    before = loss(STUDENT, LABELS, data.train.x[:8])
    apply_global_pruning(model, sparsity=0.9)
    fit(model, data, steps=2, loss=loss, device="cpu", progress=False)
    assert loss(STUDENT, LABELS, data.train.x[:8]) == before
