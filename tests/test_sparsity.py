"""Zeros, bytes and formats are counted right, whatever state the model is in."""

import copy

import pytest
import torch
from torch import nn

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

WEIGHTS, PARAMETERS = 266_200, 266_610


def rows(model: nn.Module):
    return check_sparsity(model).set_index("layer")


def masked(sparsity: float = 0.9) -> nn.Module:
    return apply_global_pruning(lenet300(seed=0), sparsity=sparsity)


def sizes(model: nn.Module) -> dict[str, int]:
    return bytes_on_disk(model).set_index("format")["bytes"].to_dict()


def test_dense_model_has_no_sparsity():
    assert total_sparsity(lenet300(seed=0)) == 0


def test_masked_model_is_counted_by_its_masks():
    assert rows(masked()).loc[PRUNABLE_WEIGHTS, "kept"] == WEIGHTS - round(0.9 * WEIGHTS)


def test_permanent_model_is_counted_by_its_zeros():
    model = masked()
    before = check_sparsity(model)
    assert before.equals(check_sparsity(make_pruning_permanent(model)))
    assert total_sparsity(model) == pytest.approx(0.9)


def test_hidden_weights_do_not_count():
    model = masked()
    before = check_sparsity(model)
    for layer in prunable_layers(model).values():
        layer.weight_orig.data += 1
    assert check_sparsity(model).equals(before)


def test_there_is_a_row_for_each_layer_and_two_totals():
    layers = check_sparsity(small_convnet())["layer"].tolist()
    assert layers == ["conv1", "conv2", "conv3", "fc", PRUNABLE_WEIGHTS, ALL_PARAMETERS]


def test_layer_rows_count_their_own_weights():
    model = lenet300(seed=0)
    model.fc3.weight.data[:2] = 0
    row = rows(model).loc["fc3"]
    assert (row["kept"], row["total"], row["sparsity"]) == (800, 1000, pytest.approx(0.2))


def test_totals_have_both_denominators():
    table = rows(masked())
    zeros = round(0.9 * WEIGHTS)
    prunable, everything = table.loc[PRUNABLE_WEIGHTS], table.loc[ALL_PARAMETERS]
    assert (prunable["kept"], prunable["total"]) == (WEIGHTS - zeros, WEIGHTS)
    assert (everything["kept"], everything["total"]) == (PARAMETERS - zeros, PARAMETERS)
    assert everything["sparsity"] == pytest.approx(zeros / PARAMETERS)


def test_trap_3_one_tiny_pruned_layer_does_not_stand_for_the_model():
    model = apply_global_pruning(lenet300(seed=0), sparsity=0.9, exclude=("fc1", "fc2"))
    assert rows(model).loc["fc3", "sparsity"] == pytest.approx(0.9)
    assert total_sparsity(model) == pytest.approx(900 / WEIGHTS)


def test_trap_3_no_error_without_masks_and_after_they_are_removed():
    model = lenet300(seed=0)
    assert total_sparsity(model) == 0
    assert total_sparsity(make_pruning_permanent(apply_global_pruning(model, 0.5))) == 0.5


@pytest.mark.parametrize("model", [nn.Sequential(), nn.BatchNorm2d(8)])
def test_model_without_prunable_layer_has_sparsity_zero(model):
    assert total_sparsity(model) == 0
    assert rows(model).loc[ALL_PARAMETERS, "sparsity"] == 0


def test_batchnorm_parameters_count_among_all_parameters():
    row = rows(nn.BatchNorm2d(8)).loc[ALL_PARAMETERS]
    assert (row["kept"], row["total"]) == (16, 16)


def test_shared_weights_are_counted_once():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    model[0].weight.data[:2] = 0
    row = rows(model).loc[ALL_PARAMETERS]
    assert (row["kept"], row["total"]) == (8, 16)


def test_masked_file_is_twice_the_dense_one():
    size = sizes(masked())
    assert size["masked"] == pytest.approx(2 * size["dense"], rel=0.01)


