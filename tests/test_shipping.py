"""A network that is shipped gives the answers it gave before, in fewer operations and bytes."""

import copy
import re
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from prunelab.masks import make_pruning_permanent
from prunelab.models import conv2, lenet300, pretrained, resnet20, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.shipping import Shipped, fold_batchnorm, needs, quantized, rounded, size_of, to_onnx
from prunelab.sparsity import latency
from prunelab.surgery import load_network, prune_network, save_network
from prunelab.training import evaluate
from tests.helpers import left_as_it_was, random_state_left_alone

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Net(nn.Module):
    """Some layers, and a function that is their forward."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.run(self, x)


class Sum(nn.Module):
    """Of two inputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, one, other):
        return self.a(one) + self.b(other)


def lived_in(model: nn.Module) -> nn.Module:
    """Statistics and weights of BatchNorm as after a training, in float64."""
    generator = torch.Generator().manual_seed(0)

    def draw(tensor):
        return torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5

    model = model.double()
    for norm in model.modules():
        if isinstance(norm, NORMS) and norm.running_mean is not None:
            norm.running_mean = draw(norm.running_mean) - 1
            norm.running_var = draw(norm.running_var)
            if norm.affine:
                norm.weight.data, norm.bias.data = draw(norm.weight) - 1, draw(norm.bias) - 1
    return model


def norms_left(model: nn.Module) -> int:
    return sum(isinstance(module, NORMS) for module in model.modules())


def pair(layer: nn.Module, norm: nn.Module) -> nn.Module:
    return nn.Sequential(layer, norm, nn.ReLU())


IMAGE, MAP, ROW = (2, 4, 9, 9), (2, 4, 9), (2, 4)
FOLDED = {
    "convolution": (pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6)), IMAGE),
    "no bias": (pair(nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6)), IMAGE),
    "depthwise": (pair(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)), IMAGE),
    "depthwise, twice as many": (pair(nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8)), IMAGE),
    "groups": (pair(nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6)), IMAGE),
    "affine=False": (pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, affine=False)), IMAGE),
    "another epsilon": (pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, eps=0.3)), IMAGE),
    "padded by reflection": (
        pair(nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(6)),
        IMAGE,
    ),
    "one dimension": (pair(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)), MAP),
    "transposed": (pair(nn.ConvTranspose2d(4, 6, 3, stride=2), nn.BatchNorm2d(6)), IMAGE),
    "linear": (pair(nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6, affine=False)), ROW),
    "small_convnet": (small_convnet(width=4, seed=0), (2, 1, 28, 28)),
    "resnet20": (resnet20(width=4, seed=0), (2, 1, 28, 28)),
}
"""A network whose BatchNorm goes away, all of it, and the shape of what it takes."""


@pytest.mark.parametrize("case", FOLDED)
def test_batchnorm_is_gone_and_the_answers_are_the_same(case):
    model, shape = copy.deepcopy(FOLDED[case])
    model, x = lived_in(model), torch.randn(shape, dtype=torch.float64)
    with left_as_it_was(model):
        folded = fold_batchnorm(model, x)
    assert norms_left(model) > 0 == norms_left(folded)
    assert not any(module.training for module in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model.eval()(x), rtol=1e-10, atol=1e-12)


