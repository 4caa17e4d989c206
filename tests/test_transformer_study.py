"""The study of the transformer: every arm is what its name says, and a small run adds up."""

import copy
from functools import partial

import pandas as pd
import pytest
import torch

from prunelab.data import load_data
from prunelab.lab import cache, runner
from prunelab.masks import get_masks, prunable_layers
from prunelab.models import pretrained
from prunelab.studies import transformer as study
from prunelab.training import evaluate
from prunelab.transformer import bits, char_gpt
from tests.helpers import same

LEVELS = ("50%", "70%", "2:4")
tiny = partial(char_gpt, layers=2, width=16, heads=2)


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(study, "char_gpt", tiny)
    patch.setattr(study, "LEVELS", {name: study.LEVELS[name] for name in LEVELS})
    patch.setattr(study, "RATES", (1e-3, 3e-3, 1e-2, 3e-2))
    patch.setattr(study, "FIRST", (1e-3, 1e-2))
    patch.setattr(study, "VALID", 10)
    patch.setattr(study, "TEST_EVERY", 700)
    patch.setattr(study, "CALIBRATION", 3)
    patch.setattr(study, "SIZES", (1, 2))
    patch.setattr(study, "FACTORS", (1, 30))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("transformer")


@pytest.fixture(scope="module")
def small(folder) -> pd.DataFrame:
    """Two tiny networks, trained for a few steps: the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE", folder / "cache")
        shrink(patch)
        yield runner.run("transformer", seeds=2, steps=40, results=folder)


@pytest.fixture
def tiny_scale(monkeypatch):
    shrink(monkeypatch)


def test_a_small_run_has_every_arm_once(small):
    parts = small.groupby("part").size()
    arms = 2 * 8 + 4
    expected = {"dense": 2, "one-shot": arms, "calibration": 4, "outliers": 8}
    expected |= {"inputs": 8, "blocks": 6}
    assert parts.drop("retrained").to_dict() == {name: 2 * n for name, n in expected.items()}
    compared = small[small["role"] == "comparison"]
    assert len(compared) == 2 * (1 + 4 * 3)
    by = ["part", "role", "seed", "level", "criterion", "scope", "blocks", "factor", "layer"]
    assert not small.duplicated([*by, "rate"]).any()
    measured = small[~small["part"].isin(["inputs"]) & (small["role"] != "choice")]
    assert measured["test_bits"].between(1, 8).all()


def test_choices_saw_another_network_and_no_test_text(small):
    choice = small[small["role"] == "choice"]
    assert set(choice["seed"]) == {study.TUNING_SEED}
    assert choice["test_bits"].isna().all()
    assert set(small.loc[small["role"] != "choice", "seed"]) == {0, 1}
    best = choice.loc[choice.groupby(["criterion", "level"])["valid_bits"].idxmin()]
    chosen = small[small["role"] == "comparison"].groupby(["criterion", "level"])["rate"]
    assert chosen.nunique().max() == 1
    rates = best.set_index(["criterion", "level"])["rate"].sort_index()
    assert chosen.first().sort_index().to_dict() == rates.to_dict()


def test_all_criteria_prune_as_much(small):
    for part in ("one-shot", "retrained"):
        rows = small[(small["part"] == part) & small["sparsity"].notna()]
        for level, share in (("50%", 0.5), ("70%", 0.7), ("2:4", 0.5)):
            found = rows.loc[rows["level"] == level, "sparsity"]
            assert len(found)
            assert found.to_numpy() == pytest.approx(share, abs=0.02)  # rows of 16 are rounded


def test_the_dense_network_is_that_of_the_other_parts(small):
    dense = small[small["part"] == "dense"].pivot_table("test_bits", "seed", "criterion")
    outliers = small[(small["part"] == "outliers") & (small["criterion"] == "dense")]
    for row in outliers.itertuples():
        assert row.test_bits == pytest.approx(dense.loc[row.seed, "dense"], abs=1e-4)
    assert dense["dense, half precision"].to_numpy() == pytest.approx(dense["dense"], abs=0.01)
    assert (dense["dense, half precision"] != dense["dense"]).all()


def test_a_second_run_takes_everything_from_the_first(small, folder, tiny_scale, monkeypatch):
    monkeypatch.setattr(cache, "CACHE", folder / "cache")
    monkeypatch.setattr(study, "evaluate", None)
    pd.testing.assert_frame_equal(
        runner.run("transformer", seeds=2, steps=40, results=folder), small
    )


def test_the_shipped_network_is_the_best_by_validation(
    small, folder, tmp_path, tiny_scale, monkeypatch
):
    monkeypatch.setattr(cache, "CACHE", folder / "cache")
    monkeypatch.setattr(study, "STEPS", 40)
    for module in ("prunelab.models", "prunelab.studies.transformer"):
        monkeypatch.setattr(f"{module}.CHECKPOINTS", tmp_path)
    monkeypatch.setattr("prunelab.models.char_gpt", tiny)
    study.finish(small)
    rows = small[small["part"] == "dense"].set_index(["criterion", "seed"])
    seed = rows.loc["dense", "valid_bits"].idxmin()
    found = bits(evaluate(pretrained("char_gpt"), study.text().test).loss)
    assert found == pytest.approx(rows.loc[("dense, half precision", seed), "test_bits"], abs=1e-6)


def test_calibration_is_training_text_and_another_for_every_network(tiny_scale):
    training = {row.numpy().tobytes() for row in load_data("cpython", valid=0).train.x}
    first, again, other = (study.calibration(20, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert {row.numpy().tobytes() for row in first} <= training


@pytest.mark.parametrize("criterion", study.SCOPES)
@pytest.mark.parametrize("level", LEVELS)
def test_a_criterion_masks_the_blocks_and_nothing_else(tiny_scale, criterion, level):
    x = study.calibration(2, 0)
    first, other = (study.pruned(tiny(seed=0), criterion, level, x, seed=seed) for seed in (0, 1))
    assert set(get_masks(first)) == set(prunable_layers(first, "head"))
    assert same(get_masks(first), get_masks(other)) == (criterion != "random")
    if level == "2:4":
        for mask in get_masks(first).values():
            assert (mask.unflatten(1, (-1, 4)).sum(dim=-1) == 2).all()


@pytest.mark.parametrize("criterion", ["l1", "wanda"])
def test_ranks_of_all_layers_together_prune_as_many_and_elsewhere(tiny_scale, criterion):
    x, model = study.calibration(2, 0), tiny(seed=0)
    with torch.no_grad():
        model.blocks[0].mlp.up.weight *= 2
    together = study.pruned(copy.deepcopy(model), criterion, "70%", x, 0, scope="global")
    apart = study.pruned(copy.deepcopy(model), criterion, "70%", x, 0, scope="layer")
    assert study.sparsity(together)["sparsity"] == pytest.approx(0.7, abs=1e-4)
    kept = [get_masks(m)["blocks.0.mlp.up"].double().mean() for m in (together, apart)]
    assert kept[0] > kept[1] + 0.1
    assert kept[1] == pytest.approx(0.3, abs=0.02)
