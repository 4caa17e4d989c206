"""Whatever a public function is given, it answers or says in one line which argument is wrong."""

import copy
import inspect
import re
import warnings
from contextlib import chdir, suppress
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunelab.data import Data, Split
from prunelab.masks import set_mask
from prunelab.models import small_convnet
from prunelab.surgery import prune_network
from tests.helpers import left_as_it_was
from tests.test_house import GROUND_FLOOR

FUNCTIONS = [  # those that say what they are given; load_data has tests of its own
    function
    for path in GROUND_FLOOR
    for name, function in vars(import_module(f"prunelab.{path.stem}")).items()
    if inspect.isfunction(function) and function.__module__ == f"prunelab.{path.stem}"
    if "Arg" in (function.__doc__ or "") or name in ("set_mask", "get_masks")
    if not name.startswith("_") and name != "load_data"
]
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
KEPT, SPLIT = X.clone(), Split(X, torch.arange(4))
DATA = Data("images", SPLIT, SPLIT, SPLIT, tuple("0123"))
SCORES, STATE = torch.tensor([[2.0, 1.0], [0.0, -1.0]]), {"fc.weight": torch.ones(4, 8)}
TABLE = pd.DataFrame({"net": "a", "arm": list("abab"), "seed": [0, 0, 1, 1], "y": [1.0, 2, 3, 5]})
TABLE = TABLE.assign(mean=1, low=0, high=2, step=1, split="valid", loss=0.5)


def net() -> nn.Module:
    return small_convnet(width=2, num_classes=4, seed=0).eval()


# fmt: off
RIGHT = {  # by the name of the argument; a lambda makes a new one for every call
    **dict.fromkeys(("model", "teacher", "original", "a", "b"), net), "repair": None, "points": 1,
    "small": lambda: prune_network(net(), 0.5, X), "layer": lambda: nn.Linear(8, 4),
    "batch_norm": lambda: nn.BatchNorm2d(3), "x": X, "example_inputs": X, "path": "/dev/null",
    "data": DATA, "split": SPLIT, "steps": 1, "epochs": None, "steps_per_round": 1,
    "batch_size": 2, "optimizer": None, "scheduler": None, "loss": None, "seed": 0,
    "eval_every": 1, "eval_splits": ("valid",), "device": "cpu", "progress": False,
    "finetune": None, "schedule": [0.5], "criterion": "l1", "scope": "global", "exclude": (),
    "amount": 0.5, "sparsity": None, "ratio": 0.5, "round_to": None, "layer_name": "conv1",
    "target": None, "max_ratio": None, "relative": None,
    "channel_indices": [0], "rates": dict.fromkeys(("conv1", "conv2", "conv3", "fc"), 0.5),
    "weights": X, "scores": SCORES[0], "count": 1, "mask": STATE["fc.weight"], "threads": 1,
    "outputs": SCORES, "teacher_outputs": SCORES, "labels": SPLIT.y[:2], "T": 3.0, "alpha": 0.5,
    "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "milestones": (0.5,), "original_steps": 4,
    "kind": "step", "final": 0.5, "rounds": 2, "initial": 0.0, "density": 0.5, "total": 9,
    "kept": 3, "min_seconds": 1e-4, "table": TABLE, "effects": TABLE, "history": TABLE,
    "by": ["net"], "value": "y", "between": "arm", "setting": "arm", "largest": True, "unit": "",
    "form": ".2f", "masks": {"fc": torch.ones(4, 8)}, "mask_dict": None, "trained": STATE,
    "initial_state_dict": net().state_dict(), "keep": {"fc": 3}, "input_shape": (1, 8, 8),
    "num_classes": 3, "width": 2, "name": "lenet300", "function": set_mask,
    "draw": lambda: lambda: SimpleNamespace(to_html=str, _repr_mimebundle_=dict),
}
RIGHT_HERE = {
    "paired_difference": {"a": "a", "b": "b"},
    "paired_ratio": {"a": "a", "b": "b"},
    "gradual_pruning": {"batch_size": 2, "device": "cpu", "progress": False},
    "supermask": {"initial": STATE, "criterion": "large final"},
    "apply_synflow": {"sparsity": 0.5},
    "bits": {"loss": 0.5},
    "char_gpt": {"characters": 5, "context": 3, "layers": 1, "width": 4, "heads": 2},
    "input_grams": {"layers": {}},
    "n_of_m": {"scores": SCORES, "n": 1, "m": 2},
    "prune_with_calibration": {"sparsity": 0.5, "pattern": None, "scope": "row"},
    "sparsegpt": {"weights": SCORES, "gram": torch.eye(2), "kept": SCORES > -9, "sparsity": 0.5},
    "wanda_score": {"weights": SCORES, "gram": torch.eye(2)},
}
WRONG = [
    None, "no such thing", "", b"bytes", [], [None], [[1], "a", None], (), (0, -1, 2.5), {},
    {None: None}, {"conv1": "half"}, {1, "a"}, True, False, float("nan"), float("inf"), -1, 0, 0.0,
    1, 1.5, -0.5, 10**30, 10**400, 1e300, 1j, np.float32(0.5), np.int64(2), np.True_, "\udcff\n\0",
    np.float64("nan"), np.ones((2, 3)), np.array([None, "a"]), torch.tensor(0.5), torch.empty(0),
    X[:0], torch.ones(3, 1, 2), X * torch.nan, X.to("meta"), X.to(torch.float8_e4m3fn), X + 0j,
    X.long(), X > 0, X.to_sparse(), X.half(), pd.DataFrame(), TABLE.astype(str), TABLE[:0], int,
    object(), torch, nn.Sequential(), nn.Linear(3, 2), nn.Linear(3, 2, device="meta"),
    nn.LazyLinear(2), nn.Linear(3, 2, dtype=torch.complex64), SPLIT, SPLIT[:0], Split(X, X[:, 0]),
    Split(None, None), DATA, Data("x", None, None, None, ()), {"fc.weight": None},
    {"fc": torch.full((4, 8), 0.5), 3: X}, torch.optim.SGD([X.clone().requires_grad_()], 0.1),
    torch.device("meta"), lambda *given, **named: None, lambda *given, **named: {}["missing"],
]
# fmt: on
LONG = {"steps", "epochs", "rounds", "points", "steps_per_round", "width", "num_classes"}
SMALL = [v for v in WRONG if not isinstance(v, int | float) or v < 100]  # else work without end


