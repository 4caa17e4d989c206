"""What prune_network chooses, storing and exporting what is cut, and the tables of the groups."""

import re
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunelab.channels import findings
from prunelab.channels.plan import Plan
from prunelab.data import Split
from prunelab.early import snip_scores
from prunelab.models import resnet20, small_convnet
from prunelab.surgery import (
    CannotCut,
    LeftAlone,
    channel_groups,
    channel_table,
    load_network,
    prune_channels,
    prune_network,
    save_network,
)
from tests import recurrent_cases  # noqa: F401  it adds cases
from tests.helpers import left_as_it_was, same, state
from tests.surgery_cases import CASES, Net, chain, conv, cut_layers, image, widths
from tests.surgery_oracle import assert_exact, randomize

X = image(1, 28)


class Block(nn.Module):
    """Two groups: `first`, whose channels `add` shares, and `middle` between them."""

    def __init__(self):
        super().__init__()
        self.first, self.norm1 = conv(3, 8), nn.BatchNorm2d(8)
        self.middle, self.norm2 = conv(8, 6, 3), nn.BatchNorm2d(6)
        self.add, self.norm3 = conv(6, 8), nn.BatchNorm2d(8)
        self.out = conv(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.first(x)))
        return self.out(F.relu(x + self.norm3(self.add(F.relu(self.norm2(self.middle(x)))))))


GROUPS = {"first": ("first", "add"), "middle": ("middle",)}
NORMS = {"first": "norm1", "middle": "norm2", "add": "norm3"}
WIDTHS = {"first": 8, "middle": 6, "add": 8}


def largest(weight: Tensor) -> Tensor:
    return weight.flatten(1).amax(1)


CRITERIA = ["l1", "l2", "bn_scale", largest]


def by_scores(model: nn.Module, criterion) -> dict[str, list[float]]:
    """Equation (5.3): for each group a score of every unit."""

    def scores(layer: str) -> Tensor:
        if criterion == "bn_scale":
            return model.get_submodule(NORMS[layer]).weight.abs()
        weight = model.get_submodule(layer).weight.flatten(1)
        return largest(weight) if criterion is largest else weight.norm(int(criterion[1]), dim=1)

    return {name: sum(map(scores, layers)).tolist() for name, layers in GROUPS.items()}


def best(scores: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(scores)), key=scores.__getitem__)[len(scores) - count :])


def kept_outputs(small: nn.Module) -> dict[str, list[int]]:
    """Output channels that are left; all of them where nothing was cut."""
    return {
        name: small.kept_channels.get(f"{name}.weight", {}).get(0, torch.arange(n)).tolist()
        for name, n in WIDTHS.items()
    }


def block(seed: int = 5) -> Block:
    model = randomize(Block(), seed)
    with torch.no_grad():
        model.norm1.weight[::3] *= -1  # scales count by their size
    return model


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
def test_the_lowest_of_every_group_go(criterion, ratio):
    model = block()
    small = prune_network(model, ratio, image(), criterion=criterion)
    scores = by_scores(model, criterion)
    kept = {name: best(s, len(s) - round(len(s) * ratio)) for name, s in scores.items()}
    assert kept_outputs(small) == {**kept, "add": kept["first"]}
    assert_exact(model, small, image())


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("ratio", [0.3, 0.6])
@pytest.mark.parametrize("relative", [None, True, False])
def test_global_scope_ranks_the_whole_network(criterion, ratio, relative):
    """If not said, norms are relative to the mean of their group, and other scores are not."""
    model = block()
    with torch.no_grad():
        model.middle.weight *= 100  # a scale that relative norms do not see
    how = {"scope": "global", "relative": relative}
    small = prune_network(model, ratio, image(), criterion=criterion, **how)
    divided = criterion in ("l1", "l2") if relative is None else relative
    ranked = []
    for name, scores in by_scores(model, criterion).items():
        mean = sum(scores) / len(scores) if divided else 1
        ranked += [(s / mean, name, c) for c, s in enumerate(scores)]
    left = sorted(ranked)[round(len(ranked) * ratio) :]
    kept = {name: sorted(c for _, of, c in left if of == name) for name in GROUPS}
    for name in GROUPS:  # a group keeps at least one
        kept[name] = kept[name] or [max((s, c) for s, of, c in ranked if of == name)[1]]
    assert kept_outputs(small) == {**kept, "add": kept["first"]}


