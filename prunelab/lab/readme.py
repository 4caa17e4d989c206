"""The README's findings and table of claims, from the recorded studies: `make notebooks`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from prunelab.data import ROOT
from prunelab.intervals import written
from prunelab.lab import beyond, korean
from prunelab.lab.claims import claims, verdict
from prunelab.lab.effects import lead
from prunelab.lab.playbook import recovery
from prunelab.lab.protocol import POINTS

README = ROOT / "README.md"
KOREAN_README = ROOT / "README.ko.md"
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


def table_of_claims(table: pd.DataFrame, who: str = "the guide says") -> str:
    """In Markdown: a row a claim, the range of its effects over settings, and its verdicts.

    Args:
        table: what `claims` returns.
        who: claims it.
    """
    lines = [f"| {who} | is it so? | measured | notebook |", "|---|---|---|---|"]
    for one in summaries(table):
        verdicts = ", ".join(_times(words, n, one.settings) for words, n in one.verdicts.items())
        words = f"{one.quantity}: {one.range('to')} ({one.claimed} is claimed)"
        lines.append(f"| {one.claim} | {verdicts} | {words} | {one.notebook} |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Summary:
    """One claim about one number, over all its settings."""

    notebook: str
    claim: str
    quantity: str
    claimed: str
    verdicts: dict[str, int]
    """How many settings say what, the most frequent first."""
    low: float
    high: float

    @property
    def settings(self) -> int:
        return sum(self.verdicts.values())

    def range(self, to: str) -> str:
        low, high = f"{self.low:.2f}", f"{self.high:.2f}"
        return low if low == high else f"{low} {to} {high}"


def summaries(table: pd.DataFrame) -> Iterator[Summary]:
    """The rows of `table_of_claims`, for a table in whatever language."""
    by = ["notebook", "claim", "quantity", "claimed"]
    for key, rows in table.groupby(by, sort=False):
        counts = rows["verdict"].value_counts().to_dict()
        yield Summary(*key, counts, rows["mean"].min(), rows["mean"].max())


def _times(verdict: str, count: int, of: int) -> str:
    return f"**{verdict}**" if count == of else f"{verdict} ({count} of {of})"


def with_claims(readme: str) -> str:
    """The README's text with today's findings and tables, each between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    parts = {
        "findings": findings(recovery(more=True)),
        "claims": table_of_claims(claims()),
        "claims of part II": table_of_claims(beyond.claims(), "the claim"),
    }
    for part, text in parts.items():
        readme = _between(readme, part, text)
    return readme


def _between(readme: str, part: str, text: str) -> str:
    begin, end = f"<!-- {part}: written by make notebooks -->", f"<!-- end of {part} -->"
    old = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    if not old.search(readme):
        raise ValueError(f"the readme has no lines {begin!r} and {end!r} to write between")
    return old.sub(lambda _: f"\n{text}\n\n", readme)


def with_korean_claims(readme: str) -> str:
    """The Korean README's text with today's table of claims between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    return _between(readme, "claims", korean.table_of_claims(summaries(claims())))


def write() -> None:
    for path, renewed in {README: with_claims, KOREAN_README: with_korean_claims}.items():
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
