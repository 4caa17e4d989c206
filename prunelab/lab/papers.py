"""What papers have published, as tables that the figures can draw."""

import pandas as pd

from prunelab.data import DATA_DIR


def pruned_once_and_fine_tuned(*networks: str) -> pd.DataFrame:
    """Notebook 01: single weights pruned once by magnitude, fine-tuned for 182 epochs, CIFAR-10.

    Args:
        networks: names in the table, such as "resnet20".

    Returns:
        One row a network and `density`, with `accuracy`, a mean of runs, as a fraction; the dense
        networks have density 1.

    Source: the published runs of Renda, Frankle & Carbin (2020), arXiv:2003.02389.
    """
    pruned = pd.read_csv(DATA_DIR / "published" / "renda2020.csv").query(
        "pruning == 'Unstructured' and not iterative and method == 'fine-tune'"
        " and retrain_epochs == 182 and density < 0.55"
    )
    dense = pd.read_csv(DATA_DIR / "published" / "renda2020_dense.csv").assign(density=1.0)
    both = pd.concat([dense, pruned], ignore_index=True)
    both = both.assign(accuracy=both["accuracy_mean"] / 100)
    return both.loc[both["network"].isin(networks), ["network", "density", "accuracy"]]


def filters_and_weights_retrained(network: str) -> pd.DataFrame:
    """Notebook 12: filters and single weights pruned once, retrained for 182 epochs, CIFAR-10.

    Args:
        network: a name in the table, "resnet56" for instance.

    Returns:
        One row a `density`, a kind in `pruned` and a `way` back (learning-rate rewinding, or new
        weights), with `points` of accuracy against the dense networks; means of three trials.

    Source: as in `pruned_once_and_fine_tuned`.
    """
    ways = {"learning-rate rewinding": "old weights", "random reinitialization": "new weights"}
    kinds = {f"Structured-{x}": f"filters, {x}" for x in "AB"} | {"Unstructured": "single weights"}
    table = pd.read_csv(DATA_DIR / "published" / "renda2020.csv")
    table = table[(table["network"] == network) & ~table["iterative"]]
    table = table[(table["retrain_epochs"] == 182) & table["method"].isin(ways)]
    dense = pd.read_csv(DATA_DIR / "published" / "renda2020_dense.csv").set_index("network")
    return pd.DataFrame(
        {
            "density": table["density"],
            "pruned": table["pruning"].map(kinds),
            "way": table["method"].map(ways),
            "points": table["accuracy_mean"] - dense.loc[network, "accuracy_mean"],
        }
    )


def published(claim: str) -> float:
    """The one number of a claim in `data/published/tables.csv`, in its unit.

    Args:
        claim: its name there, such as "supermask".
    """
    table = pd.read_csv(DATA_DIR / "published" / "tables.csv").set_index("claim")
    return float(table.loc[claim, "value"])