@pytest.mark.parametrize("scope", ["uniform", "global"])
def test_scores_of_all_weights_are_added_up_by_filter(scope):
    model, generator = block(), torch.Generator().manual_seed(0)
    given = {
        name: torch.rand(layer.weight.shape, generator=generator)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    sums = {layer: given[layer].double().sum(dim=(1, 2, 3)) for layer in WIDTHS}
    of_unit = {name: sum(sums[layer] for layer in layers) for name, layers in GROUPS.items()}

    small = prune_network(model, 0.5, image(), criterion=given, scope=scope)
    if scope == "uniform":
        kept = {name: best(s.tolist(), len(s) // 2) for name, s in of_unit.items()}
    else:
        last_to_go = torch.cat([*of_unit.values()]).median()  # of 14, the seventh
        kept = {name: (s > last_to_go).nonzero().flatten().tolist() for name, s in of_unit.items()}
    assert kept_outputs(small) == {**kept, "add": kept["first"]}
    assert_exact(model, small, image())


def test_gradients_choose_channels():
    model, generator = small_convnet(width=4, seed=0), torch.Generator().manual_seed(0)
    split = Split(torch.randn(20, 1, 28, 28, generator=generator), torch.arange(20) % 10)
    scores = snip_scores(model, split)
    small = prune_network(model, 0.5, X, criterion=scores)
    kept = best(scores["conv1"].sum(dim=(1, 2, 3)).tolist(), 2)
    assert small.kept_channels["conv1.weight"][0].tolist() == kept


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "criterion has no scores of the layer 'first'"),
        ({"first": torch.rand(8)}, r"criterion\['first'\] \(8,\) must have the shape"),
        ({"first": torch.full((8, 3, 1, 1), torch.nan)}, "needed is a finite score"),
    ],
)
def test_scores_that_do_not_fit_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        prune_network(block(), 0.5, image(), criterion=given)


def test_a_group_keeps_its_best_unit():
    model = block()
    with torch.no_grad():
        model.middle.weight *= 1e-6
    small = prune_network(model, 0.7, image(), criterion=largest, scope="global")
    assert kept_outputs(small)["middle"] == best(by_scores(model, largest)["middle"], 1)
    small = prune_network(model, 0.99, image())
    assert (small.first.out_channels, small.middle.out_channels) == (1, 1)


def test_random_scores_follow_the_seed_only():
    def chosen(model, **options):
        return kept_outputs(prune_network(model, 0.5, image(), criterion="random", **options))

    assert chosen(block(3)) == chosen(block(4)) == chosen(block(), seed=0)
    assert len({str(chosen(block(), seed=seed)) for seed in range(5)}) == 5


def test_first_channels_go_where_scores_tie():
    small = prune_network(block(), 0.5, image(), criterion=lambda w: torch.ones(len(w)))
    assert kept_outputs(small) == {"first": [4, 5, 6, 7], "middle": [3, 4, 5], "add": [4, 5, 6, 7]}


def test_ratio_zero_gives_an_equal_network():
    model = block()
    for scope in ("uniform", "global"):
        small = prune_network(model, 0, image(), scope=scope, round_to=5)
        assert small.kept_channels == {}
        assert repr(small) == repr(model)
        assert same(state(small), state(model))


@pytest.mark.parametrize(
    ("exclude", "cut"),
    [
        ("middle", {"first", "add"}),
        ("add", {"middle"}),
        (("first", "out"), {"middle"}),
        ((), {"first", "middle", "add"}),
    ],
)
def test_what_is_excluded_keeps_its_outputs(exclude, cut):
    model = block()
    assert cut_layers(model, prune_network(model, 0.5, image(), exclude=exclude)) == cut


