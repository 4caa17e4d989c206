"""What is claimed beyond the guide, held against the studies of part II (16, 17)."""

import pandas as pd

from prunelab.lab import early_masks, language
from prunelab.lab.results import load_results

MASKS = ("before_training", "before_training_convnet", "before_training_resnet20")


def claims() -> pd.DataFrame:
    """The verdicts of notebooks 16 and 17, in the columns of `lab.claims.claims`."""
    masks = pd.concat(early_masks.early_claims(load_results(study)) for study in MASKS)
    found = language.transformer_claims()
    return pd.concat([masks[[*found.columns]], found], ignore_index=True)
