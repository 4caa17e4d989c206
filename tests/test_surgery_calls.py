"""What the functions of channel surgery accept, refuse, and leave as it was."""

import copy
import re
import threading
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from prunelab.channels.rules import rule
from prunelab.models import resnet20, small_convnet
from prunelab.pruning import apply_global_pruning
from prunelab.surgery import CannotCut, LeftAlone, channel_groups, prune_channels, prune_network
from tests.helpers import left_as_it_was, random_state_left_alone, same, state
from tests.surgery_cases import CASES, Net, chain, conv, image, tokens
from tests.surgery_oracle import assert_exact, randomize

X = image(1, 28)


def grouped() -> Net:
    block = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU())
    layers = {"a": conv(3, 8), "g": conv(8, 8, groups=4), "block": block, "idle": conv(3, 3)}
    return Net(lambda m, x: m.out(m.block(m.g(m.a(x)))), **layers, out=conv(8, 2))


WRONG_CHANNELS = [  # a layer, channels of it, words of the refusal
    ("a", range(8), "all that 'a' has; keep at least one"),
    ("out", [0], "is the model's output"),
    ("g", [0], r"go only together with its channels \[2, 4, 6\]"),
    ("a", [1, 3], r"go only together with its channels \[5, 7\]"),  # two groups of its reader
    ("aa", [0], "'aa' is no layer of the model; did you mean 'a'?"),
    ("zzzzz", [0], "see named_modules"),
    (3, [0], "'3' is no layer"),
    ("a", [8], "the channels of 'a' are 0 to 7"),
    ("a", [-1], "the channels of 'a' are 0 to 7"),
    ("a", [True] * 4 + [False] * 4, "must be whole numbers"),
    ("a", [0.0, 1.0], "must be whole numbers"),
    ("a", [], "at least one"),
    ("a", "01", "must be whole numbers"),
    ("a", None, "must be whole numbers"),
    ("a", {0, 1}, "must be whole numbers"),
    ("block.0", [0], r"only carries them; name one of .*\['g'\]"),
    ("block", [0], "has no weights of its own; name a layer in it"),
    ("block.1", [0], "has no weights of its own"),
    ("idle", [0], "'idle' is never reached by the forward"),
]


@pytest.mark.parametrize(("layer", "channels", "message"), WRONG_CHANNELS)
def test_channels_that_cannot_go(layer, channels, message):
    model = randomize(grouped()).train()
    with left_as_it_was(model), pytest.raises(CannotCut, match=message):
        prune_channels(model, layer, channels, image())


def test_refusal_names_all_that_go_together():
    model = Net(lambda m, x: m.out(m.a(x) + m.b(x) + x), a=conv(3, 3), b=conv(3, 3), out=conv(3, 2))
    with pytest.raises(CannotCut, match=r"\['a', 'b', 'out'\].*reads the model's input"):
        prune_channels(model, "a", [0], image())


@pytest.mark.parametrize("indices", [[3, 1, 3], (1, 3), torch.tensor([3, 1]), range(1, 4, 2), 3])
def test_channel_indices_may_come_in_any_form_and_order(indices):
    model = randomize(chain())
    small = prune_channels(model, "a", indices, image())
    kept = [0, 1, 2, 4, 5, 6, 7] if isinstance(indices, int) else [0, 2, 4, 5, 6, 7]
    assert small.kept_channels["a.weight"][0].tolist() == kept
    assert_exact(model, small, image())


def test_an_embedding_that_shares_its_weight_is_cut_along_its_own_channels():
    case = CASES["embedding and head share a weight -> a b c"]
    small = prune_channels(randomize(case.build()), "a", [0, 3], case.inputs)
    assert {**small.kept_channels["a.weight"]}.keys() == {1}
    with pytest.raises(CannotCut, match="is the model's output"):
        prune_channels(case.build().double(), "out", [0], case.inputs)


def test_an_operation_has_one_rule():
    with pytest.raises(ValueError, match="'add' has a rule already, elementwise"):
        rule("add")(len)


WRONG_FORWARDS = [
    (lambda m, x: m.out(m.a(x)) if x.sum() > 0 else m.out(-m.a(x)), "values .*__bool__"),
    (lambda m, x: m.out(m.a(x)) * m.a(x).max().item(), "depends on the values of a tensor .*item"),
    (lambda m, x: torch.from_numpy(m.out(m.a(x)).numpy()), "values .*numpy"),
    (lambda m, x: m.out(m.out(m.a(x))), "can't be followed"),
    (lambda m, x: m.absent(x), "absent"),
]


@pytest.mark.parametrize(("run", "message"), WRONG_FORWARDS)
def test_forward_that_cannot_be_followed(run, message):
    model = chain(run)
    for cut in (partial(prune_channels, model, "a", [0]), partial(prune_network, model, 0.5)):
        with left_as_it_was(model), pytest.raises(CannotCut, match=message):
            cut(image().float())


WRONG_ARGUMENTS = {
    "ratio": [1, 1.5, -0.1, float("nan"), True],
    "criterion": [
        "l3",
        None,
        1,
        lambda w: w,
        lambda w: w.flatten(1).sum(1) / 0,
        lambda w: torch.zeros(3),
    ],
    "scope": ["layerwise", None],
    "round_to": [0, -8, 8.0, "8"],
    "exclude": ["absent", ("conv1", "con"), ("bn1",), "relu1"],
    "example_inputs": [None],
}


@pytest.mark.parametrize(
    ("argument", "value"), [(name, v) for name, values in WRONG_ARGUMENTS.items() for v in values]
)
def test_wrong_arguments(argument, value):
    model = small_convnet()
    said = {"example_inputs": "example_inputs is missing"}.get(argument, argument)
    said = "criterion returned" if argument == "criterion" and callable(value) else said
    with left_as_it_was(model), pytest.raises(ValueError, match=said):
        prune_network(model, **{"example_inputs": X.float(), argument: value})


