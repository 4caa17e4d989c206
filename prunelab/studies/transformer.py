"""One-shot pruning of a transformer, with and without a look at its inputs (notebook 17).

A GPT that reads characters is trained from several seeds on source text, and pruned in all linear
layers of its blocks: by magnitude, by Wanda, by SparseGPT, and at random; to four sparsities and
two patterns. What is measured is the loss on the next character, in bits.

- "dense": the network itself, and as the half-precision file that is shipped.
- "one-shot": nothing is trained afterwards. Scores are ranked in rows, in layers, or globally.
- "retrained": after it, a twentieth of the training again, at a learning rate that was chosen for
  each criterion and level; the dense network too.
- "calibration": at 70 %, by how many blocks of text the inputs are known.
- "outliers": at 50 %, of networks that compute the same with some inputs made larger on purpose.
- "inputs": how unequal the inputs of each layer are.
- "blocks": what leaving out a block, or one of its halves, costs, and its influence before.

Blocks that calibrate are drawn from the training text. Rates are chosen on validation text, by a
network of another seed. The pruned shape trained from new weights, which `data/PROTOCOL.md` asks
for, is not among the controls: it would cost as much as all the rest.
"""

import copy
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from prunelab.calibrated import input_grams, n_of_m, prune_with_calibration, wanda_score
from prunelab.data import Data, load_data
from prunelab.intervals import choose
from prunelab.lab.cache import remember
from prunelab.lab.text import block_influence, input_spread, with_outliers
from prunelab.masks import effective_weight, get_masks, prunable_layers, set_mask
from prunelab.models import CHECKPOINTS
from prunelab.pruning import apply_global_pruning, lowest
from prunelab.rewinding import State, snapshot
from prunelab.studies.shared import adam_with_cosine, retrain, widened, with_weights
from prunelab.training import evaluate
from prunelab.transformer import bits, char_gpt