def test_dense_file_holds_four_bytes_a_weight():
    assert sizes(masked())["dense"] == pytest.approx(4 * WEIGHTS, rel=0.01)


def test_permanent_file_is_as_large_as_the_dense_one():
    size = sizes(masked())
    assert size["permanent"] == size["dense"]


def test_csr_bytes_from_the_formula():
    kept = WEIGHTS - round(0.9 * WEIGHTS)
    pointers = (300 + 1) + (100 + 1) + (10 + 1)
    assert sizes(masked())["CSR"] == 4 * pointers + (4 + 4) * kept


def test_csr_bytes_of_a_convolution_has_a_row_a_filter():
    model = apply_global_pruning(nn.Conv2d(4, 8, 3, bias=False), sparsity=0.5)
    assert sizes(model)["CSR"] == 4 * (8 + 1) + 8 * 144


def test_bitmap_bytes_from_the_formula():
    kept = WEIGHTS - round(0.9 * WEIGHTS)
    assert sizes(masked())["bitmap"] == 235_200 // 8 + 30_000 // 8 + 1_000 // 8 + 4 * kept


def test_bitmap_of_a_few_weights_is_rounded_up_to_a_byte():
    assert sizes(nn.Linear(3, 3, bias=False))["bitmap"] == 2 + 4 * 9


def test_zeros_compress():
    size = sizes(masked())
    assert size["permanent, zlib"] < 0.25 * size["permanent"]


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 0.99])
def test_bitmap_is_not_below_the_entropy_bound(sparsity):
    size = sizes(masked(sparsity))
    assert size["entropy bound"] <= size["bitmap"]


def test_ratio_is_dense_over_bytes():
    table = bytes_on_disk(masked()).set_index("format")
    assert table.loc["dense", "ratio"] == 1
    bitmap = table.loc["bitmap"]
    assert bitmap["ratio"] == table.loc["dense", "bytes"] / bitmap["bytes"]


def test_masked_and_permanent_model_have_the_same_sizes():
    model = masked()
    before = bytes_on_disk(model)
    assert before.equals(bytes_on_disk(make_pruning_permanent(model)))


def test_bytes_on_disk_leaves_the_model_alone():
    model = masked()
    before = copy.deepcopy(model.state_dict())
    bytes_on_disk(model)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_bytes_on_disk_of_a_model_without_prunable_layer():
    assert sizes(nn.BatchNorm2d(8))["bitmap"] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_bytes_on_disk_counts_float32_values_whatever_the_type(dtype):
    model = apply_global_pruning(lenet300(seed=0).bfloat16().float(), sparsity=0.9)
    expected = bytes_on_disk(model)
    assert bytes_on_disk(model.to(dtype)).equals(expected)


def test_csr_linear_equals_the_dense_layer():
    linear = apply_global_pruning(nn.Linear(40, 30), sparsity=0.8)
    x = torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(CSRLinear(linear)(x), linear(x).detach(), rtol=1e-5, atol=1e-5)


def test_csr_linear_without_bias():
    linear = apply_global_pruning(nn.Linear(40, 30, bias=False), sparsity=0.8)
    x = torch.ones(1, 40)
    torch.testing.assert_close(CSRLinear(linear)(x), linear(x).detach(), rtol=1e-5, atol=1e-5)


def test_csr_linear_stores_only_the_kept_weights():
    linear = apply_global_pruning(nn.Linear(40, 30), sparsity=0.8)
    assert CSRLinear(linear).weight.values().numel() == 240


def test_latency_quartiles_are_in_order():
    measured = latency(nn.Linear(4, 4), torch.ones(1, 4), min_seconds=0.01)
    assert 0 < measured.q25 <= measured.median <= measured.q75


def test_latency_is_measured_in_evaluation_mode_without_gradients():
    seen = set()

    class Spy(nn.Module):
        def forward(self, x):
            seen.add((self.training, torch.is_grad_enabled()))
            return x

    latency(Spy().train(), torch.ones(1), min_seconds=0.001)
    assert seen == {(False, False)}


