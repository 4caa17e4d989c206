"""What the studies `transformer` and `transformer_recovery` say of pruning a transformer (17)."""

from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from prunelab.data import DATA_DIR
from prunelab.intervals import mean_interval, paired_difference
from prunelab.lab.claims import Claim, measured
from prunelab.lab.results import load_results
from prunelab.studies.transformer import LEVELS, MATTERS, SCOPES
from prunelab.studies.transformer_recovery import SHARES

NAMES = {"l1": "magnitude", "wanda": "Wanda", "sparsegpt": "SparseGPT", "random": "random"}
ARM = ["criterion", "level", "alpha"]


def against_dense(study: pd.DataFrame) -> pd.DataFrame:
    """Rows of `transformer` with `lost`: bits a character more than the same network, dense."""
    compared = study[study["role"] == "comparison"]
    dense = compared[(compared["part"] == "dense") & (compared["criterion"] == "dense")]
    bits = compared["seed"].map(dense.set_index("seed")["test_bits"])
    rows = compared.assign(lost=compared["test_bits"] - bits, dense_bits=bits)
    return rows.assign(criterion=rows["criterion"].replace(NAMES))


def as_published(study: pd.DataFrame, part: str = "one-shot") -> pd.DataFrame:
    """Of `against_dense`: one part, each criterion ranked where its paper ranks it."""
    rows = against_dense(study)
    rows = rows[rows["part"] == part]
    usual = {NAMES[criterion]: scope for criterion, scope in SCOPES.items()}
    return rows[(rows["scope"] == "pattern") | (rows["scope"] == rows["criterion"].map(usual))]


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by their levels, lightest first, if they have any."""
    if "level" not in table:
        return table
    place = table["level"].map([*dict.fromkeys((*SHARES, *LEVELS))].index)
    return table.assign(place=place).sort_values("place", kind="stable").drop(columns="place")


def lost_by(rows: pd.DataFrame, *by: str) -> pd.DataFrame:
    """Mean and 95 % interval of `lost`, with a `setting` in words."""
    table = mean_interval(rows, [*by], "lost")
    words = [", ".join(f"{value}" for value in row) for row in table[[*by]].to_numpy()]
    return table.assign(setting=words)


def between(
    rows: pd.DataFrame, column: str, a: str, b: str, by: tuple[str, ...] = ("level",)
) -> pd.DataFrame:
    """Bits of a minus those of b, network by network; above zero where b is better."""
    effects = in_order(paired_difference(rows, [*by], "test_bits", column, a, b))
    words = [", ".join(f"{value}" for value in row) for row in effects[[*by]].to_numpy()]
    return effects.assign(setting=words)


def one_shot(study: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """After pruning alone: bits by criterion a minus those by b, ranked as published."""
    return between(as_published(study), "criterion", a, b)


def ranked(study: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> pd.DataFrame:
    """The same for a criterion and a scope each."""
    rows = against_dense(study)
    rows = rows[(rows["part"] == "one-shot") & (rows["scope"] != "pattern")]
    return between(rows.assign(way=rows["criterion"] + rows["scope"]), "way", *map("".join, (a, b)))


def with_outliers(study: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """Half of the weights gone, where some inputs were made larger: a minus b."""
    rows = against_dense(study)
    rows = rows[rows["part"] == "outliers"]
    found = between(rows, "criterion", a, b, ("factor",))
    return found.assign(setting="times " + found["factor"].map("{:g}".format))


def less_calibration(study: pd.DataFrame, few: int = 16, many: int = 256) -> pd.DataFrame:
    """70 % of the weights gone: bits with few blocks to calibrate by minus those with many."""
    rows = against_dense(study)
    rows = rows[rows["part"] == "calibration"]
    rows = rows.assign(blocks=rows["blocks"].map("{:g}".format))
    return between(rows, "blocks", f"{few}", f"{many}", ("criterion",))


def rounded(study: pd.DataFrame) -> pd.DataFrame:
    """Weights of 8 bits minus the same weights of 32."""
    rows = against_dense(study)
    whole = as_published(study)
    whole = pd.concat([rows[(rows["part"] == "dense")], whole])
    both = pd.concat([rows[rows["part"] == "int8"].assign(form="8"), whole.assign(form="32")])
    both["level"] = both["level"].fillna("")
    settings = both.loc[both["form"] == "8", ["criterion", "level"]].drop_duplicates()
    both = both.merge(settings)
    both["setting"] = (both["criterion"] + " " + both["level"]).str.strip()
    return between(both, "form", "8", "32", ("setting",))


def influence_and_damage(study: pd.DataFrame, parts: str) -> pd.DataFrame:
    """How well the influence orders the damage of leaving out: Spearman's rank correlation.

    Args:
        study: the table of `transformer`.
        parts: "blocks", or "halves" of blocks.
    """
    rows = study[study["part"] == "blocks"]
    of_block = rows["layer"].str.count(r"\.") == 1
    rows = rows[of_block if parts == "blocks" else ~of_block]
    found = [
        {"seed": seed, "rank": stats.spearmanr(part["influence"], part["test_bits"]).statistic}
        for seed, part in rows.groupby("seed")
    ]
    table = mean_interval(pd.DataFrame(found).assign(setting=parts), ["setting"], "rank")
    return table.assign(high=table["high"].clip(upper=1.0))


def retrained(again: pd.DataFrame) -> pd.DataFrame:
    """Rows of `transformer_recovery` that are compared, named, with `lost` to dense as long."""
    rows = again[again["role"] == "comparison"].fillna({"level": ""})
    dense = rows[rows["criterion"] == "dense"].set_index("seed")
    lost = rows["test_bits"] - rows["seed"].map(dense["test_bits"])
    left = rows["weights"] / rows["seed"].map(dense["weights"])
    return rows.assign(lost=lost, left=left, criterion=rows["criterion"].replace(NAMES))


def after_training(again: pd.DataFrame, a: str, b: str) -> pd.DataFrame:
    """After the same training on the next character: bits by criterion a minus those by b."""
    rows = retrained(again)
    masked = rows["criterion"].isin(NAMES.values())
    return between(rows[(rows["alpha"] == 1) & masked], "criterion", a, b)


def cut_or_masked(again: pd.DataFrame) -> pd.DataFrame:
    """Half of the weights left, after the same training: bits of the cut minus those of masks."""
    rows = retrained(again)
    rows = rows[(rows["alpha"] == 1) & (rows["level"] == "50%")]
    cut = "cut: heads and hidden units"
    parts = [
        between(rows, "criterion", cut, masked).assign(setting=f"against {masked}")
        for masked in ("magnitude", "SparseGPT")
    ]
    return pd.concat(parts, ignore_index=True)


def by_lot(lots: pd.DataFrame) -> pd.DataFrame:
    """Heads and hidden units cut, after the same training: bits if by lot minus if by norm.

    Args:
        lots: the table of `transformer_random_cuts`; the other is that of `transformer_recovery`.
    """
    rows = retrained(pd.concat([load_results(AGAIN), lots], ignore_index=True))
    chosen = "cut: heads and hidden units"
    return between(rows[rows["alpha"] == 1], "criterion", f"random {chosen}", chosen)


def from_dense(again: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """Bits after training on the next character minus those with the dense network's scores."""
    rows = retrained(again)
    taught = rows.loc[rows["alpha"] < 1, ["criterion", "level"]].drop_duplicates()
    rows = rows.merge(taught).assign(alpha=lambda table: table["alpha"].map("{:g}".format))
    return between(rows, "alpha", "1", f"{alpha:g}", ("level", "criterion"))