def hooked() -> nn.Module:
    model = pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    model[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


NOT_FOLDED = {
    "transposed, in groups": (
        pair(nn.ConvTranspose2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
        IMAGE,
    ),
    "linear on rows of a sequence": (pair(nn.Linear(9, 4), nn.BatchNorm1d(4)), (2, 4, 9)),
    "statistics of the batch": (
        pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6, track_running_stats=False)),
        IMAGE,
    ),
    "before the convolution": (pair(nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)), IMAGE),
    "something between": (
        nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.BatchNorm2d(6)),
        IMAGE,
    ),
    "another reader": (
        Net(
            lambda m, x: m.norm(y := m.conv(x)) + y,
            conv=nn.Conv2d(4, 6, 3),
            norm=nn.BatchNorm2d(6),
        ),
        IMAGE,
    ),
    "a layer used twice": (
        Net(
            lambda m, x: m.conv(m.norm(m.conv(x))),
            conv=nn.Conv2d(4, 4, 3),
            norm=nn.BatchNorm2d(4),
        ),
        IMAGE,
    ),
    "a norm used twice": (
        Net(
            lambda m, x: m.norm(m.a(x)) + m.norm(m.b(x)),
            a=nn.Conv2d(4, 4, 3),
            b=nn.Conv2d(4, 4, 3),
            norm=nn.BatchNorm2d(4),
        ),
        IMAGE,
    ),
    "a weight read elsewhere": (
        Net(
            lambda m, x: m.norm(m.conv(x)) * m.conv.weight.sum(),
            conv=nn.Conv2d(4, 4, 3),
            norm=nn.BatchNorm2d(4),
        ),
        IMAGE,
    ),
    "a computed weight": (
        pair(parametrizations.weight_norm(nn.Conv2d(4, 6, 3)), nn.BatchNorm2d(6)),
        IMAGE,
    ),
    "a hook": (hooked(), IMAGE),
}
"""Where folding would be wrong, or is not known to be right."""


@pytest.mark.parametrize("case", NOT_FOLDED)
def test_what_cannot_be_folded_rightly_stays(case):
    model, shape = NOT_FOLDED[case]
    model, x = lived_in(model).eval(), torch.randn(shape, dtype=torch.float64)
    folded = fold_batchnorm(model, x)
    assert norms_left(folded) == norms_left(model) == 1
    with torch.no_grad():
        torch.testing.assert_close(folded(x), model(x), rtol=0, atol=0)


def branching(m, x):
    return m.a(x) if x.sum() > 0 else m.a(-x)


def test_folding_refuses_masks_and_what_it_cannot_follow():
    x = torch.rand(2, 4, 9, 9)
    model = pair(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6))
    with pytest.raises(ValueError, match=r"example=\(2, 5\)"):
        fold_batchnorm(model, torch.rand(2, 5))
    with pytest.raises(ValueError, match=r"traced by torch\.fx"):
        fold_batchnorm(Net(branching, a=nn.Conv2d(4, 6, 3)), x)
    with pytest.raises(TypeError, match="model must be"):
        fold_batchnorm("model", x)
    masked = apply_global_pruning(model, sparsity=0.5)
    with pytest.raises(ValueError, match=r"masks, as on '0'.*make_pruning_permanent"):
        fold_batchnorm(masked, x)
    other = nn.Sequential(nn.Linear(4, 3))
    prune.random_unstructured(other[0], "bias", 0.5)
    with pytest.raises(ValueError, match="masks, as on '0'"):
        fold_batchnorm(other, torch.rand(2, 4))


