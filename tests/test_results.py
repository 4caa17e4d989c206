"""Recorded tables are whole and say where they come from; checkpoints are what was recorded."""

import csv
import hashlib
import json
import re
from collections import defaultdict

import pytest
import torch

from prunelab.lab.results import RESULTS
from prunelab.lab.runner import studies
from prunelab.models import CHECKPOINTS, pretrained
from prunelab.training import evaluate

RECORDS = sorted(RESULTS.glob("*.json"))
NETWORKS = sorted(path.stem for path in CHECKPOINTS.glob("*.pt"))
LEAST_ACCURACY = {"lenet300": 0.88, "small_convnet": 0.90}
every_record = pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
every_network = pytest.mark.parametrize("network", NETWORKS)


def dense_rows(network: str) -> list[dict]:
    with (RESULTS / "dense.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["network"] == network]


def best_run(network: str) -> tuple[str, str]:
    """Learning rate and seed of the best validation accuracy, the rate by its mean."""
    by_rate = defaultdict(dict)
    for row in dense_rows(network):
        if row["split"] == "valid":
            by_rate[row["learning_rate"]][row["seed"]] = float(row["accuracy"])
    rate = max(by_rate, key=lambda rate: sum(by_rate[rate].values()) / len(by_rate[rate]))
    return rate, max(by_rate[rate], key=by_rate[rate].get)


def recorded(network: str, split: str, run: tuple[str, str]) -> dict:
    return next(
        row
        for row in dense_rows(network)
        if row["split"] == split and (row["learning_rate"], row["seed"]) == run
    )


@pytest.fixture(scope="module")
def measured(full_data):
    """Evaluation of every checkpoint on the validation and test images."""
    return {
        (network, split): evaluate(pretrained(network), getattr(full_data, split))
        for network in NETWORKS
        for split in ("valid", "test")
    }


@every_record
def test_table_is_the_one_recorded(path):
    record = json.loads(path.read_text())
    table = path.with_suffix(".csv").read_bytes()
    assert record["sha256"] == hashlib.sha256(table).hexdigest()
    assert record["rows"] == table.count(b"\n") - 1


@every_record
def test_record_names_command_and_commit(path):
    record = json.loads(path.read_text())
    name = {"trajectories": "original"}.get(path.stem, path.stem)  # as it was called then
    assert record["command"].startswith(f"python -m prunelab run {name} --seeds ")
    assert re.fullmatch("[0-9a-f]{40}", record["commit"])


@every_record
def test_record_belongs_to_a_study(path):
    assert path.stem in studies()


@every_record
def test_at_least_five_seeds_are_recorded(path):
    with path.with_suffix(".csv").open() as file:
        assert len({row["seed"] for row in csv.DictReader(file)}) >= 5


def test_every_table_has_a_record():
    assert {path.stem for path in RESULTS.glob("*.csv")} == {path.stem for path in RECORDS}


def test_both_checkpoints_exist():
    assert {"lenet300", "small_convnet"} == set(NETWORKS)


def test_checkpoints_are_small():
    assert sum(path.stat().st_size for path in CHECKPOINTS.glob("*.pt")) <= 2_000_000


@every_network
def test_checkpoint_loads_with_weights_only(network):
    state = torch.load(CHECKPOINTS / f"{network}.pt", weights_only=True)
    assert set(state) == set(pretrained(network).state_dict())


@every_network
def test_checkpoint_has_the_recorded_test_accuracy(measured, network):
    row = recorded(network, "test", best_run(network))
    assert measured[network, "test"].accuracy == pytest.approx(float(row["accuracy"]), abs=0.002)


@every_network
def test_checkpoint_is_good_enough(measured, network):
    assert measured[network, "test"].accuracy >= LEAST_ACCURACY[network]


@every_network
def test_checkpoint_is_the_run_with_the_best_validation_accuracy(measured, network):
    nearest = min(
        (row for row in dense_rows(network) if row["split"] == "valid"),
        key=lambda row: abs(float(row["loss"]) - measured[network, "valid"].loss),
    )
    assert (nearest["learning_rate"], nearest["seed"]) == best_run(network)
