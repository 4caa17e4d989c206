"""Means over seeds, how far they can be trusted, and choices by validation."""

import numpy as np
import pandas as pd
from scipy import stats

from prunelab.checks import said
from prunelab.checks.tables import check_columns, check_table, check_values
from prunelab.checks.tensors import calling, check_type


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
    check_columns(table, by=by, value=value)
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
    check_columns(table, by=by, value=value, between=between)
    check_table("table", table, needs=("seed",))
    check_values(a=a, b=b)
    two = table[table[between].isin([a, b])]
    if two.duplicated([*by, "seed", between]).any():
        raise ValueError(f"by={by} leaves several rows a seed; name the columns they differ in")
    wide = two.pivot_table(index=[*by, "seed"], columns=between, values=value)
    if not {a, b} <= set(wide.columns) or wide.isna().any(axis=None):
        raise ValueError(
            f"a={said(a)} and b={said(b)} of {between} must have the same seeds in {by}"
        )
    difference = (wide[a] - wide[b]).rename("difference").reset_index()
    return mean_interval(difference, by, "difference")


def paired_ratio(
    table: pd.DataFrame, by: list[str], value: str, between: str, a: str, b: str
) -> pd.DataFrame:
    r"""Geometric mean and 95 % interval of `value` of `a` over that of `b`, seed by seed.

    $$\exp \Bigl( \bar{d} \pm t_{0.975,\, n-1} \, \frac{s_d}{\sqrt{n}} \Bigr), \qquad
    d_i = \ln \frac{a_i}{b_i} \tag{0.5}$$

    so that twice as long and half as long are equally far from 1.

    Args:
        table, by, value, between, a, b: as for `paired_difference`; every value above zero.

    Returns:
        The columns `by`, `mean`, `low`, `high` and `n`.

    Raises:
        ValueError: a value that is not above zero, or what `paired_difference` refuses.
    """
    check_columns(table, value=value)
    if not (table[value] > 0).all():
        raise ValueError(f"{value} has values that are not above zero; they have no ratio")
    logarithms = table.assign(**{value: np.log(table[value])})
    ratio = paired_difference(logarithms, by, value, between, a, b).drop(columns="sd")
    return ratio.assign(**np.exp(ratio[["mean", "low", "high"]]))


def written(effects: pd.DataFrame, unit: str = "points", form: str = "+.2f") -> pd.Series:
    """Each mean and its interval as a text, such as "+0.42 [+0.10, +0.74] points".

    Args:
        effects: the columns `mean`, `low`, `high`.
        unit: what follows the numbers.
        form: how Python formats each number, such as ".2f" or ".1%".

    Raises:
        ValueError: a column the table does not have.
    """
    numbers = ("mean", "low", "high")
    check_table("effects", effects, numbers=numbers)
    check_type("unit", unit, str, "a text")
    with calling(f"form={said(form)}"):
        format(0.5, form)
    texts = [
        f"{mean:{form}} [{low:{form}}, {high:{form}}] {unit}".rstrip()
        for mean, low, high in effects[[*numbers]].itertuples(index=False)
    ]
    return pd.Series(texts, effects.index, dtype=object)


def choose(
    table: pd.DataFrame,
    by: list[str],
    setting: str,
    value: str = "valid_accuracy",
    largest: bool = True,
) -> pd.DataFrame:
    r"""The setting (a learning rate, a strength) with the best mean `value` in each group.

    $$\hat{\lambda} = \arg\max_{\lambda \in \Lambda} \frac{1}{n} \sum_{i=1}^{n} v_{\lambda, i}
    \tag{0.4}$$

    for $n$ rows (seeds) of value $v_{\lambda, i}$ at each setting $\lambda$ of the grid
    $\Lambda$; of two as good, the lower setting. `value` must come from validation images: what
    is chosen on test images makes their accuracy too high. `table.merge(choose(table, ...))`
    keeps the rows at the chosen settings.

    Args:
        table: one row a measurement.
        by: the columns that make a group.
        setting: the column to choose from.
        value: the column to average.
        largest: whether a larger value is better; else the mean is minimized.

    Returns:
        One row a group, in the order of the table: the columns `by`, `setting` and `edge`, which
        says that the best lies at the "low" or the "high" end of its grid, so that a better one may
        lie beyond it; else "" (as where there is only one setting).

    Raises:
        ValueError: a column the table does not have, or a value that is missing.
    """
    check_columns(table, by=by, setting=setting, value=value)
    check_type("largest", largest, bool, "True or False")
    columns = [*by, setting, value]
    if table[columns].isna().any(axis=None):
        empty = [column for column in columns if table[column].isna().any()]
        raise ValueError(f"{empty} have missing values (NaN); drop those rows first")
    means = table.groupby([*by, setting], observed=True)[value].mean().reset_index()
    groups = means.groupby(by, observed=True)
    best = means.loc[groups[value].idxmax() if largest else groups[value].idxmin()]
    lowest, highest = (groups[setting].transform(end).loc[best.index] for end in ("min", "max"))
    at_end = [best[setting] == lowest, best[setting] == highest]
    edge = np.where(lowest == highest, "", np.select(at_end, ["low", "high"], ""))
    chosen = best[[*by, setting]].assign(edge=edge)
    return table[by].drop_duplicates().merge(chosen, on=by)