NETWORKS = {
    "lenet300": (partial(lenet300, (1, 8, 8)), (1, 8, 8)),
    "conv2": (partial(conv2, (1, 8, 8)), (1, 8, 8)),
    "small_convnet": (partial(small_convnet, width=4), (1, 28, 28)),
    "resnet20": (partial(resnet20, width=4), (1, 16, 16)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_gives_the_same_answers_for_any_number_of_images(name, tmp_path):
    build, shape = NETWORKS[name]
    model = lived_in(build(seed=0)).float()
    example = torch.rand(1, *shape)
    with left_as_it_was(model), random_state_left_alone():
        path = to_onnx(model, example, tmp_path / "model.onnx")
    shipped = Shipped(path)
    for count in (1, 2, 7):
        x = torch.rand(count, *shape)
        with torch.no_grad():
            torch.testing.assert_close(shipped(x), model.eval()(x), rtol=1e-4, atol=1e-4)


def test_a_network_of_torchvision_is_folded_and_exported(tmp_path):
    from torchvision.models import mobilenet_v2

    torch.manual_seed(0)
    model = lived_in(mobilenet_v2(width_mult=0.25, num_classes=4)).eval()
    x = torch.rand(2, 3, 32, 32)
    folded = fold_batchnorm(model, x.double())
    assert norms_left(folded) == 0
    with torch.no_grad():
        torch.testing.assert_close(folded(x.double()), model(x.double()), rtol=1e-9, atol=1e-9)
        shipped = Shipped(to_onnx(model.float(), x, tmp_path / "model.onnx"))
        torch.testing.assert_close(shipped(x), model(x), rtol=1e-3, atol=1e-3)


def test_two_inputs_are_exported(tmp_path):
    model = Sum()
    a, b = torch.rand(5, 3), torch.rand(5, 4)
    shipped = Shipped(to_onnx(model, (a[:1], b[:1]), tmp_path / "model.onnx"))
    torch.testing.assert_close(shipped(a, b), model(a, b).detach())


@pytest.fixture(scope="module")
def convnet(tmp_path_factory):
    """The shipped network, its ONNX file, and that of 8 bits."""
    from prunelab.data import load_data

    folder = tmp_path_factory.mktemp("shipping")
    model, images = pretrained("small_convnet"), load_data().train.x
    path = to_onnx(model, images[:1], folder / "model.onnx")
    return model, path, quantized(path, images[:300], folder / "int8.onnx")


def test_int8_is_a_third_as_large_and_as_accurate_within_a_point(convnet, full_data):
    model, path, int8 = convnet
    assert size_of(int8).bytes < 0.45 * size_of(path).bytes
    assert size_of(path).bytes > 4 * sum(p.numel() for p in model.parameters())
    assert size_of(int8).gzipped < size_of(int8).bytes
    dense, whole, small = (
        evaluate(each, full_data.test).accuracy for each in (model, Shipped(path), Shipped(int8))
    )
    assert whole == pytest.approx(dense, abs=2e-4)
    assert small == pytest.approx(dense, abs=0.01)


def test_int8_depends_on_what_it_is_calibrated_with(convnet, full_data, tmp_path):
    _, path, int8 = convnet
    x = full_data.test.x[:200]
    dark = quantized(path, full_data.train.x[:20].clamp(max=-0.5), tmp_path / "dark.onnx")
    exact, good, bad = (Shipped(each)(x) for each in (path, int8, dark))
    assert (bad - exact).abs().max() > 2 * (good - exact).abs().max()


def test_weights_of_int8_are_rounded_by_channel_to_seven_bits(convnet):
    import onnx

    model, _, int8 = convnet
    arrays = {
        one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(str(int8)).graph.initializer
    }
    weight = fold_batchnorm(model, torch.rand(1, 1, 28, 28)).conv2.weight.detach()
    scale = weight.abs().amax(dim=(1, 2, 3)).numpy() / 64
    np.testing.assert_allclose(arrays["conv2.weight_scale"], scale, rtol=1e-4)
    whole = arrays["conv2.weight_quantized"].astype(float) * scale[:, None, None, None]
    assert np.abs(whole - weight.numpy()).max() <= 0.51 * scale.max()


def test_the_range_of_activations_is_that_of_equation_15_2(convnet, full_data):
    import onnx

    _, _, int8 = convnet
    arrays = {
        one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(str(int8)).graph.initializer
    }
    low, high = full_data.train.x[:300].aminmax()
    scale = (high - low) / 255
    assert arrays["x_scale"] == pytest.approx(scale.item(), rel=1e-5)
    assert arrays["x_zero_point"] == round((-low / scale).item())
    x = torch.linspace(low.item(), high.item(), 1000)
    error = (rounded(x, low.item(), high.item()) - x).abs().max()
    assert error <= 0.501 * scale


def test_numbers_are_rounded_and_clipped():
    x = torch.tensor([-3.0, -1.0, 0.0, 0.4, 254.4, 300.0])
    assert rounded(x, 0, 255).tolist() == [0, 0, 0, 0, 254, 255]
    assert rounded(x, -1, 254).tolist() == [-1, -1, 0, 0, 254, 254]
    assert rounded(torch.zeros(2, 3).double(), -0.3, 1.7).eq(0).all()


def test_shipped_network_is_timed_and_evaluated_like_any_other(convnet, data):
    shipped = Shipped(convnet[1], threads=2)
    assert latency(shipped, data.test.x[:2], min_seconds=0.01).median > 0
    assert 0.8 < evaluate(shipped, data.test).accuracy < 1


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # that is how masks work
def test_zeros_fill_the_file_and_masks_double_it(tmp_path):
    import onnx

    model = small_convnet(seed=0).eval()
    x = torch.rand(2, 1, 28, 28)
    masked = apply_global_pruning(copy.deepcopy(model), sparsity=0.9)
    with pytest.raises(ValueError, match="masks"):
        to_onnx(masked, x, tmp_path / "masked.onnx")
    zeros = make_pruning_permanent(copy.deepcopy(masked))
    dense, holes = (
        to_onnx(each, x, tmp_path / f"{i}.onnx") for i, each in enumerate((model, zeros))
    )
    assert abs(size_of(holes).bytes - size_of(dense).bytes) < 500
    assert size_of(holes).gzipped < 0.5 * size_of(dense).gzipped
    torch.onnx.export(masked, (x,), tmp_path / "masked.onnx", dynamo=True, verbose=False)
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "masked.onnx")).graph.node]
    assert "Mul" in kinds


