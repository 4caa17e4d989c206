"""What is claimed beyond the guide, held against the studies of part II (16, 17)."""

import pandas as pd

from prunelab.lab import early_masks, language
from prunelab.lab.results import load_results


def claims() -> pd.DataFrame:
    """The verdicts of notebooks 16 and 17, in the columns of `lab.claims.claims`."""
    masks = early_masks.early_claims(load_results("before_training"))
    found = language.transformer_claims()
    return pd.concat([masks[[*found.columns]], found], ignore_index=True)
