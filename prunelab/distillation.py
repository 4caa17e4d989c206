"""Knowledge distillation: a small network learns from a large one's outputs (notebook 02)."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks.outputs import check_scores_and_labels, check_temperature
from prunelab.checks.tensors import check_model


def kd_loss(
    outputs: Tensor, teacher_outputs: Tensor, labels: Tensor, T: float = 3.0, alpha: float = 0.5
) -> Tensor:
    r"""Cross-entropy on the labels, and divergence from the teacher's softened outputs.

    $$\mathcal{L} = \alpha \, \mathrm{CE}(z, y) + (1 - \alpha) \, T^2 \, \frac{1}{B} \sum_{b=1}^{B}
    \mathrm{KL}\big(\operatorname{softmax}(t_b / T) \,\|\, \operatorname{softmax}(z_b / T)\big)
    \tag{2.1}$$

    for the student's class scores $z$, the teacher's $t$ and a batch of $B$ images. A higher
    temperature $T$ softens both distributions, and the gradient of their divergence shrinks as
    $1 / T^2$; the factor $T^2$ makes up for most of it, so that the teacher's share does not
    vanish at high $T$.

    Args:
        outputs: the student's class scores (logits) `[B, classes]`.
        teacher_outputs: the teacher's class scores, same shape. No gradient flows into them.
        labels: the right classes `[B]`, int64.
        T: temperature, greater than 0.
        alpha: weight of the cross-entropy, from 0 (teacher only) to 1 (labels only).

    Returns:
        The loss in nats, a scalar.

    Raises:
        ValueError: shapes that do not fit, T or alpha out of range, probabilities where class
            scores are wanted, no image.

    Source: Hinton, Vinyals & Dean (2015), arXiv:1503.02531.
    """
    check_temperature(T, alpha)
    check_scores_and_labels(outputs, teacher_outputs, labels)
    divergence = F.kl_div(
        F.log_softmax(outputs / T, dim=1),
        F.log_softmax(teacher_outputs.detach() / T, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return alpha * F.cross_entropy(outputs, labels) + (1 - alpha) * T**2 * divergence


def distill(teacher: nn.Module, T: float = 3.0, alpha: float = 0.5) -> Callable:
    """A loss for `fit` that distills `teacher` into the network being trained: equation (2.1).

    The loss keeps a frozen copy of the teacher, in evaluation mode and without gradients, on the
    device of the images. So a network can be its own teacher: pruning and training the original
    afterwards does not touch the copy.

    Args:
        teacher: a trained network with the same classes. It is left as it is.
        T: temperature, greater than 0.
        alpha: weight of the cross-entropy, from 0 to 1.

    Returns:
        `loss(outputs, labels, inputs)`, a scalar in nats.

    Raises:
        ValueError: T or alpha out of range; in training, what `kd_loss` raises.

    Example:
        >>> fit(pruned, data, epochs=1, loss=distill(dense, T=3.0, alpha=0.5))
    """
    check_temperature(T, alpha)
    check_model(teacher, "teacher")
    frozen = copy.deepcopy(teacher).eval()

    def loss(outputs: Tensor, labels: Tensor, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            teacher_outputs = frozen.to(inputs.device)(inputs)
        return kd_loss(outputs, teacher_outputs, labels, T=T, alpha=alpha)

    return loss
