"""The README's table of claims, from the recorded studies: `make notebooks` writes it."""

import re
from pathlib import Path

import pandas as pd

from prunelab.data import ROOT
from prunelab.lab.claims import claims

README = ROOT / "README.md"
BEGIN, END = "<!-- claims: written by make notebooks -->", "<!-- end of claims -->"


def table_of_claims(table: pd.DataFrame) -> str:
    """In Markdown: a row a claim, the range of its effects over settings, and its verdicts.

    Args:
        table: what `claims` returns.
    """
    lines = ["| the guide says | is it so? | measured | notebook |", "|---|---|---|---|"]
    by = ["notebook", "claim", "quantity", "claimed"]
    for (notebook, claim, quantity, claimed), rows in table.groupby(by, sort=False):
        counts = rows["verdict"].value_counts()
        verdicts = ", ".join(_times(verdict, count, len(rows)) for verdict, count in counts.items())
        low, high = (f"{end:.2f}" for end in (rows["mean"].min(), rows["mean"].max()))
        measured = low if low == high else f"{low} to {high}"
        words = f"{quantity}: {measured} ({claimed} is claimed)"
        lines.append(f"| {claim} | {verdicts} | {words} | {notebook} |")
    return "\n".join(lines)


def _times(verdict: str, count: int, of: int) -> str:
    return f"**{verdict}**" if count == of else f"{verdict} ({count} of {of})"


def with_claims(readme: str) -> str:
    """The README's text with today's table between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    between = re.compile(f"(?<={re.escape(BEGIN)}\n).*?(?={re.escape(END)})", re.DOTALL)
    if not between.search(readme):
        raise ValueError(f"README.md has no lines {BEGIN!r} and {END!r} to write between")
    return between.sub(lambda _: f"\n{table_of_claims(claims())}\n\n", readme)


def write(path: Path = README) -> None:
    path.write_text(with_claims(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
