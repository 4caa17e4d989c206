"""What a table must be, and the columns of it that an argument names."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

from prunelab.checks import said
from prunelab.checks.tensors import check_type


def check_table(name: str, table, needs: tuple[str, ...] = (), numbers: tuple[str, ...] = ()):
    """Refuse what is no table, or has not the columns that are needed.

    Args:
        name: of the argument.
        table: its value.
        needs: columns of any kind.
        numbers: columns of numbers.

    Raises:
        TypeError: no DataFrame.
        ValueError: naming the columns.
    """
    check_type(name, table, pd.DataFrame, "a table (a pandas DataFrame)")
    if missing := [column for column in (*needs, *numbers) if column not in table]:
        raise ValueError(f"{name} has no columns {missing}; it has {list(table)}")
    if wrong := [column for column in numbers if not is_numeric_dtype(table[column])]:
        raise ValueError(f"{name} must have numbers in its columns {wrong}")


def check_columns(table: pd.DataFrame, **arguments) -> None:
    """Refuse what names no columns of a table: `by` a list of them, `value` one that has numbers.

    Raises:
        TypeError: no table.
        ValueError: naming the argument, its value and the columns there are.
    """
    check_table("table", table)
    for argument, given in arguments.items():
        several = argument == "by"
        names = given if several and isinstance(given, list | tuple) else [given]
        fits = [isinstance(each, str) and each in table for each in names]
        if not fits or not all(fits) or (several and names is not given):
            wanted = "a list of columns" if several else "one of the columns"
            raise ValueError(f"{argument}={said(given)} must be {wanted} of table: {list(table)}")
    if "value" in arguments:
        check_table("table", table, numbers=(arguments["value"],))


def check_values(**arguments) -> None:
    """Refuse what cannot be the value of a cell, such as a list.

    Raises:
        ValueError: naming the argument and its value.
    """
    for argument, value in arguments.items():
        if not pd.api.types.is_scalar(value) or pd.isna(value):
            raise ValueError(f"{argument}={said(value)} must be a value that is in the table")
