"""Zeros, bytes and formats are counted right, whatever state the model is in."""

import io
import zlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from prunelab.masks import make_pruning_permanent, prunable_layers
from prunelab.models import lenet300, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.sparsity import (
    ALL_PARAMETERS,
    PRUNABLE_WEIGHTS,
    CSRLinear,
    binary_entropy,
    bytes_bound,
    bytes_on_disk,
    check_sparsity,
    count_macs,
    latency,
    total_sparsity,
)
from tests.helpers import left_as_it_was

WEIGHTS, PARAMETERS = 266_200, 266_610
GONE = round(0.9 * WEIGHTS)


def rows(model: nn.Module):
    return check_sparsity(model).set_index("layer")


def masked(sparsity: float = 0.9) -> nn.Module:
    return apply_global_pruning(lenet300(seed=0), sparsity=sparsity)


def sizes(model: nn.Module) -> dict[str, int]:
    return bytes_on_disk(model).set_index("format")["bytes"].to_dict()


def test_both_totals_stand_below_the_layers():
    assert total_sparsity(lenet300(seed=0)) == 0
    table = rows(masked())
    prunable, everything = table.loc[PRUNABLE_WEIGHTS], table.loc[ALL_PARAMETERS]
    assert (prunable["kept"], prunable["total"]) == (WEIGHTS - GONE, WEIGHTS)
    assert (everything["kept"], everything["total"]) == (PARAMETERS - GONE, PARAMETERS)
    assert prunable["sparsity"] == total_sparsity(masked()) == pytest.approx(0.9)
    assert everything["sparsity"] == pytest.approx(GONE / PARAMETERS)
    layers = check_sparsity(small_convnet())["layer"].tolist()
    assert layers == ["conv1", "conv2", "conv3", "fc", PRUNABLE_WEIGHTS, ALL_PARAMETERS]


def test_permanent_model_is_counted_by_its_zeros_and_a_masked_one_by_its_masks():
    model = masked()
    before = check_sparsity(model), bytes_on_disk(model)
    for layer in prunable_layers(model).values():  # hidden weights do not count
        layer.weight_orig.data[layer.weight_mask == 0] += 1
    assert before[0].equals(check_sparsity(model))
    make_pruning_permanent(model)
    assert before[0].equals(check_sparsity(model))
    assert before[1].equals(bytes_on_disk(model))


def test_one_tiny_pruned_layer_does_not_stand_for_the_model():
    model = apply_global_pruning(lenet300(seed=0), sparsity=0.9, exclude=("fc1", "fc2"))
    row = rows(model).loc["fc3"]
    assert (row["kept"], row["total"], row["sparsity"]) == (100, 1000, pytest.approx(0.9))
    assert total_sparsity(model) == pytest.approx(900 / WEIGHTS)


@pytest.mark.parametrize("model", [nn.Sequential(), nn.BatchNorm2d(8)])
def test_model_without_prunable_layer_has_sparsity_zero(model):
    assert total_sparsity(model) == 0
    row = rows(model).loc[ALL_PARAMETERS]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert (row["kept"], row["total"], row["sparsity"]) == (parameters, parameters, 0)
    assert sizes(model)["bitmap"] == 0


@pytest.mark.parametrize("tie", [lambda weight: weight, lambda weight: nn.Parameter(weight.data)])
def test_shared_weights_are_counted_once(tie):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = tie(model[0].weight)
    model[0].weight.data[:2] = 0
    for total in (PRUNABLE_WEIGHTS, ALL_PARAMETERS):
        row = rows(model).loc[total]
        assert (row["kept"], row["total"]) == (8, 16)


