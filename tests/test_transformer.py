"""The transformer reads only what stands before, and learns and is measured like any network."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from prunelab.data import Data, load_data
from prunelab.lab.text import block_influence, continued, input_spread, with_outliers
from prunelab.masks import get_masks, prunable_layers
from prunelab.models import pretrained
from prunelab.pruning import apply_global_pruning
from prunelab.rewinding import reinitialize
from prunelab.sparsity import total_sparsity
from prunelab.training import evaluate, fit
from prunelab.transformer import bits, char_gpt
from tests.helpers import random_state_left_alone, same

HALVES = tuple(f"blocks.{i}.{half}" for i in (0, 1) for half in ("attention", "mlp"))


def small(seed: int = 0, **sizes) -> torch.nn.Module:
    return char_gpt(**({"layers": 2, "width": 32, "heads": 2} | sizes), seed=seed)


@pytest.fixture(scope="module")
def text() -> Data:
    return load_data("cpython", train=200, valid=30)


def test_parameters_and_layers_of_the_network():
    model = char_gpt()
    assert sum(p.numel() for p in model.parameters()) == 821_504
    weights = {name: layer.weight.numel() for name, layer in prunable_layers(model).items()}
    assert list(weights)[:4] == [
        f"blocks.0.{name}" for name in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    ]
    assert sum(weights.values()) == 4 * 12 * 128**2 + 96 * 128
    assert len(weights) == 17


def test_scores_depend_on_what_stands_before_and_on_nothing_after(text):
    model = small().eval()
    x = text.valid.x[:3].clone()
    with torch.no_grad():
        before = model(x)
        x[:, 20] = (x[:, 20] + 1) % 96
        after = model(x)
    assert before.shape == (3, 96, 64)
    assert torch.equal(before[..., :20], after[..., :20])
    assert (before[..., 20:] != after[..., 20:]).any(dim=1).all()


def test_fewer_positions_than_the_context_give_the_same_scores(text):
    model = small().eval()
    x = text.valid.x[:3]
    with torch.no_grad():
        torch.testing.assert_close(model(x[:, :10]), model(x)[..., :10])


def test_the_seed_alone_draws_the_weights():
    with random_state_left_alone():
        first, again, other = (small(seed).state_dict() for seed in (1, 1, 2))
    assert same(first, again)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    anew = reinitialize(small(1), seed=3).state_dict()
    assert not torch.equal(anew["blocks.1.mlp.up.weight"], first["blocks.1.mlp.up.weight"])


def test_loss_and_accuracy_are_of_a_character(text):
    model = small()
    with torch.no_grad():
        scores = model.eval()(text.valid.x).transpose(1, 2).reshape(-1, 96)
    labels = text.valid.y.flatten()
    found = evaluate(model, text.valid, batch_size=7)
    assert found.loss == pytest.approx(F.cross_entropy(scores, labels).item(), rel=1e-5)
    assert found.accuracy == (scores.argmax(dim=1) == labels).double().mean()
    assert found.loss == pytest.approx(math.log(96), rel=0.15)


def test_a_masked_network_is_trained_by_the_plain_loop_and_keeps_its_mask(text):
    model = apply_global_pruning(small(), sparsity=0.5, exclude="head")
    masks = {name: mask.clone() for name, mask in get_masks(model).items()}
    history = fit(model, text, steps=30, batch_size=16, progress=False)
    loss = history[history["split"] == "valid"]["loss"]
    assert loss.iloc[-1] < loss.iloc[0] - 0.5
    assert same(get_masks(model), masks)
    assert (model.blocks[0].mlp.up.weight == 0).sum() >= (~masks["blocks.0.mlp.up"]).sum()
    assert total_sparsity(model) == pytest.approx(0.5 * 24_576 / 27_648, abs=1e-4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"heads": 3}, "width=32 must be a multiple of heads=3"),
        ({"layers": 0}, "layers=0 must be"),
        ({"characters": 1.5}, "characters=1.5 must be"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_impossible_sizes_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        char_gpt(**({"width": 32} | sizes))


def test_bits_of_no_number_are_refused():
    with pytest.raises(ValueError, match="loss='2' must be a number"):
        bits("2")


def test_half_precision_is_loaded_as_a_usual_network(tmp_path, monkeypatch):
    monkeypatch.setattr("prunelab.models.CHECKPOINTS", tmp_path)
    saved = char_gpt(seed=5)
    torch.save({n: t.half() for n, t in saved.state_dict().items()}, tmp_path / "char_gpt.pt")
    assert (tmp_path / "char_gpt.pt").stat().st_size < 2e6
    loaded = pretrained("char_gpt")
    assert loaded.head.weight.dtype == torch.float32
    assert torch.equal(loaded.head.weight, saved.head.weight.half().float())
    assert not loaded.training


def test_text_goes_on_by_the_likeliest_character_where_it_is_cold(text):
    model = small()
    fit(model, text, steps=20, batch_size=16, eval_splits=(), progress=False)
    prompt = "".join(text.classes[number] for number in text.valid.x[0])
    with random_state_left_alone():
        cold = continued(model, prompt, text.classes, length=3, temperature=1e-4)
        warm = [continued(model, prompt, text.classes, 20, seed=seed) for seed in (0, 0, 1)]
    expected = text.valid.x[:1]
    for _ in range(3):
        with torch.no_grad():
            following = model(expected[:, -64:])[:, :, -1].argmax(dim=1, keepdim=True)
        expected = torch.cat([expected, following], dim=1)
    assert [text.classes.index(c) for c in cold] == expected[0, -3:].tolist()
    assert warm[0] == warm[1] != warm[2]
    assert len(warm[0]) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": ""}, "text=''"),
        ({"text": "é"}, "text='é'"),
        ({"length": -1}, "length=-1"),
        ({"temperature": 0}, "temperature=0"),
    ],
)
def test_text_that_cannot_go_on_is_named(options, message, text):
    with pytest.raises(ValueError, match=message):
        continued(small(), **({"text": "def", "characters": text.classes} | options))


def test_influence_of_a_block_is_the_angle_it_turns_by(text):
    model, x = small(), text.train.x[:5]
    found = block_influence(model, x, (*HALVES, "blocks.1"))
    with torch.no_grad():
        h = model.characters(x) + model.positions(torch.arange(64))
        for name in HALVES:
            y = model.get_submodule(name)(h)
            a, b = (v.double().numpy().reshape(-1, 32) for v in (h, y))
            cosine = (a * b).sum(axis=1) / ((a**2).sum(axis=1) * (b**2).sum(axis=1)) ** 0.5
            assert found[name] == pytest.approx(1 - cosine.mean(), rel=1e-6)
            h = y
    model.set_submodule("blocks.0.mlp", torch.nn.Identity())
    assert block_influence(model, x, ("blocks.0.mlp",))["blocks.0.mlp"] == pytest.approx(
        0, abs=1e-9
    )


def test_outliers_on_purpose_change_numbers_and_not_the_function(text):
    model = small()
    with torch.no_grad():
        model.blocks[0].mlp.norm.bias.normal_()
    other = with_outliers(copy.deepcopy(model), factor=30, share=0.1)
    with torch.no_grad():
        torch.testing.assert_close(other(text.valid.x), model(text.valid.x), atol=1e-4, rtol=0)
    gains = other.blocks[1].attention.norm.weight / model.blocks[1].attention.norm.weight
    assert sorted(gains.tolist())[-4:] == pytest.approx([1, 30, 30, 30])


def test_spread_of_inputs():
    gram = torch.diag(torch.tensor([1.0, 4.0, 100.0, 0.0]).double())
    found = input_spread(gram)
    assert found["largest"] == 5
    assert found["spread"] == pytest.approx(torch.tensor([0, math.log10(2), 1]).std().item())