def test_a_cut_network_is_stored_loaded_and_shipped(tmp_path):
    model = small_convnet(width=8, seed=0)
    x = torch.rand(3, 1, 28, 28)
    small = prune_network(model, 0.5, x[:1])
    save_network(small, tmp_path / "small.pt")
    loaded = load_network(small_convnet(width=8), tmp_path / "small.pt").eval()
    shipped = Shipped(to_onnx(loaded, x[:1], tmp_path / "small.onnx"))
    with torch.no_grad():
        torch.testing.assert_close(shipped(x), small.eval()(x), rtol=1e-4, atol=1e-5)


WRONG = {
    "no model": (lambda p: to_onnx(None, torch.rand(1, 4), p), TypeError, "model must be"),
    "no tensor": (lambda p: to_onnx(nn.Linear(4, 2), 3, p), TypeError, "example must be a tensor"),
    "not what it takes": (
        lambda p: to_onnx(nn.Linear(4, 2), torch.rand(1, 5), p),
        ValueError,
        r"does not run on example=\(1, 5\)",
    ),
    "a forward that branches": (
        lambda p: to_onnx(Net(branching, a=nn.Linear(4, 2)), torch.rand(2, 4), p),
        ValueError,
        "can't be exported",
    ),
    "a fixed batch": (
        lambda p: to_onnx(
            Net(lambda m, x: m.a(x).view(2, 2), a=nn.Linear(4, 2)), torch.rand(2, 4), p / "a"
        ),
        ValueError,
        "one batch size only",
    ),
    "no path": (lambda p: to_onnx(nn.Linear(4, 2), torch.rand(1, 4), ""), ValueError, "path=''"),
    "no file": (lambda p: Shipped(p / "none.onnx"), OSError, "none.onnx"),
    "another file": (lambda p: Shipped(__file__), ValueError, "can't be run"),
    "no threads": (lambda p: Shipped(__file__, threads=0), ValueError, "threads=0"),
    "no file to quantize": (
        lambda p: quantized(p / "none.onnx", torch.rand(3, 4), p / "to.onnx"),
        OSError,
        "none.onnx",
    ),
    "no images": (
        lambda p: quantized(__file__, torch.rand(0, 4), p / "to.onnx"),
        ValueError,
        "images is empty",
    ),
    "a file that is no network": (
        lambda p: quantized(__file__, torch.rand(3, 4), p / "to.onnx"),
        ValueError,
        r"images \(3, 4\)",
    ),
    "an empty range": (lambda p: rounded(torch.ones(2), 0, 0), ValueError, "no range"),
    "a range without zero": (lambda p: rounded(torch.ones(2), 1, 2), ValueError, "low=1 must be"),
    "no number": (lambda p: rounded(torch.ones(2), 0, torch.inf), ValueError, "high=inf must be"),
    "no numbers": (lambda p: rounded([1.0], 0, 1), TypeError, "x must be a tensor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_calls_are_answered_in_one_line(case, tmp_path):
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words) as raised:
        call(tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_missing_package_is_named_with_its_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'prunelab[ship]'")):
        to_onnx(nn.Linear(4, 2), torch.rand(1, 4), tmp_path / "model.onnx")
    with pytest.raises(ModuleNotFoundError, match="needs onnxruntime"):
        Shipped(tmp_path / "model.onnx")