STEPS, BATCH_SIZE, RATE = 3000, 16, 3e-3
RETRAINING = 20
"""The training lasts as many times as long as a retraining."""
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""All rates of retraining there are; a search begins with `FIRST` and widens."""
FIRST = (1e-4, 1e-3)
TUNING_SEED = 100
"""The network on which rates are chosen; those that are compared have the seeds from 0 up."""
MATTERS = 0.02
"""Bits a character: the smallest difference that matters, fixed before the study ran."""
LEVELS = {
    **{f"{share:.0%}": {"sparsity": share} for share in (0.5, 0.6, 0.7, 0.8)},
    "2:4": {"pattern": (2, 4)},
    "4:8": {"pattern": (4, 8)},
}
SCOPES = {"l1": "layer", "wanda": "row", "sparsegpt": "128 columns", "random": "layer"}
"""Where each criterion ranks its scores, if nothing else is said: as in the papers."""
VALID, TEST_EVERY = 1000, 9
"""Blocks of validation text; and every ninth block of the test text, 1,019 of them."""
CALIBRATION = 128
SIZES = (1, 4, 16, 64, 256)
FACTORS, SHARE = (1, 3, 10, 30), 0.05
"""What the inputs that are made larger are multiplied by, and how many of them there are."""
SCALES = {"quick": {"seeds": 2, "steps": 60}}


def grid(seeds: int, steps: int = STEPS) -> list[dict]:
    """All trainings first, then the choices of rates (seed None), then what is compared.

    Args:
        seeds: networks that are compared.
        steps: batches of each training.
    """
    arms = [("dense", ""), *((criterion, level) for level in LEVELS for criterion in SCOPES)]
    of_one = [("one-shot", level) for level in LEVELS]
    of_one += [(part, "") for part in ("calibration", "outliers", "inputs", "blocks")]
    points = [{"part": "dense", "seed": seed} for seed in (TUNING_SEED, *range(seeds))]
    points += [{"part": part, "seed": s, "level": lv} for s in range(seeds) for part, lv in of_one]
    points += [
        {"part": "retrained", "seed": seed, "level": level, "criterion": criterion}
        for seed in (None, *range(seeds))
        for criterion, level in arms
    ]
    return [{"level": "", "criterion": "", **point, "steps": steps} for point in points]


def describe(part: str, seed: int | None, level: str, criterion: str, **rest) -> str:
    """A point in words, for the progress bar."""
    who = "choice of a rate" if seed is None else f"seed {seed}"
    return ", ".join(filter(None, (who, part, criterion, level)))


def measure(part: str, seed: int | None, level: str, criterion: str, steps: int) -> list[dict]:
    """The rows of a point, with losses in bits a character."""
    if part == "retrained":
        rows = remember(tried, level=level, criterion=criterion, steps=steps)
        return rows if seed is None else [compared(level, criterion, steps, seed, rows)]
    if part == "dense" and seed == TUNING_SEED:
        remember(trained, seed=seed, steps=steps)
        return []
    found = {
        "dense": as_trained,
        "one-shot": one_shot,
        "calibration": by_size,
        "outliers": by_factor,
        "inputs": of_inputs,
        "blocks": without_blocks,
    }[part](dense(seed, steps), text(), seed, level)
    common = {"network": "char_gpt", "part": part, "seed": seed, "level": level}
    return [{**common, **row} for row in found]


def text() -> Data:
    """Training text whole; of validation and test text what is measured on."""
    data = load_data("cpython", valid=VALID)
    return Data(data.name, data.train, data.valid, data.test[::TEST_EVERY], data.classes)


def calibration(blocks: int, seed: int) -> Tensor:
    """Blocks of the training text, those of another seed for every network."""
    return load_data("cpython", train=blocks, valid=0, seed=seed).train.x


def trained(seed: int, steps: int) -> State:
    """Train a network from scratch with Adam: its weights.

    The rate rises for a tenth of the steps, and falls to almost zero along a cosine.
    """
    model = char_gpt(seed=seed)
    adam = torch.optim.Adam(model.parameters(), RATE, fused=True)
    rise = OneCycleLR(adam, RATE, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False)
    retrain(model, text(), (adam, rise), steps, seed, batch_size=BATCH_SIZE)
    return snapshot(model)


def dense(seed: int, steps: int) -> nn.Module:
    """A trained network, from the cache if it has been trained here before."""
    return with_weights(char_gpt, remember(trained, seed=seed, steps=steps))


def losses(model: nn.Module, data: Data, splits: tuple[str, ...] = ("test",)) -> dict[str, float]:
    """Bits a character on each split, as `valid_bits` and `test_bits`."""
    return {f"{name}_bits": bits(evaluate(model, getattr(data, name)).loss) for name in splits}


def pruned(
    model: nn.Module, criterion: str, level: str, x: Tensor, seed: int, scope: str = ""
) -> nn.Module:
    """Mask the layers of the blocks by a criterion, in place."""
    how = {"exclude": "head", **LEVELS[level]}
    scope = scope or SCOPES[criterion]
    if criterion == "random" and "pattern" in how:
        generator = torch.Generator().manual_seed(seed)
        for layer in prunable_layers(model, "head").values():
            scores = torch.rand(layer.weight.shape, generator=generator)
            set_mask(layer, n_of_m(scores, *how["pattern"]))
        return model
    if criterion in ("random", "l1") and scope in ("layer", "global") and "sparsity" in how:
        how["scope"] = {"layer": "layerwise"}.get(scope, scope)
        return apply_global_pruning(model, criterion=criterion, seed=seed, **how)
    if scope == "global":
        return by_wanda_together(model, x, how["sparsity"])
    scope = scope if scope == "layer" else "row"
    return prune_with_calibration(model, x, criterion=criterion, scope=scope, **how)


def by_wanda_together(model: nn.Module, x: Tensor, sparsity: float) -> nn.Module:
    """Rank Wanda's scores of all layers together, by the inputs of the dense network."""
    layers = prunable_layers(model, "head")
    grams = input_grams(model, layers, x)
    scores = [wanda_score(effective_weight(layers[n]), grams[n]).flatten() for n in layers]
    together = torch.cat(scores)
    keep = ~lowest(together, round(sparsity * len(together)))
    parts = keep.split([len(score) for score in scores])
    for layer, part in zip(layers.values(), parts, strict=True):
        set_mask(layer, part.view_as(layer.weight))
    return model


