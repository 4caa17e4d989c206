"""A cut network computes exactly what it must; what can't be cut is refused and left alone."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from prunelab.surgery import CannotCut, prune_channels, prune_network
from tests.random_graphs import RandomNetwork
from tests.surgery_cases import CASES, cut_layers, image, widths
from tests.surgery_oracle import assert_exact, assert_unchanged, freeze, randomize

may_leave = pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_cut_or_refused_and_never_wrong(name):
    case = CASES[name]
    model = randomize(case.build())
    before = freeze(model)
    if not case.cut:
        with pytest.raises(CannotCut):
            prune_network(model, 0.5, case.inputs, criterion="random")
    else:
        small = prune_network(model, 0.5, case.inputs, criterion="random")
        assert cut_layers(model, small) == case.cut
        assert_exact(model, small, case.inputs, case.reads)
    assert_unchanged(model, before)


@may_leave
@pytest.mark.parametrize("name", CASES)
def test_every_single_channel_is_cut_exactly_or_refused(name):
    case = CASES[name]
    model = randomize(case.build())
    for layer, width in widths(model).items():
        for channel in {0, width - 1}:
            try:
                small = prune_channels(model, layer, [channel], case.inputs)
            except CannotCut:
                continue
            assert widths(small)[layer] < width
            assert_exact(model, small, case.inputs, case.reads)


def cut_or_refuse(model: nn.Module, x: Tensor, cut: Callable[[], nn.Module]) -> bool:
    """Whether it was cut; then exactly."""
    before = freeze(model)
    try:
        small = cut()
    except CannotCut:
        small = None
    assert_unchanged(model, before)
    if small is not None:
        assert_exact(model, small, x)
    return small is not None


@may_leave
@settings(max_examples=80)
@given(st.data())
def test_random_networks_are_cut_exactly_or_refused(data):
    def draw(n: int) -> int:
        return data.draw(st.integers(0, n - 1))

    model, x = randomize(RandomNetwork(draw)), image(size=4)
    ratio = data.draw(st.sampled_from([0.3, 0.5, 0.8]))
    cut_or_refuse(model, x, lambda: prune_network(model, ratio, x, criterion="random"))
    layers = [name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    name = data.draw(st.sampled_from(layers))
    width = model.get_submodule(name).out_channels
    channels = data.draw(st.sets(st.integers(0, width - 1), min_size=1, max_size=width))
    cut_or_refuse(model, x, lambda: prune_channels(model, name, list(channels), x))


@may_leave
def test_most_random_networks_can_be_cut():
    generator = np.random.default_rng(0)
    cut = 0
    for seed in range(40):
        model = randomize(RandomNetwork(lambda n: int(generator.integers(n))), seed)
        x = image(size=4)
        cut += cut_or_refuse(model, x, lambda m=model, x=x: prune_network(m, 0.5, x))
    assert cut >= 30, cut
