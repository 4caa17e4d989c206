"""Recalibration leaves nothing of the old statistics, and changes nothing else."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from prunelab.batchnorm import NoBatchNorm, recalibrate_bn
from prunelab.lab import recalibration
from prunelab.models import lenet300, resnet20, small_convnet
from prunelab.pruning import apply_global_pruning
from tests.helpers import left_as_it_was, modes, random_state_left_alone, same, state

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def build() -> nn.Module:
    return small_convnet(width=4, seed=0)


def images(count: int = 40) -> torch.Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0)) * 2 + 5


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: t for name, t in state(model).items() if name.endswith(STATISTICS)}


@pytest.mark.parametrize(("stale", "count"), [(0.0, 40), (1000.0, 2), (float("nan"), 500)])
def test_nothing_is_left_of_stale_statistics(stale, count):
    layer = nn.BatchNorm1d(3)
    layer.running_mean.fill_(stale)
    layer.running_var.fill_(stale)
    x = images(count)
    recalibrate_bn(layer, x)
    torch.testing.assert_close(layer.running_mean, x.mean(0))
    torch.testing.assert_close(layer.running_var, x.var(0))
    assert layer.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("batch_size", "count"), [(2, 20), (np.int64(10), 4), (39, 1), (40, 1), (500, 1)]
)
def test_batches_are_as_large_as_asked_for(batch_size, count):
    layer = recalibrate_bn(nn.BatchNorm1d(3), images(), batch_size)
    assert layer.num_batches_tracked == count
    torch.testing.assert_close(layer.running_mean, images().mean(0))


def test_a_remainder_does_not_weigh_more_than_its_images():
    x = torch.zeros(41, 1)
    x[-1] = 41.0
    layer = recalibrate_bn(nn.BatchNorm1d(1), x, batch_size=20)
    assert layer.running_mean.item() == pytest.approx(1, rel=0.05)


def test_deep_layers_see_what_the_recalibrated_ones_before_them_emit(data):
    model = recalibrate_bn(build(), data.train.x[:500])
    inputs = {}
    model.bn3.register_forward_hook(lambda m, args, out: inputs.setdefault("bn3", args[0]))
    with torch.no_grad():
        model.train()(data.train.x[:500])
    mean = inputs["bn3"].mean(dim=(0, 2, 3))
    torch.testing.assert_close(recalibrate_bn(build(), data.train.x[:500]).bn3.running_mean, mean)


def test_only_the_statistics_change(data):
    model = apply_global_pruning(build(), sparsity=0.5).train()
    model.bn2.eval()
    now, before, tensors = modes(model), state(model), [*model.parameters(), *model.buffers()]
    assert recalibrate_bn(model, data.train.x[:50]) is model
    after = state(model)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.endswith(STATISTICS)}
    assert [*map(id, tensors)] == [*map(id, [*model.parameters(), *model.buffers()])]
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert modes(model) == now


@pytest.mark.parametrize("momentum", [0.3, None])
def test_dropout_is_off_and_all_is_then_as_it_was(momentum):
    model = nn.Sequential(nn.Dropout(0.5), nn.AlphaDropout(0.3), nn.BatchNorm1d(3))
    model[2].momentum = momentum
    with random_state_left_alone():
        recalibrate_bn(model, images())
    torch.testing.assert_close(model[2].running_var, images().var(0))
    assert (model[0].p, model[1].p, model[2].momentum) == (0.5, 0.3, momentum)


def test_masked_weights_in_a_graph_are_no_obstacle(data):
    model = apply_global_pruning(build(), sparsity=0.5).train()
    model(data.train.x[:2]).sum().backward()
    expected = apply_global_pruning(build(), sparsity=0.5)
    recalibrate_bn(model, data.train.x[:50])
    assert same(statistics(model), statistics(recalibrate_bn(expected, data.train.x[:50])))


def test_shortcuts_of_a_residual_network_are_recalibrated(data):
    model = resnet20(width=4, seed=0)
    before = statistics(model)
    after = statistics(recalibrate_bn(model, data.train.x[:20]))
    assert any("shortcut" in name for name in before)
    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_no_batchnorm_is_said_and_nothing_is_done(data):
    model = lenet300(seed=0).train()
    said = pytest.warns(NoBatchNorm, match="no BatchNorm layer")
    with left_as_it_was(model), said as caught:
        assert recalibrate_bn(model, data.train.x[:50]) is model
    assert caught[0].filename == __file__


def test_an_error_in_the_middle_changes_nothing_either():
    class Stumbles(nn.Module):
        def forward(self, x):
            if len(x) == 11:
                raise RuntimeError  # without a word
            return x

    model = nn.Sequential(nn.BatchNorm1d(3), Stumbles())
    with left_as_it_was(model), pytest.raises(ValueError, match="RuntimeError"):
        recalibrate_bn(model, images(21), batch_size=10)


def test_channel_statistics_pairs_every_channel_with_its_twin(data):
    stale = build()
    fresh = recalibrate_bn(build(), data.train.x[:100])
    table = recalibration.channel_statistics(stale, fresh).set_index(["layer", "what"])
    assert len(table) == 2 * (4 + 8 + 16)
    for column, model in {"stale": stale, "recalibrated": fresh}.items():
        assert table.loc[("bn2", "mean"), column].tolist() == model.bn2.running_mean.tolist()
        deviation = table.loc[("bn2", "standard deviation"), column]
        np.testing.assert_allclose(deviation, model.bn2.running_var.sqrt(), rtol=1e-6)


def test_what_the_study_gained():
    rows = [("dense", None, None, 0.9), ("batches", None, 1, 0.6), ("batches", None, 100, 0.7)]
    for steps, values in {0: (0.4, 0.7, 0.8), 10: (0.5, 0.55, 0.75)}.items():
        names = recalibration.STALE, recalibration.AT_START, recalibration.NOW
        rows += [(name, steps, None, value) for name, value in zip(names, values, strict=True)]
    study = pd.DataFrame(rows, columns=["statistics", "steps", "batches", "accuracy"])
    study = recalibration.with_damage(study.assign(seed=0, pruned="weights", amount=0.5))
    (back,) = recalibration.came_back(study).itertuples(name=None)
    assert back == ("50% of weights", *map(pytest.approx, (50, 40, 80)))
    gained = recalibration.gains(study).set_index(["when", "steps"])["points"].to_dict()
    assert gained == {
        (recalibration.AT_START, 0): pytest.approx(30),
        (recalibration.AT_START, 10): pytest.approx(5),
        (recalibration.NOW, 0): pytest.approx(40),
        (recalibration.NOW, 10): pytest.approx(25),
    }
    fewer = recalibration.fewer_batches(study).set_index("batches")["points"].to_dict()
    assert fewer == {1: pytest.approx(-10), 100: 0}
