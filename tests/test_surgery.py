"""A cut network computes exactly what it must; what can't be cut is refused and left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunelab.surgery import prune_channels, prune_network
from tests import attention_cases, grouped_cases, norm_cases, operation_cases, recurrent_cases  # noqa: F401  they add cases
from tests.random_graphs import RandomNetwork
from tests.surgery_cases import CASES, cut_layers, image, widths
from tests.surgery_oracle import cut_or_refuse, randomize

may_leave = pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_cut_or_refused_and_never_wrong(name):
    case = CASES[name]
    model, how = randomize(case.build()), {"criterion": "random", "reads": case.reads}
    small = cut_or_refuse(prune_network, model, 0.5, case.inputs, **how)
    assert (cut_layers(model, small) if small else set()) == case.cut


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_every_single_channel_is_cut_exactly_or_refused(name):
    case = CASES[name]
    model = randomize(case.build())
    for layer, width in widths(model).items():
        for channel in {0, width - 1}:
            which = layer, [channel], case.inputs
            small = cut_or_refuse(prune_channels, model, *which, reads=case.reads)
            assert small is None or widths(small)[layer] < width


@may_leave
@settings(max_examples=80)
@given(st.data())
def test_random_networks_are_cut_exactly_or_refused(data):
    def draw(n: int) -> int:
        return data.draw(st.integers(0, n - 1))

    model, x = randomize(RandomNetwork(draw)), image(size=4)
    ratio = data.draw(st.sampled_from([0.3, 0.5, 0.8]))
    cut_or_refuse(prune_network, model, ratio, x, criterion="random")
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    name = data.draw(st.sampled_from(layers))
    width = model.get_submodule(name).out_channels
    channels = data.draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width))
    cut_or_refuse(prune_channels, model, name, list(channels), x)


@may_leave
def test_most_random_networks_can_be_cut():
    generator = np.random.default_rng(0)
    models = [RandomNetwork(lambda n: int(generator.integers(n))) for _ in range(40)]
    cut = [cut_or_refuse(prune_network, randomize(m), 0.5, image(size=4)) for m in models]
    assert cut.count(None) <= 10
