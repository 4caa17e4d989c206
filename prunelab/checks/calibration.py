"""What a gram matrix, a pattern of weights and the layers of a calibration must be."""

from torch import Tensor, nn

from prunelab.checks import check_between, check_fraction, is_whole, said
from prunelab.checks.tensors import check_mask, check_model, check_numbers, check_tensor, check_type


def check_pattern(pattern, columns: int) -> None:
    """Refuse what is no pattern for rows of this length, with a ValueError."""
    n, m = pattern if isinstance(pattern, tuple) and len(pattern) == 2 else (1, 0)
    if not (is_whole(n) and is_whole(m) and 0 <= n <= m and m > 0) or columns % m:
        wanted = f"(n, m), such as (2, 4), where m divides the {columns} weights of a row"
        raise ValueError(f"pattern={said(pattern)} must be {wanted}")


def check_matrix(name: str, value) -> None:
    """Refuse what is no matrix of finite numbers, with a ValueError or a TypeError."""
    check_numbers(name, value)
    if value.dim() != 2 or not value.numel() or not value.isfinite().all():
        raise ValueError(f"{name} must be a matrix of finite numbers [out, in]")


def check_scores(scores) -> None:
    """Refuse what can't be ranked in groups of neighbors in rows, with a ValueError."""
    if check_numbers("scores", scores).dim() != 2 or scores.isnan().any():
        raise ValueError("scores must be a matrix of numbers [out, in], none of them NaN")


def check_gram(gram, weights: Tensor) -> None:
    """Refuse weights that are no matrix, and what can't be the gram matrix of their inputs."""
    check_matrix("weights", weights)
    check_matrix("gram", gram)
    columns = weights.shape[1]
    if gram.shape != (columns, columns) or (gram.diagonal() < 0).any():
        raise ValueError(
            f"gram {tuple(gram.shape)} must be what input_grams gives for weights "
            f"{tuple(weights.shape)}: [{columns}, {columns}], no number of its diagonal below zero"
        )


def check_compensation(weights, gram, kept, sparsity, pattern, damping) -> None:
    """Refuse what SparseGPT can't work with, argument by argument."""
    check_gram(gram, weights)
    check_mask("kept", kept, weights.shape)
    check_fraction("sparsity", sparsity)
    check_between("damping", damping, 1e-9, 1e9)
    if pattern is not None:
        check_pattern(pattern, weights.shape[1])


def check_layers(model, layers, x) -> None:
    """Refuse layers that are not linear ones of the model, or inputs that are no tensor."""
    check_model(model)
    check_type("layers", layers, dict, "a dictionary")
    inside = set(model.modules())
    for name, layer in layers.items():
        if not isinstance(layer, nn.Linear) or layer not in inside:
            raise ValueError(f"layers[{said(name)}] must be a linear layer of the model")
    check_tensor("x", x)
    if not len(x):
        raise ValueError(f"x {tuple(x.shape)} is empty; give some inputs to calibrate on")


def check_reached(layers, grams) -> None:
    """Refuse layers that the forward has not called, so that nothing is known of their inputs."""
    if missing := [name for name in layers if name not in grams]:
        raise ValueError(
            f"model calls no layer {missing} with these inputs x; exclude them, or give others"
        )
