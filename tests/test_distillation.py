"""The loss is the paper's, keeps its scale at every T, and leaves the teacher alone."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from prunelab.distillation import distill, kd_loss
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.training import evaluate, fit
from tests.helpers import same, state

CLASSES = 10
GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 8, CLASSES, generator=GENERATOR)
LABELS = torch.randint(CLASSES, (8,), generator=GENERATOR)


def soft_gradient(T: float, loss=kd_loss) -> torch.Tensor:
    outputs = STUDENT.clone().requires_grad_()
    loss(outputs, TEACHER, LABELS, T=T, alpha=0).backward()
    return outputs.grad


def without_t_squared(outputs, teacher_outputs, labels, T, alpha):
    return kd_loss(outputs, teacher_outputs, labels, T=T, alpha=alpha) / T**2


def test_alpha_one_is_cross_entropy():
    loss = kd_loss(STUDENT, TEACHER, LABELS, alpha=1)
    assert loss.item() == pytest.approx(F.cross_entropy(STUDENT, LABELS).item())


def test_alpha_zero_does_not_look_at_the_labels():
    losses = [kd_loss(STUDENT, TEACHER, labels, alpha=0) for labels in (LABELS, LABELS.flip(0))]
    assert losses[0] == losses[1]


def test_a_student_like_its_teacher_has_no_soft_loss():
    assert kd_loss(TEACHER, TEACHER + 7, LABELS, alpha=0).item() == pytest.approx(0, abs=1e-5)


def test_divergence_is_that_of_the_student_from_the_teacher():
    p, q = TEACHER.softmax(1), STUDENT.softmax(1)
    expected = (p * (p / q).log()).sum(1).mean().item()
    assert kd_loss(STUDENT, TEACHER, LABELS, T=1, alpha=0).item() == pytest.approx(expected)


def test_no_gradient_flows_into_the_teacher():
    outputs, teacher_outputs = (t.clone().requires_grad_() for t in (STUDENT, TEACHER))
    kd_loss(outputs, teacher_outputs, LABELS).backward()
    assert teacher_outputs.grad is None
    assert outputs.grad.abs().sum() > 0


def test_trap_9_soft_gradient_keeps_its_size_at_high_temperature():
    expected = ((STUDENT - STUDENT.mean(1, True)) - (TEACHER - TEACHER.mean(1, True))) / 8 / CLASSES
    torch.testing.assert_close(soft_gradient(T=200), expected, rtol=0.05, atol=1e-4)


def test_trap_9_soft_gradient_vanishes_without_t_squared():
    ratio = soft_gradient(T=20).norm() / soft_gradient(T=200).norm()
    assert ratio.item() == pytest.approx(1, rel=0.1)
    ratio = (
        soft_gradient(20, without_t_squared).norm() / soft_gradient(200, without_t_squared).norm()
    )
    assert ratio.item() == pytest.approx(100, rel=0.1)


@pytest.mark.filterwarnings("ignore:reduction. .mean. divides")
def test_trap_9_reduction_mean_is_as_many_times_too_small_as_there_are_classes():
    mean = F.kl_div((STUDENT / 3).log_softmax(1), (TEACHER / 3).softmax(1), reduction="mean").item()
    loss = kd_loss(STUDENT, TEACHER, LABELS, T=3, alpha=0).item()
    assert loss == pytest.approx(CLASSES * 3**2 * mean, rel=1e-4)


def test_trap_9_probabilities_give_torch_a_negative_loss_and_kd_loss_refuses_them():
    probabilities = STUDENT.softmax(1)
    negative = F.kl_div(probabilities, TEACHER.softmax(1), reduction="batchmean")
    assert negative < 0
    with pytest.raises(ValueError, match="outputs are probabilities"):
        kd_loss(probabilities, TEACHER, LABELS)


def test_log_probabilities_are_class_scores_too():
    loss = kd_loss(STUDENT.log_softmax(1), TEACHER.log_softmax(1), LABELS)
    assert loss.item() == pytest.approx(kd_loss(STUDENT, TEACHER, LABELS).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": 0}, "T=0 must be greater than 0"),
        ({"T": -1.0}, "T=-1.0 must be greater than 0"),
        ({"T": math.nan}, "T=nan must be"),
        ({"T": math.inf}, "T=inf must be"),
        ({"alpha": 1.1}, r"alpha=1\.1 must be from 0"),
        ({"alpha": -0.1}, r"alpha=-0\.1 must be from 0"),
        ({"alpha": math.nan}, "alpha=nan must be"),
        ({"teacher_outputs": TEACHER[:, :5]}, r"outputs \(8, 10\) and teacher_outputs \(8, 5\)"),
        ({"teacher_outputs": TEACHER[:1]}, r"outputs \(8, 10\) and teacher_outputs \(1, 10\)"),
        ({"outputs": TEACHER[0], "teacher_outputs": TEACHER[0]}, "one shape"),
        ({"labels": LABELS[:7]}, r"labels \(7,\) must have one class for each of the 8 images"),
        ({"labels": TEACHER.softmax(1)}, r"labels \(8, 10\) must"),
        ({"outputs": STUDENT.softmax(1)}, "^outputs are probabilities"),
        ({"outputs": STUDENT.bfloat16().softmax(1)}, "^outputs are probabilities"),
        ({"teacher_outputs": TEACHER.softmax(1)}, "teacher_outputs are probabilities"),
    ],
)
def test_error_names_what_is_wrong(change, message):
    call = {"outputs": STUDENT, "teacher_outputs": TEACHER, "labels": LABELS} | change
    with pytest.raises(ValueError, match=message):
        kd_loss(**call)


@pytest.mark.parametrize("options", [{"T": 0}, {"alpha": 2}])
def test_distill_refuses_before_training(options):
    with pytest.raises(ValueError, match="must be"):
        distill(lenet300(seed=0), **options)


def test_distill_is_kd_loss_of_the_teacher_in_evaluation_mode(data):
    teacher = small_convnet(width=4, seed=0).train()
    x, y = data.train.x[:8], data.train.y[:8]
    loss = distill(teacher, T=2.0, alpha=0.3)(STUDENT, y, x)
    with torch.no_grad():
        in_training = kd_loss(STUDENT, copy.deepcopy(teacher)(x), y, T=2.0, alpha=0.3)
        expected = kd_loss(STUDENT, copy.deepcopy(teacher).eval()(x), y, T=2.0, alpha=0.3)
    assert loss == expected
    assert loss != in_training


def test_trap_9_teacher_is_left_as_it_is(data):
    teacher = small_convnet(width=4, seed=0).train()
    before, loss = state(teacher), distill(teacher)
    first = loss(STUDENT, LABELS, data.train.x[:8])
    fit(lenet300(seed=1), data, steps=2, loss=loss, device="cpu", progress=False)
    assert same(state(teacher), before)
    assert all(module.training for module in teacher.modules())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert loss(STUDENT, LABELS, data.train.x[:8]) == first  # its statistics stayed too


def test_a_network_can_be_its_own_teacher(data):
    model = lenet300(seed=0)
    loss = distill(model)
    before = loss(STUDENT, LABELS, data.train.x[:8])
    apply_global_pruning(model, sparsity=0.9)
    fit(model, data, steps=2, loss=loss, device="cpu", progress=False)
    assert loss(STUDENT, LABELS, data.train.x[:8]) == before


def test_student_approaches_its_teacher(data):
    teacher = lenet300(seed=0)
    fit(teacher, data, steps=30, device="cpu", progress=False)
    student, loss = lenet300(seed=1), distill(teacher, alpha=0)

    def distance() -> float:
        with torch.no_grad():
            return loss(student(data.valid.x), data.valid.y, data.valid.x).item()

    before = distance()
    fit(student, data, steps=30, loss=loss, device="cpu", progress=False)
    assert distance() < 0.3 * before
    assert evaluate(student, data.valid).accuracy > 0.5  # and it has never seen a label
