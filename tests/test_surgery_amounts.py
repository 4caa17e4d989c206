"""How much prune_network cuts, what a group's cut costs, and scores from gradients."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from prunelab.data import Split
from prunelab.engines.fisher import fisher_scores
from prunelab.models import small_convnet
from prunelab.sparsity import count_macs
from prunelab.surgery import (
    channel_groups,
    channel_sensitivity,
    prune_channels,
    prune_network,
)
from prunelab.training import evaluate
from tests.helpers import left_as_it_was
from tests.surgery_cases import Net, chain, conv, image, tokens, widths
from tests.surgery_oracle import assert_exact, randomize
from tests.test_surgery_network import (
    GROUPS,
    WIDTHS,
    Block,
    best,
    block,
    by_scores,
    kept_outputs,
    largest,
)

GENERATOR = torch.Generator().manual_seed(0)
SPLIT = Split(torch.randn(60, 3, 6, 6, generator=GENERATOR).double(), torch.arange(60) % 2)

BY_LAYER = {  # a ratio, and the share that goes of the groups `first` and `middle`
    "one layer": ({"middle": 0.5}, 0, 0.5),
    "one of those that go together": ({"add": 0.25}, 0.25, 0),
    "all others": ({"middle": 0.5, "": 0.25}, 0.25, 0.5),
    "none of it": ({"middle": 0, "": 0.5}, 0.5, 0),
    "both that go together": ({"first": 0.5, "add": 0.5}, 0.5, 0),
    "one stays": ({"middle": 0.99}, 0, 5 / 6),
}


@pytest.mark.parametrize("name", BY_LAYER)
def test_a_ratio_for_each_layer(name):
    ratio, of_first, of_middle = BY_LAYER[name]
    model, given = block(), dict(ratio)
    with left_as_it_was(model):
        small = prune_network(model, given, image())
    assert given == ratio
    shares = {"first": of_first, "middle": of_middle}
    kept = {g: best(s, round(len(s) * (1 - shares[g]))) for g, s in by_scores(model, "l1").items()}
    assert kept_outputs(small) == {**kept, "add": kept["first"]}
    assert_exact(model, small, image())


def test_the_longest_name_counts():
    def run(m, x):
        return m.out(m.a(x))

    inner = nn.Sequential(conv(3, 8), conv(8, 8), nn.Sequential(conv(8, 8), conv(8, 8)))
    model = randomize(Net(run, a=inner, out=conv(8, 2)))
    small = prune_network(model, {"a.2": 0.25, "a": 0.5, "a.2.1": 0.75}, image())
    assert widths(small) == {"a.0": 4, "a.1": 4, "a.2.0": 6, "a.2.1": 2, "out": 2}


def target(model, what: str, small) -> float:
    if what == "macs":
        return count_macs(small, image()) / count_macs(model, image())
    return sum(p.numel() for p in small.parameters()) / sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("what", ["parameters", "macs"])
@pytest.mark.parametrize(
    "options", [{}, {"scope": "global"}, {"scope": "global", "max_ratio": 0.7}, {"round_to": 2}]
)
@pytest.mark.parametrize("share", [0.85, 0.3])
def test_a_target_is_met_by_the_smallest_cut(what, options, share):
    model = block()
    small = prune_network(model, example_inputs=image(), target={what: share}, **options)
    left = target(model, what, small)
    assert left <= share
    ratios = [i / 48 for i in range(34 if "max_ratio" in options else 48)]
    others = [prune_network(model, ratio, image(), **options) for ratio in ratios[::4]]
    assert left >= max(
        (t for t in (target(model, what, other) for other in others) if t <= share), default=0
    )
    assert_exact(model, small, image())


def test_a_target_counts_weights_that_are_shared_once_and_numbers_that_follow():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out, self.num_heads = nn.Linear(12, 72), nn.Linear(24, 12), 6

        def forward(self, x):
            q, k, v = self.qkv(x).view(2, 5, 3, self.num_heads, 4).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v)
            return self.out(y.transpose(1, 2).reshape(2, 5, self.num_heads * 4))

    layers = {"a": nn.Linear(12, 12), "h": Heads(), "b": nn.Linear(12, 12)}
    model = Net(lambda m, x: m.out(m.b(m.h(m.a(x)))), **layers, out=nn.Linear(12, 2))
    model.b.weight = model.a.weight
    randomize(model)
    for what in ("parameters", "macs"):
        small = prune_network(model, example_inputs=tokens(), target={what: 0.6})
        assert small.h.num_heads < 6
        count = (
            (lambda m: count_macs(m, tokens()))
            if what == "macs"
            else (lambda m: sum(p.numel() for p in m.parameters()))
        )
        assert 0.4 < count(small) / count(model) <= 0.6
        assert_exact(model, small, tokens())


@pytest.mark.parametrize("round_to", [None, 2])
@pytest.mark.parametrize(("ratio", "most"), [(0.5, 0.5), (0.5, 0.7), (0.3, 0.34), (0.2, 0.9)])
def test_no_group_loses_more_than_max_ratio(ratio, most, round_to):
    model = block()
    with torch.no_grad():
        model.middle.weight *= 1e-6  # by itself, this group would go first
    options = {"criterion": largest, "scope": "global", "round_to": round_to}
    small = prune_network(model, ratio, image(), max_ratio=most, **options)
    kept = kept_outputs(small)
    lost = {name: n - len(kept[name]) for name, n in WIDTHS.items()}
    assert all(lost[name] <= most * n for name, n in WIDTHS.items())
    scores = by_scores(model, largest)
    assert all(kept[name] == best(scores[name], len(kept[name])) for name in GROUPS)
    if round_to is None:
        assert lost["middle"] == min(math.floor(most * 6 + 1e-9), round(14 * ratio))
        in_all = lost["middle"] + lost["first"]
        assert in_all == min(round(14 * ratio), math.floor(most * 6) + math.floor(most * 8))


WRONG = [
    ({"ratio": {"first": 0.5, "add": 0.25}}, "'first' 0.5 and 'add' 0.25, but their channels go"),
    ({"ratio": {"first": 0.5, "add": 0}}, "'first' 0.5 and 'add' 0, but their channels go tog"),
    ({"ratio": {"midd": 0.5}}, "ratio names 'midd', which is no layer .*channel_groups"),
    ({"ratio": {"norm1": 0.5}}, "ratio names 'norm1', which is no layer with output channels"),
    ({"ratio": {"out": 0.5}}, "ratio names 'out', whose output channels stay: it is the model's"),
    ({"ratio": {"middle": 0.5}, "exclude": "middle"}, "'middle', whose .* stay: it is excluded"),
    ({"ratio": {}}, r"ratio=\{\} must have names of layers"),
    ({"ratio": {3: 0.5}}, "must have names of layers"),
    ({"ratio": {"middle": 1}}, r"ratio\['middle'\]=1 must be from 0"),
    ({"ratio": {"middle": "half"}}, r"ratio\['middle'\]='half' must be from 0"),
    ({"ratio": {"middle": 0.5}, "scope": "global"}, 'by layers needs scope="uniform"'),
    ({"ratio": 0.5, "target": {"macs": 0.5}}, "give one of ratio and target, not ratio=0.5 and"),
    ({"target": 0.4}, 'target=0.4 must be the share to keep, such as {"parameters": 0.4} or'),
    ({"target": {}}, "must be the share to keep"),
    ({"target": {"weights": 0.5}}, "target={'weights': 0.5} must be the share to keep"),
    ({"target": {"macs": 1}}, "must be the share to keep"),
    ({"target": {"macs": 0.5, "parameters": 0.5}}, "must be the share to keep"),
    (
        {"target": {"macs": 1e-4}},
        "0.0288 of the macs are left with one unit of each group; give",
    ),
    (
        {"target": {"parameters": 0.1}, "scope": "global", "max_ratio": 0.25},
        "target={'parameters': 0.1} can't be reached: 0.651 of the param.* max_ratio=0.25; give",
    ),
    ({"max_ratio": 0.7}, 'max_ratio=0.7 needs scope="global"'),
    ({"max_ratio": 1, "scope": "global"}, "max_ratio=1 must be between 0 and 1"),
    ({"max_ratio": 0.3, "scope": "global"}, "max_ratio=0.3 must be at least the ratio"),
    ({"relative": True}, 'relative=True needs scope="global"'),
    ({"relative": False}, 'relative=False needs scope="global"'),
    ({"relative": "mean", "scope": "global"}, "relative='mean' must be True, False or None"),
    (
        {"relative": True, "scope": "global", "criterion": lambda weight: weight.flatten(1)[:, 0]},
        "relative=True needs scores of at least 0, but criterion gave -.*; add a number",
    ),
]


@pytest.mark.parametrize(("given", "words"), WRONG)
def test_wrong_amounts_are_refused_and_the_network_is_left_as_it_is(given, words):
    model = block()
    with left_as_it_was(model), pytest.raises(ValueError, match=words) as caught:
        prune_network(model, example_inputs=image(), **given)
    assert "\n" not in str(caught.value)


def test_macs_of_recurrent_layers_are_not_guessed():
    layers = {"a": nn.Linear(12, 8), "lstm": nn.LSTM(12, 8, batch_first=True)}
    model = Net(lambda m, x: m.b(m.a(x) + m.lstm(x)[0].detach().sum()), **layers, b=nn.Linear(8, 2))
    for counted in (model, nn.Sequential(model)):
        with (
            left_as_it_was(model),
            pytest.raises(ValueError, match=r"recurrent .*: .*lstm"),
        ):
            prune_network(counted, example_inputs=tokens().float(), target={"macs": 0.5})


# --- sensitivity ---------------------------------------------------------------------------------


class Classifier(Block):
    def forward(self, x):
        return super().forward(x).mean((2, 3))


def classifier() -> Classifier:
    model = Classifier()
    model.load_state_dict(block().state_dict())
    return model.double()


def test_sensitivity_is_the_accuracy_after_one_group_is_cut():
    model = classifier()
    split = Split(SPLIT.x, model.eval()(SPLIT.x).argmax(1))  # what is cut can only do worse
    with left_as_it_was(model):
        table = channel_sensitivity(model, split, image(), ratios=(0, 0.5, 0.75))
    assert list(table.columns) == ["group", "layers", "units", "ratio", "cut", "accuracy"]
    writes = channel_groups(model, image()).query("role == 'writes' and group > 0")
    named = writes.groupby("group")["layer"].agg(", ".join).to_dict()
    assert dict(zip(table["group"], table["layers"], strict=True)) == named
    assert named == {1: "first, add", 2: "middle"}
    scores = by_scores(model, "l1")
    for row in table.itertuples():
        layer = row.layers.split(",")[0]
        assert (row.units, row.cut) == (WIDTHS[layer], round(WIDTHS[layer] * row.ratio))
        small = model
        if row.cut:
            kept = best(scores[layer], row.units - row.cut)
            gone = sorted({*range(row.units)} - {*kept})
            small = prune_channels(model, layer, gone, image())
        assert row.accuracy == evaluate(small, split).accuracy
    assert table.query("ratio == 0")["accuracy"].tolist() == [1, 1]
    assert table["accuracy"].min() < 1


@pytest.mark.parametrize("ratios", [(), (1,), (-0.1,), 0.5, ("half",), None])
def test_sensitivity_takes_fractions(ratios):
    with pytest.raises(ValueError, match=r"^ratios=.* must be fractions, 0 ≤ ratio < 1"):
        channel_sensitivity(classifier(), SPLIT, image(), ratios=ratios)


def test_sensitivity_takes_images_and_a_criterion():
    with pytest.raises(TypeError, match="split must be"):
        channel_sensitivity(classifier(), image(), image())
    with pytest.raises(ValueError, match="criterion='l3' must be"):
        channel_sensitivity(classifier(), SPLIT, image(), criterion="l3")


# --- Fisher scores -------------------------------------------------------------------------------


def test_fisher_scores_are_squares_of_sums_over_a_channel_in_each_batch():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 5, 2))
    model = nn.Sequential(*model, nn.Flatten(), nn.Linear(125, 2)).double()
    with left_as_it_was(model):
        given = fisher_scores(model, SPLIT, batch_size=25)
    for name, dims in {"0": (1, 2, 3), "2": (0, 2, 3), "4": (1,)}.items():
        weight, expected = model.get_submodule(name).weight, 0
        for start in (0, 25, 50):
            batch = SPLIT[start : start + 25]
            gradient = torch.autograd.grad(F.cross_entropy(model(batch.x), batch.y), weight)[0]
            expected = expected + (weight * gradient).sum(dims).square()
        assert given[name].shape == weight.shape
        torch.testing.assert_close(given[name].sum(dims), expected.detach())


def test_fisher_scores_before_batch_norm_are_no_rounding_errors():
    split = Split(SPLIT.x.mean(1, keepdim=True).repeat(1, 1, 2, 2), SPLIT.y)
    model = small_convnet(width=4, seed=0).double()
    exact = fisher_scores(model, split, batch_size=20)
    rough = fisher_scores(model.float(), Split(split.x.float(), split.y), batch_size=20)
    with_batch_norm = exact["conv1"].mean() / exact["fc"].mean()
    assert with_batch_norm > 1e-4
    for name, scores in exact.items():
        torch.testing.assert_close(rough[name].double(), scores, rtol=1e-3, atol=1e-9)


def test_fisher_scores_choose_channels():
    split = Split(SPLIT.x.mean(1, keepdim=True).repeat(1, 1, 2, 2).float(), SPLIT.y)
    model = small_convnet(width=4, seed=0)
    scores = fisher_scores(model, split, batch_size=20)
    small = prune_network(model, 0.5, split.x[:2], criterion=scores)
    kept = best(scores["conv1"].sum(dim=(1, 2, 3)).tolist(), 2)
    assert small.kept_channels["conv1.weight"][0].tolist() == kept


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (partial(fisher_scores, split=SPLIT, batch_size=0), "batch_size=0 must be"),
        (partial(fisher_scores, split=SPLIT[:0]), "split is empty"),
        (partial(fisher_scores, split=None), "split must be"),
    ],
)
def test_fisher_scores_refuse(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call(chain())
