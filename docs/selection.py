"""What of a notebook goes on slides, and what the speaker reads beside them.

On slides: the question; predictions and what came out; claims of the guide; equations; figures;
verdict, exercises and summary. All other prose, and what cells print, becomes the notes of the
slide that follows it.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from nbformat import NotebookNode

from docs.chapters import shown
from docs.markdown import TAGGED

WHOLE = ("Verdict", "Exercises", "Summary")
"""Sections of which every word is shown."""
SKIPPED = ("References", "Glossary")
GUESS = "guess ="
"""How the cell begins in which a student writes a prediction down."""
QUESTION = "**Question.**"
MINE = re.compile(r" ?\(your guess: [^)]*\)")
"""The guess that stands in the notebook is not the audience's."""
WORDS = 80
"""As many fit on a slide."""
IN_A_LIST = 120
"""As many fit on a slide that is one list."""

ROWS = 14
"""As many of a table fit on a slide, headings included; a longer one is left to the speaker."""


@dataclass
class Slide:
    """One slide: its heading, what it shows in Markdown, and what is said to it."""

    heading: str
    shows: str
    kind: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Block:
    """A heading, a paragraph, a picture, a table, or what a cell prints."""

    kind: str
    text: str


def select(notebook: NotebookNode) -> list[Slide]:
    """The slides of a notebook, in its order."""
    slides: list[Slide] = []
    heading = ""
    told: list[str] = []
    for block in blocks(notebook):
        asked = bool(slides) and slides[-1].kind == "prediction" and not told
        if block.kind == "heading":
            heading = block.text
        elif heading in SKIPPED:
            continue
        elif block.kind == "printed" and asked:
            slides.append(Slide(heading, MINE.sub("", block.text), "answer"))
        elif (kind := kind_of(block, heading)) is None:
            told.append(block.text)
        elif kind == "words" and slides and _goes_on(slides[-1], heading, block.text):
            slides[-1].shows += f"\n\n{block.text}"
        else:
            slides.append(Slide(heading, block.text, kind, told))
            told = []
    if slides:
        slides[-1].notes += told
    return slides


def kind_of(block: Block, heading: str) -> str | None:
    """What a block is on a slide: "question", "prediction", ... or None if it is only told."""
    text = block.text
    if block.kind in ("figure", "equation", "prediction"):
        return block.kind
    if block.kind == "table":
        return "table" if heading in WHOLE and text.count("<tr") <= ROWS else None
    if block.kind == "paragraph":
        if text.startswith(QUESTION):
            return "question"
        if text.startswith("> "):
            return "claim"
        if heading in WHOLE:
            return "words"
    return None


def blocks(notebook: NotebookNode) -> Iterator[Block]:
    """A notebook in pieces that are shown or told as a whole."""
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        if cell.cell_type == "markdown":
            asks = after is not None and after.source.startswith(GUESS)
            yield from _paragraphs(cell.source, asks)
        for text in shown(cell):
            head, *_ = text.split("```")
            if TAGGED.search(head):
                yield Block("equation", head.strip())
        for output in cell.get("outputs", []):
            page = output.get("data", {}).get("text/html", "")
            if "<img" in page:
                yield Block("figure", page)
            elif "<table" in page:
                yield Block("table", page)
            elif output.output_type == "stream":
                yield Block("printed", f"```text\n{output.text.rstrip()}\n```")


def _paragraphs(text: str, asks: bool) -> Iterator[Block]:
    """Headings and paragraphs; the last one, if it asks for a guess, is a prediction."""
    parts = re.split(r"\n{2,}", text.strip())
    for part in parts:
        first, _, rest = part.partition("\n")
        if first.startswith("#"):
            yield Block("heading", first.lstrip("# "))
        words = rest if first.startswith("#") else part
        kind = "prediction" if asks and part is parts[-1] else "paragraph"
        for piece in _shorter_lists(words) if words else []:
            yield Block(kind, piece)


def _shorter_lists(text: str) -> list[str]:
    """A list that is too long for one slide, as several of about the same length."""
    items = re.split(r"\n(?=\* )", text) if text.startswith("* ") else [text]
    sizes = [len(item.split()) for item in items]
    count = math.ceil(sum(sizes) / IN_A_LIST)
    pieces: list[list[str]] = [[] for _ in range(count)]
    for item, before in zip(items, accumulate(sizes, initial=0), strict=False):
        pieces[before * count // sum(sizes)].append(item)
    return ["\n".join(piece) for piece in pieces if piece]


def _goes_on(slide: Slide, heading: str, text: str) -> bool:
    words = len(f"{slide.shows} {text}".split())
    return slide.kind == "words" and slide.heading == heading and words <= WORDS
