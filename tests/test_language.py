"""What notebook 17 says: its tables, recomputed by other code, and its paper at scale."""

import numpy as np
import pandas as pd
import pytest
import torch

from prunelab.data import load_data
from prunelab.lab import language, scale
from prunelab.lab.text import rounded_weights, surprise
from prunelab.masks import get_masks, set_mask
from prunelab.pruning import apply_global_pruning
from prunelab.training import evaluate
from prunelab.transformer import bits, char_gpt
from tests.test_claims import interval, read


def effects(claim: str, quantity: str = "") -> pd.DataFrame:
    (found,) = [c for c in language.CLAIMS if c.words == claim and c.quantity.endswith(quantity)]
    return found.measure(read(found.study)).set_index("setting")


def one_shot(criterion: str, scope: str, level: str) -> pd.Series:
    rows = read("transformer")
    which = {"part": "one-shot", "criterion": criterion, "scope": scope, "level": level}
    for column, value in which.items():
        rows = rows[rows[column] == value]
    return rows.set_index("seed")["test_bits"]


def same(row: pd.Series, values: pd.Series) -> None:
    assert sorted(values.index) == [*range(len(values))]
    assert row[["mean", "low", "high"]].tolist() == pytest.approx(interval(values), abs=1e-9)


@pytest.mark.parametrize("level", ["50%", "80%"])
def test_criteria_are_compared_where_their_papers_rank_them(level):
    magnitude, wanda = one_shot("l1", "layer", level), one_shot("wanda", "row", level)
    same(effects("Wanda beats magnitude", "in layers").loc[level], magnitude - wanda)
    together = one_shot("l1", "global", level)
    same(effects("Wanda beats magnitude", "globally").loc[level], together - wanda)
    obs = one_shot("sparsegpt", "128 columns", level)
    same(effects("SparseGPT beats magnitude").loc[level], magnitude - obs)
    by_layer = one_shot("wanda", "layer", level)
    same(effects("ranks in rows suit Wanda").loc[level], by_layer - wanda)


def test_patterns_outliers_blocks_and_bytes():
    rows = read("transformer").dropna(subset="criterion")
    rows = rows.set_index(["part", "criterion", "seed"]).sort_index()
    pattern = one_shot("l1", "pattern", "2:4") - one_shot("wanda", "pattern", "2:4")
    same(effects("Wanda beats magnitude", "in layers").loc["2:4"], pattern)
    large = rows[rows["factor"] == 30]["test_bits"]["outliers"]
    same(effects("outliers make Wanda win").loc["times 30"], large["l1"] - large["wanda"])
    few, many = (rows[rows["blocks"] == n]["test_bits"]["calibration"] for n in (16, 256))
    same(effects("few blocks are enough").loc["Wanda"], few["wanda"] - many["wanda"])
    small, whole = (rows.loc[(part, "dense"), "test_bits"] for part in ("int8", "dense"))
    same(effects("8 bits cost nothing").loc["dense"], small - whole)
    small = rows[rows["level"] == "2:4"]["test_bits"]["int8", "sparsegpt"]
    whole = one_shot("sparsegpt", "pattern", "2:4")
    same(effects("8 bits cost nothing").loc["SparseGPT 2:4"], small - whole)


def test_a_cut_by_lot_is_compared_with_that_by_norm_of_the_same_network():
    lots, norms = read("transformer_random_cuts"), read("transformer_recovery")
    norms = norms[(norms["criterion"] == "cut: heads and hidden units") & (norms["alpha"] == 1)]
    lots, norms = (
        rows[(rows["role"] == "comparison") & (rows["level"] == "50%")].set_index("seed")
        for rows in (lots, norms)
    )
    found = effects("norms know which heads to cut")
    same(found.loc["50%"], lots["test_bits"] - norms["test_bits"])
    assert sorted(found.index) == ["25%", "50%"]


def test_influence_is_ranked_within_each_network():
    rows = read("transformer")
    halves = rows[(rows["part"] == "blocks") & rows["layer"].str.endswith(("mlp", "attention"))]
    ranks = pd.Series(
        {
            seed: part["influence"].rank().corr(part["test_bits"].rank())
            for seed, part in halves.groupby("seed")
        }
    )
    found = effects("low influence means little damage").loc["halves"]
    assert found["mean"] == pytest.approx(ranks.mean())
    assert found["high"] <= 1


