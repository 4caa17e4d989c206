"""Why channels stay: the layer to blame, the cause, and what to do; everything else is cut."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm, weight_norm

from prunelab.channels import findings
from prunelab.channels.plan import Plan
from prunelab.surgery import (
    CannotCut,
    LeftAlone,
    channel_groups,
    load_network,
    prune_network,
    save_network,
)
from tests.helpers import left_as_it_was
from tests.surgery_cases import Net, conv, cut_layers, image, tokens
from tests.surgery_oracle import assert_exact, randomize


class Blur(nn.Module):
    """A fixed filter for each channel."""

    def __init__(self, channels: int):
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0])
        filters = (row[:, None] * row / 16).repeat(channels, 1, 1, 1)
        self.register_buffer("filters", filters)

    def forward(self, x):
        return F.conv2d(x, self.filters, padding=1, groups=x.size(1))


class Eight(nn.Module):
    """A layer whose forward insists on what it writes."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x):
        y = self.linear(x)
        if y.size(-1) != 8:
            raise RuntimeError("eight are wanted\nno more, no less")
        return y


def twice(run, **layers) -> Net:
    """Linear layers `a`, with `run` behind, and `b` beside it, both from 12 to 8."""
    layers = {"a": nn.Linear(12, 8), "b": nn.Linear(12, 6), **layers}
    ends = {"out": nn.Linear(8, 2), "end": nn.Linear(6, 2)}
    return Net(lambda m, x: m.out(run(m, m.a(x))) + m.end(m.b(x)), **layers, **ends)


def masked_window() -> Net:
    model = twice(lambda m, y: y)
    model.register_buffer("attn_mask", torch.ones(5, 5))
    return model


def picked(m, y):
    return y.gather(1, y.argsort(1).mT.mT)


def by_score(m, y):
    best = m.s(y)[..., 0].topk(2, 1).indices
    return y[torch.arange(2)[:, None], best].repeat(1, 3, 1)[:, :5]


def unpooled(m, y):
    maps = y.mT[..., None]
    pooled, places = F.max_pool2d(maps, (2, 1), return_indices=True)
    return F.max_unpool2d(pooled, places, (2, 1), output_size=maps.shape)[..., 0].mT


def number_of_parameters(m, y):
    return y * m.p.view(4, y.size(-1)).sum()


OTHER_WIDTH = "let it work with any number of channels"
CUT = {  # a network, layers that are cut, layers that stay with the reason
    "a mask that is no pruning mask": (masked_window(), {"a", "b"}, {}),
    "indices of channels": (
        twice(picked),
        {"b"},
        {"a": "enters `argsort`, which may mix channels"},
    ),
    "indices of rows": (
        twice(by_score, s=nn.Linear(8, 1)),
        {"b"},
        {"a": "enters `getitem`, which may mix channels"},
    ),
    "indices of pixels": (twice(unpooled), {"a", "b"}, {}),
    "kinds of masks": (
        twice(lambda m, y: y.masked_fill(~(y > 0) | (y == 2), 0.5) * (y > 1).to(y.dtype)),
        {"a", "b"},
        {},
    ),
    "a mask knows its kind": (
        twice(lambda m, y: y * (y > 0).float() if (y > 0).dtype == torch.bool else 1 / 0),
        {"a", "b"},
        {},
    ),
    "an operation on parameters": (
        twice(number_of_parameters, p=nn.Parameter(torch.randn(4, 8))),
        {"b"},
        {
            "a": "once cut, enters `view`, which fails: shape '[4, 4]' is invalid for input of "
            f"size 32 (in the forward); {OTHER_WIDTH}"
        },
    ),
    "the width that a layer writes": (
        twice(lambda m, y: m.c(y), c=Eight()),
        {"a", "b"},
        {"c.linear": f"once cut, the forward of 'c' fails: eight are wanted; {OTHER_WIDTH}"},
    ),
    "another path": (
        twice(lambda m, y: y.relu() if y.size(-1) == 8 else y.sigmoid()),
        {"b"},
        {
            "a": "once cut, the forward takes another path: a call of `sigmoid` where the whole "
            f"network has a call of `relu`; {OTHER_WIDTH}"
        },
    ),
    "a computed weight": (
        twice(lambda m, y: F.linear(y, torch.cat([m.p, m.p])), p=nn.Parameter(torch.randn(4, 8))),
        {"b"},
        {"a": "enters a layer, whose weight is computed from others; make it a parameter"},
    ),
}


@pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")
@pytest.mark.parametrize("name", CUT)
def test_what_can_be_cut_is_and_the_rest_says_why(name):
    model, cut, reasons = CUT[name]
    randomize(model)
    with left_as_it_was(model):
        small = prune_network(model, 0.5, tokens())
        table = channel_groups(model, tokens()).query("role == 'writes'").set_index("layer")
    assert cut_layers(model, small) == cut
    assert {layer: table["stays"][layer] for layer in reasons} == reasons
    assert not any("\n" in why for why in table["stays"])
    assert_exact(model, small, tokens())


def test_a_parameter_with_too_many_numbers_stays(monkeypatch):
    p = nn.Parameter(torch.randn(1, 5, 8))
    model = randomize(twice(lambda m, y: y + m.p, p=p))
    assert cut_layers(model, prune_network(model, 0.5, tokens())) == {"a", "b"}
    monkeypatch.setattr(findings, "MOST_NUMBERS", 50)
    with pytest.warns(LeftAlone, match="left as they are: p, a"):
        small = prune_network(model, 0.5, tokens())
    assert cut_layers(model, small) == {"b"}
    assert_exact(model, small, tokens())
    why = Plan(model, tokens()).found.given_up["p"]
    assert why == "has 40 numbers, each used by itself; at most 50 are followed in all"


def test_the_layer_that_failed_is_blamed_and_not_what_ran_last():
    def run(m, x):
        y, z = m.a(x), m.b(x)
        if y.size(-1) != 8:
            raise RuntimeError("eight are wanted")
        return m.out(y) + m.end(z)

    layers = {"a": nn.Linear(12, 8), "b": nn.Linear(12, 6)}
    model = randomize(Net(run, **layers, out=nn.Linear(8, 2), end=nn.Linear(6, 2)))
    with pytest.warns(LeftAlone, match="left as they are: a;"):
        small = prune_network(model, 0.5, tokens())
    assert cut_layers(model, small) == {"b"}


def test_a_number_that_follows_another_width_is_blamed_on_that_one():
    def run(m, x):
        y, z = m.a(x), m.b(x)
        return m.out(y / z.size(-1)) + m.end(z)

    layers = {"a": nn.Linear(12, 8), "b": nn.Linear(12, 6)}
    model = randomize(Net(run, **layers, out=nn.Linear(8, 2), end=nn.Linear(6, 2)))
    with pytest.warns(LeftAlone):
        small = prune_network(model, 0.5, tokens())
    assert cut_layers(model, small) == {"a"}
    assert_exact(model, small, tokens())


@pytest.mark.parametrize("criterion", ["l1", "random", "bn_scale", lambda w: w.flatten(1).amax(1)])
def test_fixed_filters_are_cut_and_count_only_where_nothing_was_learned(criterion):
    layers = {"a": conv(3, 8), "norm": nn.BatchNorm2d(8), "blur": Blur(8), "out": conv(8, 2)}
    model = Net(lambda m, x: m.out(m.blur(m.norm(m.a(x)))), **layers)
    randomize(model)
    small = prune_network(model, 0.5, image(), criterion=criterion)
    assert cut_layers(model, small) == {"a"}
    assert small.blur.filters.shape == (4, 1, 3, 3)
    if criterion == "l1":
        norms = model.a.weight.abs().sum((1, 2, 3))
        assert (
            small.kept_channels["a.weight"][0].tolist() == norms.topk(4).indices.sort()[0].tolist()
        )


