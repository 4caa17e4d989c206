"""What is claimed beyond the guide, held against the studies of part II (16, 17)."""

import pandas as pd

from prunelab.lab import early_masks, language
from prunelab.lab.results import load_results

MASKS = {
    "lenet300": ("before_training", "before_training_gradual"),
    "convnet": ("before_training_convnet",),
    "resnet20": ("before_training_resnet20",),
}
"""The studies of each network."""


def claims() -> pd.DataFrame:
    """The verdicts of notebooks 16 and 17, in the columns of `lab.claims.claims`."""
    tables = (pd.concat(map(load_results, studies)) for studies in MASKS.values())
    masks = pd.concat(map(early_masks.early_claims, tables))
    found = language.transformer_claims()
    return pd.concat([masks[[*found.columns]], found], ignore_index=True)