def test_exclude_takes_beginnings_of_dotted_names():
    model = randomize(resnet20())
    inside = {name for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    first = next(name for name in sorted(inside) if "." in name).rpartition(".")[0]
    small = prune_network(model, 0.5, X, exclude=first)
    cut = cut_layers(model, small)
    assert cut
    assert not any(name.startswith(f"{first}.") for name in cut)
    with pytest.raises(CannotCut, match="nothing"):
        prune_network(model, 0.5, X, exclude=tuple(inside))


def test_bn_scale_leaves_channels_without_batchnorm():
    model = block()
    model.norm2 = nn.Identity()
    with pytest.warns(LeftAlone, match="middle"):
        small = prune_network(model, 0.5, image(), criterion="bn_scale")
    assert cut_layers(model, small) == {"first", "add"}
    model.norm2 = nn.BatchNorm2d(6)
    assert kept_outputs(small)["first"] == best(by_scores(model, "bn_scale")["first"], 4)


def grouped(width: int, written: int, groups: int) -> Net:
    g = conv(width, written, groups=groups)
    return Net(lambda m, x: m.out(m.g(m.a(x))), a=conv(3, width), g=g, out=conv(written, 2))


ROUNDED = {  # network, ratio, round_to, widths
    "nearest": (chain(width=22), 0.5, 8, {"a": 8}),
    "nearest, upwards": (chain(width=26), 0.5, 8, {"a": 16}),
    "in the middle, upwards": (chain(width=24), 0.5, 8, {"a": 16}),
    "never nothing": (chain(width=24), 0.9, 8, {"a": 8}),
    "never more than there are": (chain(width=8), 0.5, 100, {"a": 8}),
    "depthwise with a multiplier": (grouped(24, 48, 24), 0.5, 8, {"a": 16, "g": 32}),
    "grouped in pairs": (grouped(24, 24, 12), 0.5, 4, {"a": 12, "g": 12}),
    "3 of one layer, 1 of another": (grouped(36, 12, 12), 0.5, 4, {"a": 24, "g": 8}),
    "in each of 4 groups": (grouped(24, 40, 4), 0.5, 8, {"a": 16, "g": 24}),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_round_to(name):
    model, ratio, round_to, expected = ROUNDED[name]
    randomize(model)
    small = prune_network(model, ratio, image(), round_to=round_to)
    assert widths(small) == {**expected, "out": 2}
    assert_exact(model, small, image())


def test_cut_network_is_exported():
    small = prune_network(randomize(small_convnet()), 0.5, X).eval()
    exported = torch.export.export(small, (X,)).module()
    torch.testing.assert_close(exported(X), small(X))


def test_saved_network_is_loaded_bit_for_bit(tmp_path):
    model = block()
    small = prune_network(model, 0.5, image())
    small(image()).sum().backward()
    torch.optim.SGD(small.parameters(), lr=0.1).step()
    save_network(small, tmp_path / "small.pt")
    torch.load(tmp_path / "small.pt", weights_only=True)
    original = block(seed=9).eval()
    with left_as_it_was(original):
        loaded = load_network(original, str(tmp_path / "small.pt"))
    assert not loaded.training
    assert torch.equal(loaded(image()), small.eval()(image()))
    assert repr(loaded) == repr(small)
    assert str(loaded.kept_channels) == str(small.kept_channels)


def test_a_network_cut_thrice_and_loaded_in_between_is_stored_as_one_cut(tmp_path):
    model = block()
    once = prune_network(model, 0.25, image())
    kept = str(once.kept_channels)
    save_network(once, tmp_path / "once.pt")
    twice = prune_network(load_network(block(seed=9), tmp_path / "once.pt"), 0.5, image())
    thrice = prune_channels(twice, "middle", [1], image())
    assert thrice.middle.out_channels == 6 - 2 - 2 - 1
    assert str(once.kept_channels) == kept
    assert_exact(model, thrice, image())
    save_network(thrice, tmp_path / "thrice.pt")
    loaded = load_network(block(seed=9), tmp_path / "thrice.pt")
    assert torch.equal(loaded.eval()(image()), thrice.eval()(image()))


def altered(**layers) -> Block:
    model = Block()
    for name, layer in layers.items():
        setattr(model, name, layer)
    return model


WRONG_ORIGINALS = {
    "another network": small_convnet(),
    "fewer layers": Net(Block.forward, first=conv(3, 4), norm1=nn.BatchNorm2d(4)),
    "another layer more": altered(extra=conv(8, 2)),
    "another kernel": altered(middle=conv(8, 6, 1)),
    "more channels": altered(out=conv(8, 3)),
    "a linear layer instead": altered(first=nn.Linear(3, 8)),
}


@pytest.mark.parametrize("name", WRONG_ORIGINALS)
def test_another_architecture_is_refused(name, tmp_path):
    save_network(prune_network(block(), 0.5, image()), tmp_path / "small.pt")
    original = WRONG_ORIGINALS[name].double()
    with left_as_it_was(original), pytest.raises(ValueError, match=r"small\.pt does not fit orig"):
        load_network(original, tmp_path / "small.pt")
    assert not hasattr(original, "kept_channels")


def test_a_network_that_was_not_cut_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="was not cut"):
        save_network(Block(), tmp_path / "whole.pt")
    assert not list(tmp_path.iterdir())


def test_code_in_a_stored_file_is_not_read(tmp_path):
    torch.save(partial(print), tmp_path / "small.pt")
    with pytest.raises(ValueError, match=r"small\.pt is damaged or holds more than weights"):
        load_network(Block(), tmp_path / "small.pt")


READS, OUTPUT = "reads the model's input", "is the model's output"


def test_groups_of_a_residual_block():
    model = Block()
    with left_as_it_was(model):
        table = channel_groups(model, image().float())
    assert list(table.columns) == ["group", "layer", "role", "channels", "units", "stays"]
    assert sorted(table.itertuples(index=False, name=None)) == [
        (0, "first", "reads", 3, 3, READS),
        (0, "out", "writes", 2, 2, OUTPUT),
        (1, "add", "writes", 8, 8, ""),
        (1, "first", "writes", 8, 8, ""),
        (1, "middle", "reads", 8, 8, ""),
        (1, "norm1", "carries", 8, 8, ""),
        (1, "norm3", "carries", 8, 8, ""),
        (1, "out", "reads", 8, 8, ""),
        (2, "add", "reads", 6, 6, ""),
        (2, "middle", "writes", 6, 6, ""),
        (2, "norm2", "carries", 6, 6, ""),
    ]


def test_channels_of_a_residual_block():
    table = channel_table(Block(), image().float())
    assert list(table.columns) == ["layer", "role", "channel", "unit", "group", "stays"]
    groups = table.groupby(["layer", "role"])
    assert all(rows["channel"].tolist() == list(range(len(rows))) for _, rows in groups)
    units = {" ".join(key): rows["unit"].tolist() for key, rows in groups}
    shared, inner = units["first writes"], units["middle writes"]
    assert len({*shared, *inner}) == len(shared) + len(inner) == 14
    for key in ("norm1 carries", "middle reads", "add writes", "out reads"):
        assert units[key] == shared
    assert units["norm2 carries"] == units["add reads"] == inner


def test_units_of_several_channels():
    layers = {"a": conv(3, 8), "g": conv(8, 4, groups=4), "out": nn.Linear(4 * 36, 2)}
    model = Net(lambda m, x: m.out(m.g(m.a(x)).flatten(1)), **layers)
    table = channel_groups(model, image().float()).query("group == 1").set_index(["layer", "role"])
    assert table["units"].tolist() == [4, 4, 4]
    channels = {("a", "writes"): 8, ("g", "writes"): 4, ("out", "reads"): 4 * 36}
    assert table["channels"].to_dict() == channels


def test_the_same_positions_of_all_groups_are_a_unit():
    model = grouped(8, 12, 4)
    table = channel_table(model, image().float())
    units = {key: list(rows["unit"]) for key, rows in table.groupby(["layer", "role"])}
    of_g, outputs = units["g", "reads"], units["g", "writes"][:3]
    assert units["a", "writes"] == of_g * 4
    assert units["g", "writes"] == units["out", "reads"] == outputs * 4
    assert len({*of_g, *outputs}) == 5


def test_narrower_groups_and_then_fewer_are_stored(tmp_path):
    model, x = randomize(grouped(8, 8, 4)), image()
    once = prune_network(model, 0.5, x)
    assert (once.g.groups, once.g.weight.shape[:2]) == (4, (4, 1))
    twice = prune_network(once, 0.5, x)
    assert (twice.g.groups, twice.g.weight.shape[:2]) == (2, (2, 1))
    assert_exact(model, once, x)
    assert_exact(model, twice, x)
    save_network(twice, tmp_path / "small.pt")
    assert torch.equal(load_network(model, tmp_path / "small.pt")(x), twice(x))


def test_a_group_of_groupnorm_is_a_unit():
    model = Net(lambda m, x: m.out(m.n(m.a(x))), a=conv(3, 8), n=nn.GroupNorm(4, 8), out=conv(8, 2))
    of_a = channel_groups(model, image().float()).query("layer == 'a' and role == 'writes'")
    assert of_a[["channels", "units"]].values.tolist() == [[8, 4]]


def test_a_head_that_the_example_never_reaches_is_named():
    def run(m, x, late=False):
        return m.head(m.a(x)) if late else m.out(m.a(x))

    model = Net(run, a=conv(3, 8), head=conv(8, 5), other=conv(3, 3), out=conv(8, 2))
    for cut in (partial(prune_network, model, 0.5), partial(prune_channels, model, "a", [1])):
        with pytest.warns(LeftAlone, match="never reached .* whole: head; where") as caught:
            cut(image().float())
        assert caught[0].filename == __file__


def test_tables_come_also_where_nothing_can_be_cut():
    table = channel_groups(nn.Linear(4, 2), torch.randn(2, 4))
    rows = set(table.itertuples(index=False, name=None))
    assert rows == {(0, "", "writes", 2, 2, OUTPUT), (0, "", "reads", 4, 4, READS)}
    assert (channel_table(nn.Linear(4, 2), torch.randn(2, 4))["group"] == 0).all()


PARTLY = {  # what stays, and why
    "found on tags": (
        lambda m, x: m.out(torch.cat([m.a(x).softmax(1), m.b(x)], 1)),
        "enters `softmax`, which may mix channels",
    ),
    "found by the rehearsal": (
        lambda m, x: m.out(torch.cat([m.a(x) / m.a(x).shape[1], m.b(x)], 1)),
        "`div` computes with numbers that depend on how many channels there are",
    ),
    "read by value": (
        lambda m, x: m.out(torch.cat([m.a(x) / max(m.a.bias.tolist()), m.b(x)], 1)),
        "is read by `tolist`",
    ),
    "tied to what may not go": (
        lambda m, x: m.out(torch.cat([m.a(x) * torch.ones(1, 8, 1, 1).to(x), m.b(x)], 1)),
        "meets what may not go",
    ),
}


@pytest.mark.parametrize("name", PARTLY)
def test_layers_left_alone_are_listed_with_the_reason(name):
    run, why = PARTLY[name]
    model = randomize(Net(run, a=conv(3, 8), b=conv(3, 8), out=conv(16, 2)))
    message = "left as they are: a; channel_groups(model, example_inputs) says why"
    with pytest.warns(LeftAlone, match=f"^{re.escape(message)}$") as caught:
        small = prune_network(model, 0.5, image())
    assert caught[0].filename == __file__
    assert cut_layers(model, small) == {"b"}
    groups = channel_groups(model, image())
    for table in (groups, channel_table(model, image())):
        rows = table[table["role"] == "writes"][["layer", "stays", "group"]].drop_duplicates()
        assert rows.values.tolist()[:2] == [["a", why, 0], ["b", "", 1]]
    of_out = groups.query("layer == 'out' and role == 'reads'")
    assert sorted(zip(of_out["group"], of_out["channels"], strict=True)) == [(0, 8), (1, 8)]


@pytest.mark.filterwarnings("error::prunelab.surgery.LeftAlone")
def test_the_input_and_a_layer_of_one_channel_stay_without_a_warning():
    layers = {"skip": conv(3, 3), "a": conv(3, 8), "one": conv(8, 1), "b": conv(1, 8)}
    model = Net(lambda m, x: m.out(m.b(m.one(m.a(m.skip(x) + x)))), **layers, out=conv(8, 2))
    assert cut_layers(model, prune_network(model, 0.5, image().float())) == {"a", "b"}
    table = channel_groups(model, image().float()).query("layer == 'one' and role == 'writes'")
    assert table[["group", "stays"]].values.tolist() == [[0, "goes only as a whole"]]


def test_the_first_reason_counts():
    model = Net(PARTLY["found on tags"][0], a=conv(3, 8), b=conv(3, 8), out=conv(16, 2))
    with pytest.warns(LeftAlone, match="are: a;"):
        prune_network(model, 0.5, image().float(), exclude="a")


def test_the_warning_names_five_layers_and_counts_the_rest():
    mixed = {f"a{i}": conv(3, 4) for i in range(7)}

    def run(m, x):
        return m.out(m.b(x) + sum(m.get_submodule(n)(x).softmax(1).sum(1, True) for n in mixed))

    model = Net(run, b=conv(3, 8), out=conv(8, 2), **mixed)
    with pytest.warns(LeftAlone, match="are: a0, a1, a2, a3, a4 and 2 more; channel_groups"):
        prune_network(model, 0.5, image().float())


def test_refusal_names_layers_and_reasons():
    model = chain(lambda m, x: m.out(m.a(x).softmax(1)))
    with pytest.raises(CannotCut, match=r"can be cut\. a: enters `softmax`, which may mix"):
        prune_network(model, 0.5, image().float())


def test_a_forward_that_changes_from_call_to_call_is_not_cut():
    calls = iter(range(1000))
    model = chain(lambda m, x: m.out(m.a(x) if next(calls) % 3 else -m.a(x)))
    table = channel_groups(model, image().float())
    assert (table["group"] == 0).all()
    why = table.query("layer == 'a' and role == 'writes'")["stays"].item()
    assert "takes another path" in why


@pytest.mark.parametrize("name", ["LSTM of two layers -> a n b", "LayerNorm without weights -> a"])
def test_numbers_of_modules_are_stored(name, tmp_path):
    case = CASES[name]
    small = prune_network(randomize(case.build()), 0.5, case.inputs)
    save_network(small, tmp_path / "small.pt")
    loaded = load_network(case.build().double(), tmp_path / "small.pt")
    assert torch.equal(loaded(case.inputs), small(case.inputs))
    assert repr(loaded) == repr(small)


def test_ties_that_are_found_again_take_no_memory(monkeypatch):
    class Adds(nn.Linear):
        def forward(self, x, places):
            return x + places + super().forward(x)

    class Repeats(nn.Module):
        def __init__(self):
            super().__init__()
            self.places = nn.Parameter(torch.randn(1, 24, 8))
            self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
            self.layers = nn.ModuleList(Adds(8, 8) for _ in range(20))

        def forward(self, x):
            x = self.first(x)
            for layer in self.layers:
                x = layer(x, self.places)
            return self.last(x)

    model, x = Repeats(), torch.rand(1, 24, 4)
    whole = Plan(model, x)
    monkeypatch.setattr(findings, "MANY_TIES", 100)
    plan = Plan(model, x)
    once = torch.cat(plan.found.ties).unique()
    assert once.equal(torch.cat(whole.found.ties).unique())
    held = [sum(map(len, each.found.ties)) for each in (plan, whole)]
    assert held[0] < 3 * len(once) < held[1]
    assert plan.unit.equal(whole.unit)
    assert prune_network(model, 0.5, x).last.in_features == 4