def test_a_fixed_filter_that_alone_writes_a_group_is_scored():
    model = Net(lambda m, x: m.out(F.conv2d(x, m.fixed)), out=conv(8, 2))
    model.register_buffer("fixed", torch.arange(8.0, 0, -1).view(8, 1, 1, 1).expand(8, 3, 1, 1) + 0)
    small = prune_network(model.double(), 0.5, image())
    assert small.kept_channels["fixed"][0].tolist() == [0, 1, 2, 3]
    given = {"out": torch.zeros(2, 8, 1, 1)}
    with pytest.raises(ValueError, match="criterion has no scores of the layer 'fixed'"):
        prune_network(model, 0.5, image(), criterion=given)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_older_norms_of_weights_stay_whole_and_the_rest_is_cut_and_loaded(norm, tmp_path):
    def build() -> Net:
        return twice(lambda m, y: m.c(y), c=norm(nn.Linear(8, 8))).eval()

    model, x = build(), tokens().float()
    with pytest.warns(LeftAlone):
        small = prune_network(model, 0.5, x)
    assert cut_layers(model, small) == {"b"}
    assert small.c.weight is not model.c.weight
    why = channel_groups(model, x).query("layer == 'a' and role == 'writes'")["stays"].item()
    removal = f"remove_{norm.__name__} makes it a parameter"
    assert why == f"enters 'c', whose weight is computed from others; {removal}"
    save_network(small, tmp_path / "small.pt")
    loaded = load_network(build(), tmp_path / "small.pt")
    assert torch.equal(loaded(x), small(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:FutureWarning")
def test_scripted_modules_are_refused_by_name():
    def run(m, x):
        return m.out(m.s(m.a(x)))

    scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8)))
    part = Net(run, a=nn.Linear(12, 8), s=scripted, out=nn.Linear(8, 2))
    whole = torch.jit.script(nn.Sequential(nn.Linear(12, 8), nn.Linear(8, 2)))
    for model, named in ((part, "model's module 's'"), (whole, "model's forward")):
        with pytest.raises(CannotCut, match=f"^{named} was compiled by torch.jit.* before torch"):
            prune_network(model, 0.5, tokens().float())


NOTHING = {
    "output": (nn.Sequential(nn.Linear(4, 2)), "0: is the model's output"),
    "itself": (nn.Linear(4, 2), "the model: is the model's output"),
    "no layer": (nn.BatchNorm1d(4), "its forward calls no convolution, linear or embedding layer"),
    "one channel": (
        nn.Sequential(nn.Linear(4, 1), nn.Linear(1, 2)),
        "0: goes only as a whole; 1: is the model's output",
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_a_network_of_which_nothing_can_be_cut_says_why(name):
    model, why = NOTHING[name]
    with pytest.raises(CannotCut, match=rf"^nothing in this network can be cut\. {why}$"):
        prune_network(model, 0.5, torch.randn(2, 4))


def test_what_depends_on_values_is_said():
    model = twice(lambda m, y: y[y > 0].view(-1, 8))
    with pytest.raises(CannotCut, match="its sizes depend on the values of a tensor"):
        prune_network(model, 0.5, tokens().float())


@pytest.mark.parametrize("side", [(1, 0), (0, 1)])
def test_a_mean_ties_what_stands_beside_a_padded_zero(side):
    model = Net(
        lambda m, x: m.out(F.pad(m.a(x).unflatten(-1, (4, -1)) * m.scale, side).mean(-1)),
        a=nn.Linear(12, 16),
        out=nn.Linear(4, 2),
        scale=nn.Parameter(torch.randn(4)),
    )
    with pytest.raises(CannotCut, match="a: goes only as a whole"):
        prune_network(model, 0.5, tokens().float())


def test_values_shared_by_heads_that_stay_can_go():
    def run(m, x):
        q = m.q(x).unflatten(-1, (-1, 4)).transpose(1, 2)
        k, v = m.k(x)[:, None], m.v(x)[:, None]
        return m.out(((q @ k.mT).softmax(-1) @ v).mean(1))

    layers = {"q": nn.Linear(12, 16), "k": nn.Linear(12, 4), "v": nn.Linear(12, 4)}
    model = randomize(Net(run, **layers, out=nn.Linear(4, 2)))
    small = prune_network(model, 0.5, tokens())
    assert cut_layers(model, small) == {"v"}