@pytest.mark.parametrize("training", [True, False])
def test_latency_restores_the_mode(training):
    model = nn.Sequential(nn.Linear(4, 4)).train(training)
    latency(model, torch.ones(1, 4), min_seconds=0.001)
    assert all(module.training is training for module in model.modules())


def test_latency_restores_the_mode_of_every_module():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4).eval())
    latency(model, torch.ones(1, 4), min_seconds=0.001)
    assert [module.training for module in model] == [True, False]


CONV_SHAPES = [
    (nn.Conv2d(3, 8, 5), 8 * 3 * 25 * (6 * 4)),
    (nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), 8 * 3 * 9 * (5 * 4)),
    (nn.Conv2d(3, 9, 3, groups=3), 9 * 9 * (8 * 6)),
    (nn.Conv2d(3, 3, 3, groups=3), 3 * 9 * (8 * 6)),
    (nn.ConvTranspose2d(3, 8, 3, stride=2), 3 * 8 * 9 * (10 * 8)),
]


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize(("layer", "macs"), CONV_SHAPES, ids=lambda value: str(value)[:40])
def test_macs_of_a_convolution_from_the_formula(layer, macs, batch):
    assert count_macs(layer, torch.ones(batch, 3, 10, 8)) == batch * macs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(40,), (7, 40), (2, 3, 40)])
def test_macs_of_a_linear_layer_from_the_formula(shape, bias):
    rows = torch.ones(shape)[..., 0].numel()
    assert count_macs(nn.Linear(40, 30, bias=bias), torch.ones(shape)) == rows * 40 * 30


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


def test_macs_of_a_transformer_layer_from_the_formula():
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=64, batch_first=True)
    expected = attention_macs(2, 5, 16) + 2 * 2 * 5 * 16 * 64
    assert count_macs(layer, torch.ones(2, 5, 16)) == expected


def test_macs_of_a_network_add_up_over_its_layers():
    convolutions = 16 * 9 * 28**2 + 32 * 16 * 9 * 14**2 + 64 * 32 * 9 * 7**2
    assert count_macs(small_convnet(), torch.ones(1, 1, 28, 28)) == convolutions + 64 * 10


def test_masked_weights_count_as_any_other():
    x = torch.ones(1, 1, 28, 28)
    assert count_macs(masked(), x) == count_macs(lenet300(seed=0), x) == WEIGHTS


def test_what_multiplies_no_matrices_counts_nothing():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2))
    assert count_macs(model, torch.ones(1, 3, 4, 4)) == 0


def test_counting_macs_leaves_the_model_alone():
    model = small_convnet(seed=0).train()
    model.bn1.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    count_macs(model, torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())


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


def test_input_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"model does not run on x=\(2, 3\): mat1 and mat2"):
        count_macs(nn.Linear(4, 4), torch.ones(2, 3))


def test_recurrent_layers_are_refused_rather_than_counted_as_nothing():
    with pytest.raises(ValueError, match=r"recurrent layers can't be counted: 1"):
        count_macs(nn.Sequential(nn.Linear(4, 4), nn.GRU(4, 4)), torch.ones(2, 3, 4))


@pytest.mark.parametrize("density", [-0.1, 1.1, float("nan")])
def test_entropy_of_an_impossible_density_says_so(density):
    with pytest.raises(ValueError, match=f"density={density} must be from 0 to 1"):
        binary_entropy(density)


def test_entropy_of_a_sure_thing_is_zero():
    assert (binary_entropy(0), binary_entropy(1)) == (0, 0)


def test_entropy_is_one_bit_at_one_half():
    assert binary_entropy(0.5) == 1


def test_bound_of_a_dense_model_is_its_values():
    assert bytes_bound(1000, 1000) == 4000


def test_bound_of_an_empty_model_is_nothing():
    assert bytes_bound(1000, 0) == 0
