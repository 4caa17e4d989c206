"""The networks of the pruning literature at the size of a laptop (notebook 00)."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.checks import check_network, said
from prunelab.checks.files import fill, read_weights
from prunelab.checks.places import GET_DATA
from prunelab.data import DATA_DIR
from prunelab.seeds import seeded
from prunelab.transformer import char_gpt

CHECKPOINTS = DATA_DIR / "checkpoints"
INPUT_SHAPE = (1, 28, 28)


def lenet300(input_shape=INPUT_SHAPE, num_classes: int = 10, seed: int | None = None) -> nn.Module:
    """LeNet-300-100: two hidden layers, 266,200 weights on 28×28 images.

    Args:
        input_shape: channels, height, width of an image.
        num_classes: outputs.
        seed: draws the initial weights (Glorot normal; biases zero). None uses torch's own
            random state.

    Source: LeCun et al. (1998); initialization as in Frankle & Carbin (2019), arXiv:1803.03635.
    """
    channels, height, width = check_network(input_shape, num_classes)
    with seeded(seed):
        return _glorot_normal(
            _sequence(
                flatten=nn.Flatten(),
                fc1=nn.Linear(channels * height * width, 300),
                relu1=nn.ReLU(),
                fc2=nn.Linear(300, 100),
                relu2=nn.ReLU(),
                fc3=nn.Linear(100, num_classes),
            )
        )


def conv2(input_shape=INPUT_SHAPE, num_classes: int = 10, seed: int | None = None) -> nn.Module:
    """Conv-2: 2 convolutions of 64 channels, then 256-256-10. `(3, 32, 32)` gives 4.3M weights.

    Source: Frankle & Carbin (2019), arXiv:1803.03635. Arguments as in `lenet300`.
    """
    return _vgg_like([64], input_shape, num_classes, seed)


def conv4(input_shape=INPUT_SHAPE, num_classes: int = 10, seed: int | None = None) -> nn.Module:
    """Conv-4: 2×64 and 2×128 channels, then 256-256-10. `(3, 32, 32)` gives 2.4M weights.

    Source: Frankle & Carbin (2019), arXiv:1803.03635. Arguments as in `lenet300`.
    """
    return _vgg_like([64, 128], input_shape, num_classes, seed)


def conv6(input_shape=INPUT_SHAPE, num_classes: int = 10, seed: int | None = None) -> nn.Module:
    """Conv-6: 2×64, 2×128, 2×256 channels, then 256-256-10. `(3, 32, 32)` gives 2.3M weights.

    The paper prints 1.7M for this network; the layers it lists add up to 2,262,602 parameters.

    Source: Frankle & Carbin (2019), arXiv:1803.03635. Arguments as in `lenet300`.
    """
    return _vgg_like([64, 128, 256], input_shape, num_classes, seed)


def small_convnet(
    input_shape=INPUT_SHAPE, num_classes: int = 10, width: int = 16, seed: int | None = None
) -> nn.Module:
    """Three convolutions with BatchNorm (16, 32, 64 channels) and a linear layer on their mean.

    The project's everyday network: small enough to train in a coffee break, deep enough to show
    what pruning does to BatchNorm. Kaiming-normal weights. Arguments as in `lenet300`; `width` is
    the number of channels of the first layer.
    """
    widths = [check_network(input_shape, num_classes, width)[0], width, 2 * width, 4 * width]
    layers: dict[str, nn.Module] = {}
    with seeded(seed):
        for i in (1, 2, 3):
            layers[f"conv{i}"] = nn.Conv2d(widths[i - 1], widths[i], 3, padding=1, bias=False)
            layers[f"bn{i}"] = nn.BatchNorm2d(widths[i])
            layers[f"relu{i}"] = nn.ReLU()
            layers[f"pool{i}"] = nn.MaxPool2d(2) if i < 3 else nn.AdaptiveAvgPool2d(1)
        return _kaiming_normal(
            _sequence(**layers, flatten=nn.Flatten(), fc=nn.Linear(widths[3], num_classes))
        )


def resnet20(
    input_shape=INPUT_SHAPE, num_classes: int = 10, width: int = 16, seed: int | None = None
) -> nn.Module:
    """The 20-layer residual network for small images; `(3, 32, 32)` gives 0.27M weights.

    Projection shortcuts (1×1 convolutions) where the shape changes. Kaiming-normal weights.
    Arguments as in `lenet300`; `width` is the number of channels of the first stage.

    Source: He et al. (2016), arXiv:1512.03385, section 4.2.
    """
    channels, _, _ = check_network(input_shape, num_classes, width)
    with seeded(seed):
        return _kaiming_normal(_ResNet20(channels, num_classes, width))


def pretrained(name: str) -> nn.Module:
    """A trained network from `data/checkpoints`, in evaluation mode.

    The study `dense` trained it, or `transformer` if it is "char_gpt"; `data/results/dense.csv`
    has its accuracy and `data/results/dense.json` the command, versions and seeds.

    Raises:
        ValueError: no checkpoint of that name, or one that is damaged or does not fit.

    Example:
        >>> model = pretrained("small_convnet")
    """
    available = sorted(path.stem for path in CHECKPOINTS.glob("*.pt"))
    if not isinstance(name, str) or name not in available:
        remedy = f"choose one of {', '.join(available)}" if available else GET_DATA
        raise ValueError(f"name={said(name)} has no checkpoint in {CHECKPOINTS}; {remedy}")
    model = char_gpt() if name == "char_gpt" else NETWORKS[name]()
    path = CHECKPOINTS / f"{name}.pt"
    fill(model, read_weights(path), path, name)
    return model.eval()


def _sequence(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _vgg_like(widths: list[int], input_shape, num_classes: int, seed: int | None) -> nn.Module:
    channels, height, width = check_network(input_shape, num_classes, least=2 ** len(widths))
    layers: dict[str, nn.Module] = {}
    with seeded(seed):
        for block, out in enumerate(widths):
            for i in (2 * block + 1, 2 * block + 2):
                layers[f"conv{i}"] = nn.Conv2d(channels, out, 3, padding=1)
                layers[f"relu{i}"] = nn.ReLU()
                channels = out
            layers[f"pool{block + 1}"] = nn.MaxPool2d(2)
            height, width = height // 2, width // 2
        features = channels * height * width
        return _glorot_normal(
            _sequence(
                **layers,
                flatten=nn.Flatten(),
                fc1=nn.Linear(features, 256),
                relu_fc1=nn.ReLU(),
                fc2=nn.Linear(256, 256),
                relu_fc2=nn.ReLU(),
                fc3=nn.Linear(256, num_classes),
            )
        )


class _ResidualBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = _sequence(
                conv=nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                bn=nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(residual + self.shortcut(x))


class _ResNet20(nn.Module):
    def __init__(self, in_channels: int, num_classes: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, stride=1)
        self.layer2 = self._stage(width, 2 * width, stride=2)
        self.layer3 = self._stage(2 * width, 4 * width, stride=2)
        self.fc = nn.Linear(4 * width, num_classes)

    @staticmethod
    def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            _ResidualBlock(in_channels, out_channels, stride),
            _ResidualBlock(out_channels, out_channels, stride=1),
            _ResidualBlock(out_channels, out_channels, stride=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


def _glorot_normal(model: nn.Module) -> nn.Module:
    return _initialize(model, nn.init.xavier_normal_)


def _kaiming_normal(model: nn.Module) -> nn.Module:
    return _initialize(model, partial(nn.init.kaiming_normal_, nonlinearity="relu"))


def _initialize(model: nn.Module, initialize_weight: Callable) -> nn.Module:
    # for a fresh start from the same distribution
    model.initialize_weight = initialize_weight  # type: ignore[assignment]
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            initialize_weight(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


NETWORKS = {
    build.__name__: build for build in (lenet300, conv2, conv4, conv6, small_convnet, resnet20)
}
