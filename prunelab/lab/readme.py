"""The README's findings and table of claims, from the recorded studies: `make notebooks`."""

import re
from pathlib import Path

import pandas as pd

from prunelab.data import ROOT
from prunelab.intervals import written
from prunelab.lab.claims import claims, verdict
from prunelab.lab.effects import lead
from prunelab.lab.playbook import recovery
from prunelab.lab.protocol import POINTS

README = ROOT / "README.md"
QUESTIONS = {
    "Is the last learning rate enough?": ("cosine", "last rate"),
    "Is it worth going back, and repeating 90 % of the training?": ("rewinding to early", "cosine"),
    "Is a teacher worth having?": ("distillation", "cosine"),
}
"""Each with two ways back; the first minus the second is the answer."""


def findings(study: pd.DataFrame) -> str:
    """In Markdown: three questions on recovery, with the least and the greatest effect.

    Args:
        study: what `playbook.recovery` returns.
    """
    pruned = study[study["pruned"] != "nothing"]
    lines = []
    for question, (way, over) in QUESTIONS.items():
        effects = lead(pruned, way, "", over)
        said = [
            verdict(effect.low, effect.high, "above", 0, POINTS) for effect in effects.itertuples()
        ]
        counts = ", ".join(f"{words} in {n}" for words, n in pd.Series(said).value_counts().items())
        ends = effects.loc[[effects["mean"].idxmin(), effects["mean"].idxmax()]]
        least, most = written(ends) + " (" + ends["setting"].map(_in_words) + ")"
        lines.append(
            f"* **{question}** *{way[0].upper()}{way[1:]}* minus *{over}*, with the same budget of "
            f"steps, in {len(effects)} settings: from {least} to {most}. "
            f"That the first gains: {counts}."
        )
    return "\n".join(lines)


def _in_words(setting: str) -> str:
    network, *pruned, density, budget = setting.split(", ")
    kept, steps = f"{float(density):.0%} kept", f"{float(budget):.0%} of the steps"
    return ", ".join([network, *pruned, kept, steps])


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
    """The README's text with today's findings and table, each between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    return _between(
        _between(readme, "findings", findings(recovery())), "claims", table_of_claims(claims())
    )


def _between(readme: str, part: str, text: str) -> str:
    begin, end = f"<!-- {part}: written by make notebooks -->", f"<!-- end of {part} -->"
    old = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not old.search(readme):
        raise ValueError(f"README.md has no lines {begin!r} and {end!r} to write between")
    return old.sub(lambda _: f"\n{text}\n\n", readme)


def write(path: Path = README) -> None:
    path.write_text(with_claims(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