def test_parts_of_one_tensor_are_weights_of_their_own():
    memory, model = torch.ones(2, 4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for layer, part in zip(model, memory, strict=True):
        layer.weight = nn.Parameter(part)
    apply_global_pruning(model, 0.5, scope="layerwise")
    assert rows(model).loc[PRUNABLE_WEIGHTS, ["kept", "total"]].tolist() == [16, 32]


def test_what_pruning_never_masks_has_a_row_and_counts_among_all_parameters():
    model = nn.Sequential(
        nn.Embedding(5, 4), nn.LSTM(4, 3), weight_norm(nn.Linear(3, 2)), nn.Linear(2, 2)
    )
    with torch.no_grad():
        model[0].weight[0] = 0
        model[3].weight[0, 0] = 0
    table = rows(model)
    names = ("0.weight", "1.weight_ih_l0", "1.weight_hh_l0", "2.parametrizations.weight.original0",
             "2.parametrizations.weight.original1")  # fmt: skip
    assert table.index.tolist() == [
        "3", *(f"{name} (not counted)" for name in names), PRUNABLE_WEIGHTS, ALL_PARAMETERS
    ]  # fmt: skip
    assert table["kept"].tolist()[:3] == [3, 16, 48]
    assert table.loc[PRUNABLE_WEIGHTS, ["kept", "total"]].tolist() == [3, 4]
    total = sum(parameter.numel() for parameter in model.parameters())
    assert table.loc[ALL_PARAMETERS, ["kept", "total"]].tolist() == [total - 1, total]


def test_bytes_of_every_format():
    model, kept = masked(), WEIGHTS - GONE
    with left_as_it_was(model):
        table = bytes_on_disk(model)
    assert (table["ratio"] == table["bytes"].iloc[0] / table["bytes"]).all()
    size = table.set_index("format")["bytes"]
    assert size["dense"] == pytest.approx(4 * WEIGHTS, rel=0.01)
    assert size["masked"] == pytest.approx(2 * size["dense"], rel=0.01)
    assert size["permanent"] == size["dense"]
    assert 4 * kept < size["permanent, zlib"] < 0.25 * size["permanent"]
    assert size["CSR"] == 4 * (301 + 101 + 11) + (4 + 4) * kept
    assert size["bitmap"] == (235_200 + 30_000 + 1_000) // 8 + 4 * kept
    assert size["entropy bound"] == round(bytes_bound(WEIGHTS, kept))


MACS = [  # a layer, the shape of its input, multiplications of one image
    (nn.Conv2d(3, 8, 5), (3, 10, 8), 8 * 3 * 25 * (6 * 4)),
    (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), (3, 10, 8), 8 * 3 * 9 * (5 * 4)),
    (nn.Conv2d(3, 9, 3, groups=3), (3, 10, 8), 9 * 9 * (8 * 6)),
    (nn.Conv2d(3, 3, 3, groups=3), (3, 10, 8), 3 * 9 * (8 * 6)),
    (nn.ConvTranspose2d(3, 8, 3, stride=2), (3, 10, 8), 3 * 8 * 9 * (10 * 8)),
    (nn.Linear(40, 30), (40,), 40 * 30),
    (nn.Linear(40, 30, bias=False), (40,), 40 * 30),
    (nn.Linear(40, 30), (3, 40), 3 * 40 * 30),
    (small_convnet(), (1, 28, 28), 9 * (16 * 28**2 + 32 * 16 * 14**2 + 64 * 32 * 7**2) + 64 * 10),
    (masked(), (1, 28, 28), WEIGHTS),
]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("layer", "shape", "macs"), MACS, ids=lambda value: str(value)[:40])
def test_macs_are_those_of_the_formula_and_counting_leaves_the_model_alone(
    layer, shape, macs, batch
):
    with left_as_it_was(layer):
        assert count_macs(layer, torch.ones(batch, *shape)) == batch * macs


def test_macs_of_a_linear_layer_of_one_row():
    assert count_macs(nn.Linear(40, 30), torch.ones(40)) == 40 * 30