@pytest.fixture(scope="module", autouse=True)
def nothing_is_written_here(tmp_path_factory):
    """What takes a path may well write to "no such thing"."""
    with chdir(tmp_path_factory.mktemp("fuzz")):
        yield


class Answered(Exception):
    """No argument was refused."""


def attack(function, wrong: dict) -> None:
    """Call it with some wrong arguments; models are new, and are as they were if it refuses."""
    here = RIGHT_HERE.get(function.__name__, {})
    right = {n: RIGHT[n] for n in inspect.signature(function).parameters if n in RIGHT} | here
    new = {n: v() for n, v in right.items() if n != "function" and inspect.isfunction(v)}
    models = [v for n, v in new.items() if isinstance(v, nn.Module) and n not in wrong]
    if function.__name__ == "gradual_pruning" and wrong.keys() & {"finetune", "loss"}:
        models = []  # they are called after the first pruning only
    with warnings.catch_warnings(action="ignore"), suppress(Answered), left_as_it_was(*models):
        try:
            function(**right | new | wrong)
            raise Answered
        except (ValueError, TypeError, OSError) as refused:
            message = str(refused)
        assert "\n" not in message
        assert re.search(rf"\b({'|'.join(right)}|layer)\b|/dev/null|no such thing", message), (
            message
        )
        assert wrong or function.__name__ == "load_network", message


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
@settings(max_examples=8)
@given(st.data())
def test_wrong_arguments_are_named_and_nothing_is_changed(function, choices):
    names = [name for name in inspect.signature(function).parameters if name in RIGHT]
    some = choices.draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
    wrong = {n: choices.draw(st.sampled_from(SMALL if n in LONG else WRONG)) for n in some}
    attack(
        function, {n: copy.deepcopy(v) if isinstance(v, nn.Module) else v for n, v in wrong.items()}
    )
    assert torch.equal(X, KEPT)