def test_losses_are_against_the_same_network():
    rows = language.against_dense(read("transformer"))
    dense = rows[rows["criterion"] == "dense"]
    assert dense.loc[dense["part"] == "dense", "lost"].eq(0).all()
    assert rows["lost"].notna().sum() == rows["test_bits"].notna().sum()
    usual = language.as_published(read("transformer"))
    assert usual.groupby(["level", "criterion", "seed"]).size().eq(1).all()


def test_published_perplexities_become_bits():
    table = language.published_perplexity()
    assert len(table) == 27
    wanda = table.query("model == 'LLaMA-2-7B' and level == '50%' and criterion == 'Wanda'")
    assert wanda["lost"].item() == pytest.approx(np.log2(6.42) - np.log2(5.12))


def test_surprise_adds_up_to_the_loss():
    model, text = char_gpt(layers=1, width=16, heads=2, seed=0), load_data("cpython")
    block = text.test[:1]
    words = "".join(text.classes[i] for i in [*block.x[0].tolist(), block.y[0, -1].item()])
    found = surprise(model, words, text.classes)
    assert len(found) == 64
    assert sum(found) / 64 == pytest.approx(bits(evaluate(model, block).loss), abs=1e-5)


def test_rounded_weights_have_255_values_a_row_and_keep_their_zeros():
    model = char_gpt(layers=1, width=32, heads=2, seed=0)
    apply_global_pruning(model, sparsity=0.5, exclude="head")
    before = {name: layer.weight.detach().clone() for name, layer in linear(model).items()}
    masks = {name: mask.clone() for name, mask in get_masks(model).items()}
    rounded_weights(model)
    for name, layer in linear(model).items():
        step = before[name].abs().amax(dim=1, keepdim=True) / 127
        assert (layer.weight - before[name]).abs().le(0.5001 * step).all()
        assert torch.allclose(layer.weight / step, (layer.weight / step).round(), atol=1e-3)
    assert all(torch.equal(mask, masks[name]) for name, mask in get_masks(model).items())


def test_a_row_without_weights_stays_zero_when_it_is_rounded():
    layer = torch.nn.Sequential(torch.nn.Linear(4, 2))
    mask = torch.tensor([[False] * 4, [True] * 4])
    set_mask(layer[0], mask)
    rounded_weights(layer)
    assert layer[0].weight[0].tolist() == [0.0] * 4
    assert layer[0].weight.isfinite().all()


def linear(model) -> dict[str, torch.nn.Linear]:
    return {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}


def test_shapes_have_as_many_weights_as_their_names_say():
    assert scale.LLAMA["7B"].weights == 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert 6e9 < scale.LLAMA["7B"].weights < 7e9
    assert 66e9 < scale.LLAMA["70B"].weights < 70e9


def test_multiplications_are_those_of_the_steps():
    tiny = scale.Shape(2, ((3, 5, "a"), (7, 5, "a"), (5, 11, "b")))
    tokens = scale.CALIBRATION
    found = scale.steps(tiny)
    assert found["one pass"] == 2 * tokens * (15 + 35 + 55)
    assert found["Gram matrices"] == 2 * tokens * (25 + 121)
    assert found["inverses"] == pytest.approx(2 * (125 + 1331) * 7 / 6)
    assert found["updates"] == 2 * (3 * 25 + 7 * 25 + 5 * 121) / 2
    assert found["retraining"] == 3 * 2 * scale.RETRAINING * (15 + 35 + 55)


def test_memory_counts_every_weight():
    memory = scale.memory(scale.LLAMA["7B"])
    assert memory["training"] == 8 * memory["weights"]
    assert memory["one block"] == pytest.approx(memory["weights"] / 32)


def test_methods_take_the_time_of_their_steps():
    rates = pd.Series(2.0, index=["one pass", "Gram matrices", "inverses", "updates", "retraining"])
    table = scale.methods(rates)
    days = 2 * table["multiplications"] / 86400
    assert table["days"].to_numpy() == pytest.approx(days.to_numpy())
    assert len(table) == 8


def test_times_are_measured():
    rates = scale.seconds_a_multiplication(width=128, tokens=64)
    assert list(rates.index) == list(scale.steps(scale.LLAMA["7B"]).index)
    assert (rates >= 0).all()
    assert rates["one pass"] > 0
