"""The networks are those of the papers, and a seed draws their weights."""

import io
import pickle
import zipfile
from functools import partial

import pytest
import torch
from torch import nn

from prunelab.models import NETWORKS, lenet300, pretrained, resnet20, small_convnet
from prunelab.surgery import load_network
from tests.helpers import random_state_left_alone, same

CIFAR_SHAPE = (3, 32, 32)
SMALL = {
    name: (lambda build=build, **options: build(width=4, **options))
    if name in ("small_convnet", "resnet20")
    else build
    for name, build in NETWORKS.items()
}
every_network = pytest.mark.parametrize("name", SMALL)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def weight_layers(model: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("conv2", 4_301_642),
        ("conv4", 2_425_930),
        ("conv6", 2_262_602),
        ("resnet20", 272_474),
    ],
)
def test_parameters_on_cifar10_as_in_the_papers(name, count):
    assert parameter_count(NETWORKS[name](CIFAR_SHAPE)) == count


def test_lenet300_has_the_weights_of_the_paper():
    assert sum(layer.weight.numel() for layer in weight_layers(lenet300()).values()) == 266_200


def test_resnet20_has_twenty_weight_layers_beside_its_shortcuts():
    assert len([name for name in weight_layers(resnet20()) if "shortcut" not in name]) == 20


def test_small_convnet_channels_double():
    layers = weight_layers(small_convnet(width=4)).values()
    assert [layer.weight.shape[0] for layer in layers] == [4, 8, 16, 10]


@every_network
@pytest.mark.parametrize("shape", [(1, 28, 28), CIFAR_SHAPE])
def test_output_is_a_score_a_class(name, shape):
    model = SMALL[name](input_shape=shape, num_classes=7)
    with torch.no_grad():
        assert model(torch.zeros(2, *shape)).shape == (2, 7)


@every_network
def test_the_seed_alone_draws_the_weights_of_every_layer(name):
    with random_state_left_alone():
        first, again, other = (SMALL[name](seed=seed) for seed in (1, 1, 2))
    assert same(first.state_dict(), again.state_dict())
    layers = zip(weight_layers(first).values(), weight_layers(other).values(), strict=True)
    assert not any(torch.equal(a.weight, b.weight) for a, b in layers)


def test_without_a_seed_the_global_random_state_decides():
    weights = []
    with torch.random.fork_rng():
        for seed in (5, 5, 6):
            torch.manual_seed(seed)
            weights.append(small_convnet(width=4).conv1.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("name", "layer"), [("lenet300", "fc1"), ("conv2", "conv2")])
def test_glorot_standard_deviation(name, layer):
    weight = NETWORKS[name](seed=0).get_submodule(layer).weight
    fan = (weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()
    assert weight.std().item() == pytest.approx((2 / fan) ** 0.5, rel=0.02)
    assert abs(weight.mean().item()) < 0.02 * weight.std().item()


@pytest.mark.parametrize(("name", "layer"), [("small_convnet", "conv3"), ("resnet20", "conv1")])
def test_kaiming_standard_deviation(name, layer):
    weight = NETWORKS[name](CIFAR_SHAPE, width=64, seed=0).get_submodule(layer).weight
    assert weight.std().item() == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.04)


@every_network
def test_biases_start_at_zero(name):
    biases = [m.bias for m in weight_layers(SMALL[name](seed=0)).values() if m.bias is not None]
    assert biases
    assert all((bias == 0).all() for bias in biases)


def test_pretrained_of_unknown_name_lists_the_checkpoints(tmp_path, monkeypatch):
    (tmp_path / "lenet300.pt").touch()
    (tmp_path / "small_convnet.pt").touch()
    monkeypatch.setattr("prunelab.models.CHECKPOINTS", tmp_path)
    with pytest.raises(ValueError, match=r"name='resnet50' .*lenet300, small_convnet"):
        pretrained("resnet50")


def test_pretrained_loads_the_checkpoint_in_evaluation_mode(tmp_path, monkeypatch):
    saved = lenet300(seed=3)
    torch.save(saved.state_dict(), tmp_path / "lenet300.pt")
    monkeypatch.setattr("prunelab.models.CHECKPOINTS", tmp_path)
    loaded = pretrained("lenet300")
    assert torch.equal(loaded.fc2.weight, saved.fc2.weight)
    assert not loaded.training


class Harmful:
    """What a pickle can do: run code when it is read."""

    def __reduce__(self):
        return print, ("HARMED",)


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return file.getvalue()


def stored(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


WHOLE = stored({"kept": {}, "weights": lenet300(seed=0).state_dict()})


@pytest.mark.parametrize(
    "read", [lambda path: pretrained("lenet300"), partial(load_network, lenet300())]
)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        *[
            (damaged, "is damaged or holds more than weights, and was not read")
            for damaged in (
                b"", b"PK", b"not a checkpoint", WHOLE[:1000], WHOLE[:-100], zipped(b"nothing"),
                pickle.dumps(Harmful()), zipped(pickle.dumps(Harmful())), stored(Harmful()),
                stored({"kept": {}, "weights": {"fc1.weight": Harmful()}}),
            )
        ],
        *[
            (stored(other), "does not fit")
            for other in (
                None, [], "text", {}, {"kept": None}, {"kept": {"fc1.weight": {0: None}}},
                {"kept": {}, "weights": None}, {"kept": {}, "weights": {"fc1.weight": 3}},
            )
        ],
    ],
)  # fmt: skip
def test_a_file_that_holds_no_such_weights_is_named_and_nothing_in_it_is_run(
    tmp_path, monkeypatch, capsys, read, content, why
):
    monkeypatch.setattr("prunelab.models.CHECKPOINTS", tmp_path)
    (tmp_path / "lenet300.pt").write_bytes(content)
    with pytest.raises(ValueError, match=why) as refused:
        read(tmp_path / "lenet300.pt")
    message = str(refused.value)
    assert str(tmp_path / "lenet300.pt") in message
    assert "\n" not in message
    assert "weights_only" not in message
    assert "HARMED" not in capsys.readouterr().out
