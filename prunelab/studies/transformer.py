"""One-shot pruning of a transformer, with and without a look at its inputs (notebook 17).

A GPT that reads characters is trained from several seeds on source text, and pruned in all linear
layers of its blocks: by magnitude, by Wanda, by SparseGPT, and at random; to four sparsities and
two patterns. What is measured is the loss on the next character, in bits.

- "dense": the network itself, and as the half-precision file that is shipped.
- "one-shot": nothing is trained afterwards. Scores are ranked in rows, in layers, or globally.
- "int8": the weights that are left, rounded to whole numbers of 8 bits.
- "calibration": at 70 %, by how many blocks of text the inputs are known.
- "outliers": at 50 %, of networks that compute the same with some inputs made larger on purpose.
- "inputs": how unequal the inputs of each layer are.
- "blocks": what leaving out a block, or one of its halves, costs, and its influence before.

Blocks that calibrate are drawn from the training text. The learning rate is chosen on validation
text, by a network of another seed. What is left after some more training: `transformer_recovery`.
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
from prunelab.lab.text import block_influence, input_spread, rounded_weights, with_outliers
from prunelab.masks import effective_weight, get_masks, prunable_layers, set_mask
from prunelab.models import CHECKPOINTS
from prunelab.pruning import apply_global_pruning, lowest
from prunelab.rewinding import State, snapshot
from prunelab.studies.shared import retrain, widened, with_weights
from prunelab.training import evaluate
from prunelab.transformer import bits, char_gpt

STEPS, BATCH_SIZE = 3000, 16
RATES, FIRST = (7.5e-4, 1.5e-3, 3e-3, 6e-3, 1.2e-2, 2.4e-2), (1.5e-3, 6e-3)
"""All learning rates there are, and between which a search begins."""
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
    """The choice of a rate first (seed None), then all trainings, then what is compared.

    Args:
        seeds: networks that are compared.
        steps: batches of each training.
    """
    parts = [("one-shot", level) for level in LEVELS]
    parts += [(part, "") for part in ("int8", "calibration", "outliers", "inputs", "blocks")]
    points = [{"part": "dense", "seed": seed, "level": ""} for seed in (None, *range(seeds))]
    points += [{"part": p, "seed": seed, "level": lv} for seed in range(seeds) for p, lv in parts]
    return [{**point, "steps": steps} for point in points]


def describe(part: str, seed: int | None, level: str, steps: int) -> str:
    """A point in words, for the progress bar."""
    who = "choice of a rate" if seed is None else f"seed {seed}"
    return ", ".join(filter(None, (who, part, level)))


def measure(part: str, seed: int | None, level: str, steps: int) -> list[dict]:
    """The rows of a point, with losses in bits a character."""
    if seed is None:
        return remember(tried, steps=steps)
    found = {
        "dense": as_trained,
        "one-shot": one_shot,
        "int8": in_eight_bits,
        "calibration": by_size,
        "outliers": by_factor,
        "inputs": of_inputs,
        "blocks": without_blocks,
    }[part](dense(seed, steps), text(), seed, level)
    common = {"network": "char_gpt", "part": part, "role": "comparison", "seed": seed}
    return [{**common, "level": level, **row} for row in found]


def text() -> Data:
    """Training text whole; of validation and test text what is measured on."""
    data = load_data("cpython", valid=VALID)
    return Data(data.name, data.train, data.valid, data.test[::TEST_EVERY], data.classes)


def calibration(blocks: int, seed: int) -> Tensor:
    """Blocks of the training text, those of another seed for every network."""
    return load_data("cpython", train=blocks, valid=0, seed=seed).train.x


def trained(seed: int, steps: int, rate: float) -> State:
    """Train a network from scratch with Adam: its weights.

    The rate rises for a tenth of the steps, and falls to almost zero along a cosine.
    """
    model = char_gpt(seed=seed)
    adam = torch.optim.Adam(model.parameters(), rate, fused=True)
    rise = OneCycleLR(adam, rate, total_steps=steps + 1, pct_start=0.1, cycle_momentum=False)
    retrain(model, text(), (adam, rise), steps, seed, batch_size=BATCH_SIZE)
    return snapshot(model)


def tried(steps: int) -> list[dict]:
    """The tuning network trained at three rates, and at more until the best lies inside."""

    def rows_at(rate: float) -> list[dict]:
        state = remember(trained, seed=TUNING_SEED, steps=steps, rate=rate)
        row = {"network": "char_gpt", "part": "dense", "role": "choice", "seed": TUNING_SEED}
        return [{**row, "rate": rate, **losses(with_weights(char_gpt, state), text(), ("valid",))}]

    return widened(rows_at, RATES, *FIRST, value="valid_bits", largest=False)


def best_rate(rows: list[dict]) -> float:
    """The rate of the lowest loss on validation text."""
    (best,) = choose(pd.DataFrame(rows), ["network"], "rate", "valid_bits", False).itertuples()
    return float(best.rate)


def dense(seed: int, steps: int) -> nn.Module:
    """A trained network, from the cache if it has been trained here before."""
    rate = best_rate(remember(tried, steps=steps))
    return with_weights(char_gpt, remember(trained, seed=seed, steps=steps, rate=rate))


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


def in_eight_bits(model: nn.Module, data: Data, seed: int, level: str) -> Iterator[dict]:
    """The network and some that are pruned, with their weights rounded."""
    yield {"criterion": "dense", **losses(rounded_weights(copy.deepcopy(model)), data)}
    x = calibration(CALIBRATION, seed)
    for criterion in ("l1", "sparsegpt"):
        for goal in ("50%", "2:4"):
            found = rounded_weights(pruned(copy.deepcopy(model), criterion, goal, x, seed))
            yield {"level": goal, "criterion": criterion, **losses(found, data)}


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


def shipped(table: pd.DataFrame) -> int:
    """The seed of the network with the lowest loss on validation text."""
    rows = table[(table["part"] == "dense") & (table["criterion"] == "dense")]
    return int(rows.set_index("seed")["valid_bits"].idxmin())


def finish(table: pd.DataFrame) -> None:
    """Save one of the networks in half precision, as the checkpoint that `pretrained` loads."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    state = dense(shipped(table), STEPS).half().state_dict()
    torch.save(state, CHECKPOINTS / "char_gpt.pt")
