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
from prunelab.studies import transformer_random_cuts as by_lot
from prunelab.studies import transformer_recovery as recovery
from prunelab.training import evaluate
from prunelab.transformer import bits, char_gpt
from tests.helpers import same

LEVELS = ("50%", "70%", "2:4")
ALL = study.LEVELS
ARM = ["criterion", "level", "alpha"]
tiny = partial(char_gpt, layers=2, width=16, heads=2)


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(study, "char_gpt", tiny)
    patch.setattr(study, "LEVELS", {level: ALL[level] for level in LEVELS})
    for module in (study, recovery):
        patch.setattr(module, "CALIBRATION", 3)
    patch.setattr(study, "RATES", (3e-3, 1e-2, 3e-2))
    patch.setattr(study, "FIRST", (3e-3, 3e-2))
    patch.setattr(recovery, "LEVELS", {level: ALL[level] for level in LEVELS[1:]})
    for module in (recovery, by_lot):
        patch.setattr(module, "RETRAINING", 4)
        patch.setattr(module, "RATES", (3e-3, 1e-2, 3e-2))
        patch.setattr(module, "FIRST", (3e-3, 1e-2))
    patch.setattr(study, "VALID", 10)
    patch.setattr(study, "TEST_EVERY", 700)
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
        return runner.run("transformer", seeds=2, steps=40, results=folder)


@pytest.fixture(scope="module")
def again(small, folder) -> pd.DataFrame:
    """The same networks, pruned and trained a little more: the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE", folder / "cache")
        shrink(patch)
        table = runner.run("transformer_recovery", seeds=2, steps=40, results=folder)
    return table.fillna({"level": ""})


@pytest.fixture(scope="module")
def lots(small, folder) -> pd.DataFrame:
    """The same networks, cut by lot: the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "CACHE", folder / "cache")
        shrink(patch)
        return runner.run("transformer_random_cuts", seeds=2, steps=40, results=folder)


@pytest.fixture
def patched(folder, monkeypatch):
    monkeypatch.setattr(cache, "CACHE", folder / "cache")


@pytest.fixture
def tiny_scale(monkeypatch):
    shrink(monkeypatch)


def test_a_small_run_has_every_arm_once(small):
    parts = small[small["role"] == "comparison"].groupby("part").size()
    arms = 2 * 8 + 4
    expected = {"dense": 2, "one-shot": arms, "int8": 5, "calibration": 4, "outliers": 8}
    expected |= {"inputs": 8, "blocks": 6}
    assert parts.to_dict() == {name: 2 * n for name, n in expected.items()}
    by = ["part", "role", "seed", "level", "criterion", "scope", "blocks", "factor", "layer"]
    assert not small.duplicated([*by, "rate"]).any()
    measured = small[~small["part"].isin(["inputs"]) & (small["role"] != "choice")]
    assert measured["test_bits"].between(1, 8).all()


def test_choices_saw_another_network_and_no_test_text(small, again, lots):
    for table in (small, again, lots):
        choice = table[table["role"] == "choice"]
        assert set(choice["seed"]) == {study.TUNING_SEED}
        assert choice["test_bits"].isna().all()
        assert set(table.loc[table["role"] != "choice", "seed"]) == {0, 1}
    for table in (again, lots):
        best = table[table["role"] == "choice"].sort_values("valid_bits").groupby(ARM)["rate"]
        chosen = table[table["role"] == "comparison"].groupby(ARM)["rate"]
        assert chosen.nunique().max() == 1
        assert chosen.first().to_dict() == best.first().to_dict()


def test_the_networks_were_trained_at_the_rate_that_was_chosen(small, folder, tiny_scale, patched):
    choice = small[small["role"] == "choice"].set_index("rate")["valid_bits"]
    assert len(choice) == 3
    state = cache.remember(study.trained, seed=0, steps=40, rate=choice.idxmin())
    assert same(state, study.dense(0, 40).state_dict())


def test_all_criteria_prune_as_much(small):
    for level, share in (("50%", 0.5), ("70%", 0.7), ("2:4", 0.5)):
        of_level = (small["part"] == "one-shot") & (small["level"] == level)
        found = small.loc[of_level, "sparsity"]
        assert len(found)
        assert found.to_numpy() == pytest.approx(share, abs=0.02)  # rows of 16 are rounded


def test_every_arm_is_retrained_and_starts_where_one_shot_pruning_ends(small, again):
    compared = again[again["role"] == "comparison"]
    assert len(compared) == 2 * (1 + 4 * 2 + 4 + 6)
    assert not again.duplicated([*ARM, "role", "seed", "rate"]).any()
    one_shot = small[small["part"] == "one-shot"].set_index(["criterion", "level", "scope", "seed"])
    for row in compared[compared["criterion"].isin(study.SCOPES)].itertuples():
        scope = "pattern" if row.level == "2:4" else study.SCOPES[row.criterion]
        before = one_shot.loc[(row.criterion, row.level, scope, row.seed), "test_bits"]
        assert row.one_shot_test_bits == pytest.approx(before, abs=1e-6)
    assert (compared["test_bits"] < compared["one_shot_test_bits"]).mean() > 0.9


def test_cut_networks_have_as_many_weights_as_their_shares_say(again):
    left = again[again["alpha"] == 1].groupby(["criterion", "level"])["weights"].first()
    whole = left["dense", ""]
    assert left["cut: heads and hidden units", "50%"] == whole / 2
    assert left["cut: all widths", "50%"] == whole / 4
    assert left["l1", "70%"] == pytest.approx(0.3 * whole, rel=0.02)


def test_lots_cut_as_much_as_norms_and_not_the_same(again, lots):
    by_norm = again[(again["criterion"] == "cut: heads and hidden units") & (again["alpha"] == 1)]
    norms, drawn = (
        table[table["role"] == "comparison"].set_index(["level", "seed"])
        for table in (by_norm, lots)
    )
    assert len(norms) == len(drawn) == 4
    drawn = drawn.loc[norms.index]
    assert drawn["weights"].to_list() == norms["weights"].to_list()
    assert (drawn["one_shot_test_bits"] != norms["one_shot_test_bits"]).all()
    assert drawn["test_bits"].between(1, 8).all()


@pytest.mark.parametrize("alpha", recovery.ALPHAS)
def test_distillation_counts_every_position_as_one_example(alpha):
    student, teacher = tiny(seed=1), tiny(seed=2)
    x = torch.randint(96, (3, 8), generator=torch.Generator().manual_seed(0))
    y = x.flip(1)
    q, p = (model(x).double().log_softmax(dim=1) for model in (student, teacher))
    labels = -q.gather(1, y[:, None]).mean()
    divergence = (p.exp() * (p - q)).sum(dim=1).mean()
    found = recovery.from_dense(teacher, alpha)(student(x), y, x)
    assert found.item() == pytest.approx((alpha * labels + (1 - alpha) * divergence).item(), 1e-5)


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