def test_zlib_compresses_the_permanent_file():
    layer, file = apply_global_pruning(nn.Linear(40, 40), sparsity=0.5, seed=0), io.BytesIO()
    torch.save({"": (layer.weight + 0.0).detach().clone()}, file)
    expected = len(zlib.compress(file.getvalue(), level=9))
    assert sizes(layer)["permanent, zlib"] == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("layer", "sparsity", "csr", "bitmap"),
    [
        (nn.Conv2d(4, 8, 3, bias=False), 0.5, 4 * (8 + 1) + 8 * 144, 288 // 8 + 4 * 144),
        (nn.Linear(3, 3, bias=False), 0.0, 4 * (3 + 1) + 8 * 9, 2 + 4 * 9),  # up to a whole byte
    ],
)
def test_csr_has_a_row_a_filter_and_a_bitmap_whole_bytes(layer, sparsity, csr, bitmap):
    size = sizes(apply_global_pruning(layer, sparsity=sparsity))
    assert (size["CSR"], size["bitmap"]) == (csr, bitmap)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_bytes_on_disk_counts_float32_values_whatever_the_type(dtype):
    model = apply_global_pruning(lenet300(seed=0).bfloat16().float(), sparsity=0.9)
    expected = bytes_on_disk(model)
    assert bytes_on_disk(model.to(dtype)).equals(expected)


@pytest.mark.parametrize("bias", [True, False])
def test_csr_linear_equals_the_dense_layer_and_stores_only_what_is_kept(bias):
    linear = apply_global_pruning(nn.Linear(40, 30, bias=bias), sparsity=0.8)
    x = torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    sparse = CSRLinear(linear)
    assert sparse.weight.values().numel() == 240
    expected = linear(x).detach()
    if bias:
        linear.bias.data += 1  # the copy is a copy
    torch.testing.assert_close(sparse(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"threads": 2}])
def test_latency_is_measured_in_evaluation_mode_without_gradients(options):
    seen = set()

    class Spy(nn.Module):
        def forward(self, x):
            seen.add((self.training, torch.is_grad_enabled(), torch.get_num_threads()))
            return x

    model = nn.Sequential(Spy(), nn.Linear(4, 4), nn.BatchNorm1d(4).eval())
    with left_as_it_was(model):
        measured = latency(model, torch.ones(2, 4), min_seconds=0.01, **options)
    assert 0 < measured.q25 <= measured.median <= measured.q75
    assert seen == {(False, False, options.get("threads", 1))}


def test_latency_is_the_median_and_the_quartiles_of_the_times(monkeypatch):
    timer = SimpleNamespace(blocked_autorange=lambda **_: SimpleNamespace(times=[5, 1, 4, 2, 3]))
    monkeypatch.setattr("torch.utils.benchmark.Timer", lambda *_, **__: timer)
    assert latency(nn.Identity(), torch.ones(1)) == (3, 2, 4)


def attention_macs(batch: int, tokens: int, width: int) -> int:
    """Four projections, and two products of tokens with tokens."""
    return batch * (4 * tokens * width**2 + 2 * tokens**2 * width)


@pytest.mark.parametrize("training", [True, False])
def test_macs_of_attention_from_the_formula(training):
    """In evaluation torch fuses it into one operation, which the counter takes for nothing."""

    class SelfAttention(nn.MultiheadAttention):
        def forward(self, x):
            return super().forward(x, x, x, need_weights=False)[0]

    layer = SelfAttention(16, 4, batch_first=True).train(training)
    assert count_macs(layer, torch.ones(2, 5, 16)) == attention_macs(2, 5, 16)
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=64, batch_first=True).train(training)
    expected = attention_macs(2, 5, 16) + 2 * 2 * 5 * 16 * 64
    assert count_macs(layer, torch.ones(2, 5, 16)) == expected


def test_entropy_and_bound_at_their_ends():
    assert [binary_entropy(density) for density in (0, 1, 0.5)] == [0, 0, 1]
    assert [bytes_bound(1000, 1000), bytes_bound(1000, 0), bytes_bound(0, 0)] == [4000, 0, 0]


@pytest.mark.parametrize("fused", [True, False])
def test_counting_macs_leaves_the_settings_of_torch_alone(fused):
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(fused)
        with pytest.raises(ValueError, match="does not run"):
            count_macs(nn.Linear(4, 4), torch.ones(3))
        assert torch.backends.mha.get_fastpath_enabled() is fused
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