def published_perplexity() -> pd.DataFrame:
    """LLaMA-2 pruned once, as Wanda's authors report it, with the bits a token that are lost.

    A perplexity is two to the power of the bits a token.

    Source: Sun et al. (2024), the authors' repository.
    """
    table = pd.read_csv(DATA_DIR / "published" / "sun2024_llama2.csv")
    dense = table[table["criterion"] == "dense"].set_index("model")["perplexity"]
    lost = np.log2(table["perplexity"] / table["model"].map(dense))
    return table[table["criterion"] != "dense"].assign(lost=lost)


# fmt: off
ONE_SHOT, AGAIN = "transformer", "transformer_recovery"
LOTS = "transformer_random_cuts"
CLAIMS = (
    Claim("17", "Wanda beats magnitude", "bits, in rows and in layers", "above", 0.0,
          ONE_SHOT, partial(one_shot, a="magnitude", b="Wanda"), MATTERS),
    Claim("17", "Wanda beats magnitude", "bits, in rows and globally", "above", 0.0,
          ONE_SHOT, partial(ranked, a=("magnitude", "global"), b=("Wanda", "row")), MATTERS),
    Claim("17", "ranks in rows suit Wanda", "bits, in layers and in rows", "above", 0.0,
          ONE_SHOT, partial(ranked, a=("Wanda", "layer"), b=("Wanda", "row")), MATTERS),
    Claim("17", "SparseGPT beats magnitude", "bits", "above", 0.0,
          ONE_SHOT, partial(one_shot, a="magnitude", b="SparseGPT"), MATTERS),
    Claim("17", "outliers make Wanda win", "bits, in rows and in layers", "above", 0.0,
          ONE_SHOT, partial(with_outliers, a="magnitude", b="Wanda"), MATTERS),
    Claim("17", "few blocks are enough", "bits, 16 and 256 blocks", "below", MATTERS,
          ONE_SHOT, less_calibration),
    Claim("17", "8 bits cost nothing", "bits, 8 and 32 bits a weight", "below", MATTERS,
          ONE_SHOT, rounded),
    Claim("17", "low influence means little damage", "rank correlation", "above", 0.0,
          ONE_SHOT, partial(influence_and_damage, parts="halves")),
    Claim("17", "Wanda still beats magnitude, retrained", "bits", "above", 0.0,
          AGAIN, partial(after_training, a="magnitude", b="Wanda"), MATTERS),
    Claim("17", "SparseGPT still beats magnitude, retrained", "bits", "above", 0.0,
          AGAIN, partial(after_training, a="magnitude", b="SparseGPT"), MATTERS),
    Claim("17", "a cut costs more than masks", "bits, half of the weights left", "above", 0.0,
          AGAIN, cut_or_masked, MATTERS),
    Claim("17", "norms know which heads to cut", "bits, by lot and by norm", "above", 0.0,
          LOTS, by_lot, MATTERS),
    Claim("17", "the dense network teaches better", "bits, its scores alone", "above", 0.0,
          AGAIN, partial(from_dense, alpha=0.0), MATTERS),
    Claim("17", "the dense network teaches better", "bits, half and half", "above", 0.0,
          AGAIN, partial(from_dense, alpha=0.5), MATTERS),
)
# fmt: on
"""Fixed before the studies were recorded, as `data/PROTOCOL.md` asks."""


def transformer_claims() -> pd.DataFrame:
    """What is said of pruning transformers, beside ours: the columns of `lab.claims.claims`."""
    return measured(CLAIMS)