def test_masked_layers_are_to_be_made_permanent_first():
    of_torch = chain()
    prune.random_unstructured(of_torch.a, "bias", 2)
    for model in (apply_global_pruning(small_convnet(), 0.5), of_torch):
        with pytest.raises(ValueError, match="masked; call make_pruning_permanent first"):
            prune_network(model, 0.5, X.float())


def test_model_that_cannot_be_copied():
    model = chain()
    model.lock = threading.Lock()
    with pytest.raises(CannotCut, match="cannot pickle"):
        prune_network(model, 0.5, image().float())


def test_what_a_forward_has_left_in_a_model_is_copied_without_its_history():
    model = chain()
    model.cache = model(image().float())
    small = prune_network(model, 0.5, image().float())
    assert model.cache.grad_fn is not None
    assert small.cache.grad_fn is None
    assert torch.equal(small.cache, model.cache)


@pytest.mark.parametrize(
    "cut",
    [
        lambda m: prune_network(m, 0.5, X),
        lambda m: prune_network(m, 0, X),
        lambda m: prune_channels(m, "conv2", [1], X),
    ],
)
def test_the_model_is_left_as_it_is_and_shares_nothing(cut):
    model = randomize(small_convnet()).train()
    model.bn1.eval()
    model.conv2.weight.requires_grad = False
    model(X).sum().backward()
    with left_as_it_was(model), random_state_left_alone():
        small = cut(model)
    for name, module in model.named_modules():
        assert type(small.get_submodule(name)) is type(module)
        assert small.get_submodule(name).training == module.training
    for name, p in model.named_parameters():
        assert small.get_parameter(name).requires_grad == p.requires_grad
        assert small.get_parameter(name).grad is None
    with left_as_it_was(model):
        for t in (*small.parameters(), *small.buffers()):
            t.data.zero_()


@pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")
def test_references_to_parameters_follow_the_cut():
    """Lists that a module keeps of its parameters: an LSTM runs on such a list."""
    layers = {"a": nn.Linear(12, 8), "lstm": nn.LSTM(8, 6, batch_first=True)}
    layers["b"] = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 2))
    model = Net(lambda m, x: m.b(m.lstm(m.a(x))[0]), **layers)
    model.weights = [model.a.weight]
    small = prune_network(model, 0.5, tokens().float(), exclude="a")
    assert small.weights[0] is small.a.weight
    assert [*map(id, small.lstm._flat_weights)] == [*map(id, small.lstm.parameters())]
    small(tokens().float()).sum().backward()
    assert small.lstm.weight_ih_l0.grad is not None
    assert model.lstm.weight_ih_l0.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_dtypes(dtype):
    model = small_convnet().to(dtype)
    small = prune_network(model, 0.5, X.to(dtype))
    assert {p.dtype for p in small.parameters()} == {dtype}
    assert small(X.to(dtype)).dtype == dtype


def test_meta_device():
    with torch.device("meta"):
        model = small_convnet()
    small = prune_network(model, 0.5, torch.empty(2, 1, 28, 28, device="meta"), criterion="random")
    assert small.conv1.out_channels == 8
    assert {t.device.type for t in (*small.parameters(), *small.buffers())} == {"meta"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu():
    model, x = randomize(resnet20()).cuda(), X.cuda()
    small = prune_network(model, 0.5, x)
    assert {t.device.type for t in (*small.parameters(), *small.buffers())} == {"cuda"}
    assert_exact(model.cpu(), small.cpu(), X)


def test_channels_last_is_kept():
    for format in (torch.channels_last, torch.contiguous_format):
        model = small_convnet().to(memory_format=format)
        for layer in ("conv2", "conv3"):
            weight = prune_network(model, 0.5, X.float()).get_submodule(layer).weight
            assert weight.is_contiguous(memory_format=format)
            assert weight.is_contiguous() == (format == torch.contiguous_format)


def test_a_small_network_is_copied_whole():
    small = prune_network(small_convnet(seed=0), 0.5, X.float())
    twin = copy.deepcopy(small)
    assert torch.equal(twin.eval()(X.float()), small.eval()(X.float()))
    assert twin.kept_channels is not small.kept_channels


COMPUTED = {  # a layer, and what makes its weight a parameter
    "weight_norm": (parametrizations.weight_norm, "remove_parametrizations"),
    "spectral_norm": (parametrizations.spectral_norm, "remove_parametrizations"),
    "old weight_norm": (nn.utils.weight_norm, "remove_weight_norm"),
    "old spectral_norm": (nn.utils.spectral_norm, "remove_spectral_norm"),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*weight_norm:DeprecationWarning")
@pytest.mark.parametrize("name", COMPUTED)
def test_a_layer_whose_weight_is_computed_stays_and_the_others_are_cut(name):
    normalize, removal = COMPUTED[name]

    def build() -> Net:
        layers = {"n": normalize(conv(8, 8)), "a": conv(3, 8), "b": conv(3, 8), "out": conv(16, 2)}
        return Net(lambda m, x: m.out(torch.cat([m.n(m.a(x)), m.b(x)], 1)), **layers)

    with torch.no_grad():
        model, again = randomize(build()), randomize(build())
    model(image())
    again.load_state_dict(model.state_dict())
    stays = channel_groups(model, image()).set_index(["layer", "role"])["stays"]
    assert re.search(f"enters 'n', whose weight is computed .*{removal}", stays["a", "writes"])
    with pytest.warns(LeftAlone):
        small = prune_network(model, 0.5, image())
    assert small.b.out_channels == 4
    assert same(state(small.n), state(model.n))
    assert_exact(again, small, image())
