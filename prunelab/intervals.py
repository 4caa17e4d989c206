"""Means over seeds, and how far they can be trusted."""

import numpy as np
import pandas as pd
from scipy import stats


def mean_interval(table: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    r"""Mean of `value` in each group, with its 95 % confidence interval over the group's rows.

    $$\bar{x} \pm t_{0.975,\, n-1} \, \frac{s}{\sqrt{n}} \tag{0.3}$$

    for $n$ rows (seeds) of standard deviation $s$, with Student's $t$.

    Args:
        table: one row a measurement.
        by: the columns that make a group.
        value: the column to average.

    Returns:
        The columns `by`, `mean`, `low`, `high`, `sd` and `n`; the interval is NaN where n = 1.

    Raises:
        ValueError: a column the table does not have.
    """
    missing = [column for column in [*by, value] if column not in table]
    if missing:
        raise ValueError(f"{missing} are not columns of the table, which has {list(table)}")
    groups = table.groupby(by, sort=False, observed=True)[value]
    summary = groups.agg(mean="mean", sd="std", n="count").reset_index()
    half_width = stats.t.ppf(0.975, summary["n"] - 1) * summary["sd"] / np.sqrt(summary["n"])
    summary["low"] = summary["mean"] - half_width
    summary["high"] = summary["mean"] + half_width
    return summary[[*by, "mean", "low", "high", "sd", "n"]]


def paired_difference(
    table: pd.DataFrame, by: list[str], value: str, between: str, a: str, b: str
) -> pd.DataFrame:
    """Mean and 95 % interval (0.3) of `value` of `a` minus that of `b`, seed by seed.

    Args:
        table: one row a measurement, with a column `seed`.
        by: the columns that make a group.
        value: the column to compare.
        between: the column that holds `a` and `b`.
        a, b: two of its values.

    Raises:
        ValueError: a seed that is there for one of the two only, or more than once.
    """
    two = table[table[between].isin([a, b])]
    if two.duplicated([*by, "seed", between]).any():
        raise ValueError(f"by={by} leaves several rows a seed; name the columns they differ in")
    wide = two.pivot_table(index=[*by, "seed"], columns=between, values=value)
    if not {a, b} <= set(wide.columns) or wide.isna().any(axis=None):
        raise ValueError(f"{between}={a!r} and {between}={b!r} must have the same seeds in {by}")
    difference = (wide[a] - wide[b]).rename("difference").reset_index()
    return mean_interval(difference, by, "difference")