def as_trained(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """The network, and what the file would hold."""
    yield {"criterion": "dense", **losses(model, data, ("valid", "test"))}
    yield {"criterion": "dense, half precision", **losses(model.half().float(), data)}


def one_shot(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """Every criterion, ranked as usual and in the other ways there are."""
    x = calibration(CALIBRATION, seed)
    arms = [*SCOPES.items()]
    if "pattern" in LEVELS[level]:
        arms = [(criterion, "pattern") for criterion in SCOPES]
    else:
        arms += [("l1", "row"), ("l1", "global"), ("wanda", "layer"), ("wanda", "global")]
    for criterion, scope in arms:
        found = pruned(copy.deepcopy(model), criterion, level, x, seed, scope)
        yield {"criterion": criterion, "scope": scope, **sparsity(found), **losses(found, data)}


def by_size(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """The criteria that look at inputs, by how much they have seen."""
    for blocks in SIZES:
        for criterion in ("wanda", "sparsegpt"):
            x = calibration(blocks, seed)
            found = pruned(copy.deepcopy(model), criterion, "70%", x, seed)
            row = {"level": "70%", "criterion": criterion, "blocks": blocks}
            yield {**row, "scope": SCOPES[criterion], **losses(found, data)}


def by_factor(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """The same function with larger and larger outliers among its inputs."""
    x = calibration(CALIBRATION, seed)
    for factor in FACTORS:
        other = with_outliers(copy.deepcopy(model), factor, SHARE, seed)
        row = {"level": "50%", "factor": factor}
        yield {**row, "criterion": "dense", **losses(other, data)}
        for criterion in ("l1", "wanda", "sparsegpt"):
            found = pruned(copy.deepcopy(other), criterion, "50%", x, seed)
            row |= {"criterion": criterion, "scope": SCOPES[criterion]}
            yield {**row, **losses(found, data)}


def of_inputs(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """How unequal the inputs of every layer are."""
    layers = prunable_layers(model, "head")
    for name, gram in input_grams(model, layers, calibration(CALIBRATION, seed)).items():
        yield {"layer": name, **input_spread(gram)}


def without_blocks(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """Leave out every block, and every half of one, by itself."""
    blocks = dict(model.blocks.named_children())
    names = [f"blocks.{i}" for i in blocks]
    names += [f"blocks.{i}.{half}" for i in blocks for half in ("attention", "mlp")]
    influence = block_influence(model, calibration(CALIBRATION, seed), tuple(names))
    for name in names:
        found = copy.deepcopy(model)
        found.set_submodule(name, nn.Identity())
        yield {"layer": name, "influence": influence[name], **losses(found, data)}


def sparsity(model: nn.Module) -> dict[str, float]:
    """The share of the weights of the masked layers that is gone."""
    masks = get_masks(model).values()
    return {"sparsity": 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)}


def tried(level: str, criterion: str, steps: int) -> list[dict]:
    """Retrain the tuning network at three rates, and at more until the best lies inside."""

    def rows_at(rate: float) -> list[dict]:
        return [retrained(level, criterion, steps, TUNING_SEED, rate, "choice", ("valid",))]

    return widened(rows_at, RATES, *FIRST, value="valid_bits", largest=False)


def compared(level: str, criterion: str, steps: int, seed: int, rows: list[dict]) -> dict:
    """The row of a network retrained at the rate that was chosen before."""
    (best,) = choose(pd.DataFrame(rows), ["network"], "rate", "valid_bits", False).itertuples()
    splits = ("valid", "test")
    row = retrained(level, criterion, steps, seed, float(best.rate), "comparison", splits)
    return row | {"edge": str(best.edge)}


def retrained(
    level: str,
    criterion: str,
    steps: int,
    seed: int,
    rate: float,
    role: str,
    splits: tuple[str, ...],
) -> dict:
    """Prune a network, train it for a twentieth of its training, and measure it."""
    model, data = dense(seed, steps), text()
    row = {"network": "char_gpt", "part": "retrained", "seed": seed, "level": level}
    row |= {"criterion": criterion, "role": role, "rate": rate}
    if criterion != "dense":
        pruned(model, criterion, level, calibration(CALIBRATION, seed), seed)
        row |= sparsity(model)
    again = max(1, steps // RETRAINING)
    pair = adam_with_cosine(model, again, rate)
    retrain(model, data, pair, again, 1000 + seed, batch_size=BATCH_SIZE)
    return row | losses(model, data, splits)


def shipped(table: pd.DataFrame) -> int:
    """The seed of the network with the lowest loss on validation text."""
    rows = table[(table["part"] == "dense") & (table["criterion"] == "dense")]
    return int(rows.set_index("seed")["valid_bits"].idxmin())


def finish(table: pd.DataFrame) -> None:
    """Save one of the networks in half precision, as the checkpoint that `pretrained` loads."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    state = dense(shipped(table), STEPS).half().state_dict()
    torch.save(state, CHECKPOINTS / "char_gpt.pt")
