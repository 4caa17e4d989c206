"""Recorded tables are whole and say where they come from; checkpoints are what was recorded."""

import hashlib
import json
import re

import pandas as pd
import pytest
import torch

from prunelab.lab.results import RESULTS, load_results, with_more
from prunelab.lab.runner import studies
from prunelab.models import CHECKPOINTS, pretrained
from prunelab.studies import dense, shared, transformer
from prunelab.training import evaluate
from prunelab.transformer import bits

RECORDS = sorted(RESULTS.glob("*.json"))
NETWORKS = ("lenet300", "small_convnet")
DENSE = load_results("dense")


def best_run(network: str) -> dict:
    """The rate of the best mean validation accuracy, and its best seed."""
    valid = DENSE[(DENSE["network"] == network) & (DENSE["split"] == "valid")]
    accuracy = valid.pivot_table(index="seed", columns="learning_rate", values="accuracy")
    rate = accuracy.mean().idxmax()
    return {"network": network, "learning_rate": rate, "seed": accuracy[rate].idxmax()}


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_table_is_the_one_recorded_by_a_command_of_its_study(path):
    record = json.loads(path.read_text())
    table = path.with_suffix(".csv").read_bytes()
    assert record["sha256"] == hashlib.sha256(table).hexdigest()
    assert record["rows"] == table.count(b"\n") - 1
    name = {"trajectories": "original"}.get(path.stem, path.stem)  # as it was called then
    assert record["command"].startswith(f"python -m prunelab run {name} --seeds ")
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])
    assert path.stem in studies()
    assert pd.read_csv(path.with_suffix(".csv"))["seed"].nunique() >= 5


def test_every_table_has_a_record_and_every_network_a_small_checkpoint():
    assert {path.stem for path in RESULTS.glob("*.csv")} == {path.stem for path in RECORDS}
    checkpoints = sorted(CHECKPOINTS.glob("*.pt"))
    recorded = ["char_gpt"] if (RESULTS / "transformer.csv").exists() else []
    assert [path.stem for path in checkpoints] == [*recorded, *NETWORKS]
    assert max(path.stat().st_size for path in checkpoints) <= 2_000_000


def test_shipped_is_the_best_seed_of_the_best_rate_by_validation():
    expected = [best_run(network) for network in NETWORKS]
    assert dense.shipped(DENSE) == expected
    first = [run | {"seed": 0} for run in expected]
    assert shared.networks("dense", seeds=2)[::2] == first


@pytest.mark.parametrize("network", NETWORKS)
def test_checkpoint_is_the_shipped_run(full_data, network):
    state = torch.load(CHECKPOINTS / f"{network}.pt", weights_only=True)
    model = pretrained(network)
    assert set(state) == set(model.state_dict())
    runs = DENSE[DENSE["network"] == network].set_index(["split", "learning_rate", "seed"])
    valid, test = (evaluate(model, split) for split in (full_data.valid, full_data.test))
    _, *run = best_run(network).values()
    assert tuple(run) == (runs.loc["valid"]["loss"] - valid.loss).abs().idxmin()
    assert test.accuracy == pytest.approx(runs.loc["test", *run]["accuracy"], abs=0.002)


@pytest.mark.skipif(not (RESULTS / "transformer.csv").exists(), reason="it is not recorded")
def test_the_transformer_is_the_shipped_run():
    table = load_results("transformer")
    rows = table[table["part"] == "dense"].set_index(["criterion", "seed"])["test_bits"]
    expected = rows["dense, half precision", transformer.shipped(table)]
    found = evaluate(pretrained("char_gpt"), transformer.text().test).loss
    assert bits(found) == pytest.approx(expected, abs=1e-4)


def test_a_study_goes_on_with_the_networks_of_undecided():
    assert with_more("one_shot").equals(load_results("one_shot"))
    recorded, more = load_results("gradual"), with_more("gradual")
    assert more.iloc[: len(recorded)].equals(recorded)
    assert sorted(more["seed"].iloc[len(recorded) :].unique()) == [*range(5, 10)]
    assert more.dtypes.equals(recorded.dtypes)
    assert not more.index.has_duplicates
