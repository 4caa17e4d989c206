"""Heads go as a whole, numbers of modules follow, and what keeps pace stays in proportion."""

import re

import pytest
import torch
from torch import nn

from prunelab.surgery import (
    CannotCut,
    channel_groups,
    load_network,
    prune_channels,
    prune_network,
    save_network,
)
from tests import attention_cases as cases
from tests.surgery_cases import CASES, Case, tokens
from tests.surgery_oracle import assert_exact, randomize

pytestmark = pytest.mark.filterwarnings("ignore::prunelab.surgery.LeftAlone")


def named(beginning: str) -> Case:
    return next(case for name, case in CASES.items() if name.startswith(beginning))


def build(beginning: str) -> nn.Module:
    return randomize(named(beginning).build())


def rows_of_head(head: int, parts: int = 3) -> list[int]:
    return [16 * part + 4 * head + i for part in range(parts) for i in range(4)]


def test_one_head_is_cut_and_the_number_of_heads_follows():
    model = build("heads of chunks, SDPA")
    small = prune_channels(model, "n.qkv", rows_of_head(1), tokens())
    assert (small.n.n_head, small.n.qkv.out_features, small.n.proj.in_features) == (3, 36, 12)
    assert small.n.proj.out_features == model.n.proj.out_features
    assert_exact(model, small, tokens())


@pytest.mark.parametrize("channels", [[0], rows_of_head(1)[:-1], rows_of_head(2, 1)])
def test_part_of_a_head_is_refused(channels):
    with pytest.raises(CannotCut, match="go only together"):
        prune_channels(build("heads of chunks, SDPA"), "n.qkv", channels, tokens())


def test_queries_go_with_the_keys_they_share():
    model = build("grouped, by attributes")
    with pytest.raises(CannotCut, match=r"go only together with its channels \[4, 5, 6, 7\]"):
        prune_channels(model, "n.q", [0, 1, 2, 3], tokens())
    small = prune_channels(model, "n.q", list(range(8)), tokens())
    assert (small.n.heads, small.n.kv_heads, small.n.k.out_features) == (2, 1, 4)
    assert_exact(model, small, tokens())


def test_heads_of_multihead_attention_go_only_in_proportion_to_its_width():
    model = build("MultiheadAttention with residual")
    for layer, channels in (("n", rows_of_head(0)), ("a", [0, 1, 2, 3])):
        with pytest.raises(CannotCut, match="once cut, enters `multi_head_attention_forward`"):
            prune_channels(model, layer, channels, tokens())


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize(("ratio", "heads"), [(0.1, 4), (0.3, 3), (0.5, 2), (0.9, 1)])
def test_width_and_heads_lose_the_same_fraction(ratio, heads, scope):
    model = build("MultiheadAttention with residual")
    small = prune_network(model, ratio, tokens(), "random", scope)
    assert small.n.num_heads == heads
    assert small.a.out_features == small.out.in_features == 4 * heads
    assert_exact(model, small, tokens())


def test_all_layers_on_a_residual_stream_keep_pace():
    case = named("language model with tied embeddings")
    model = randomize(case.build())
    small = prune_network(model, 0.3, case.inputs, "random", "global")
    numbers = {(block.n_head, block.n_embd) for block in small.blocks}
    assert len(numbers) == 1
    assert numbers < {(1, 4), (2, 8), (3, 12)}
    assert_exact(model, small, case.inputs, case.reads)


def test_width_in_pace_is_rounded_with_its_heads():
    model = build("MultiheadAttention with residual")
    small = prune_network(model, 0.4, tokens(), round_to=8)
    assert (small.a.out_features, small.n.num_heads) == (8, 2)


def test_heads_without_pace_are_cut_where_the_width_stays():
    model = build("heads of chunks, SDPA")
    small = prune_network(model, 0.5, tokens(), exclude=("a", "n.proj"))
    assert (small.a.out_features, small.n.n_head) == (16, 2)
    assert_exact(model, small, tokens())
    model = build("MultiheadAttention with residual")
    with pytest.raises(CannotCut, match="nothing in this network can be cut"):
        prune_network(model, 0.5, tokens(), exclude=("a", "n.out_proj"))


WHY = {  # a case, a layer that stays, and words of the reason
    "four heads by number": ("n.qkv", "`view` meets sizes that depend on how many channels"),
    "width by number": ("n.qkv", "once cut, enters `reshape`, which fails"),
    "one head alone": ("n.qkv", "enters `matmul`, which may mix channels"),
    "softmax over heads": ("n.qkv", "enters `softmax`, which may mix channels"),
    "keys of its own": ("a", "keys of its own"),
    "zero attention": ("a", "add_zero_attn"),
    "a mask for each head": ("a", "meets a mask for each head"),
    "averaged weights are used": ("n.in_proj_weight", "is averaged over the heads"),
}


@pytest.mark.parametrize("name", WHY)
def test_heads_that_stay_have_a_reason(name):
    layer, why = WHY[name]
    table = channel_groups(build(name), tokens())
    stays = table[(table["layer"] == layer)]["stays"]
    assert any(re.search(re.escape(why), reason) for reason in stays), stays.tolist()


def test_a_stored_network_has_its_numbers_again(tmp_path):
    for name in ("grouped, by attributes", "MultiheadAttention with residual", "language model"):
        case = named(name)
        small = prune_network(randomize(case.build()), 0.5, case.inputs).eval()
        save_network(small, tmp_path / "small.pt")
        loaded = load_network(randomize(case.build(), seed=3).eval(), tmp_path / "small.pt")
        assert repr(loaded) == repr(small)
        assert torch.equal(loaded(case.inputs), small(case.inputs))


@pytest.mark.parametrize("name", ["encoder", "MultiheadAttention with residual"])
def test_the_fast_path_computes_the_same(name):
    """In evaluation mode without gradients, torch has layers of its own for attention."""
    small = prune_network(build(name), 0.5, tokens()).eval()
    slow = small(tokens())
    with torch.no_grad():
        fast = small(tokens())
    torch.testing.assert_close(fast, slow)


def test_a_number_that_says_no_width_stays():
    small = prune_network(build("a length that equals the width"), 0.5, tokens())
    assert (small.n.n_head, small.n.max_length, small.n.block_size) == (2, 16, 4)


def test_a_head_that_is_scored_adds_up_its_rows():
    model = build("heads of chunks, SDPA")
    with torch.no_grad():
        for head, scale in enumerate((4.0, 1.0, 3.0, 2.0)):
            model.n.qkv.weight[rows_of_head(head)] = scale
    small = prune_network(model, 0.5, tokens(), exclude=("a", "n.proj"))
    assert small.kept_channels["n.qkv.weight"][0].tolist() == sorted(
        rows_of_head(0) + rows_of_head(2)
    )


def test_cases_of_attention_are_among_the_cases():
    assert any(isinstance(getattr(c.model, "n", None), cases.Attention) for c in CASES.values())
