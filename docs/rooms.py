"""The public functions and classes that notebooks teach, and their docstrings in Markdown."""

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import prunelab
from docs.markdown import ROOT, TAGGED, TAUGHT, page

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Warns|Example|Source): *", re.MULTILINE)
HEADINGS = {"Args": "Parameters", "Warns": "Warns of"}
DOORS = ("", "shipping")
ENTRY = re.compile(r"^([\w.*]+(?:, [\w.*]+)*): ")


@dataclass(frozen=True)
class Member:
    """A function, class or constant that anybody may use."""

    name: str
    room: str
    kind: str
    signature: str
    docstring: str

    @property
    def path(self) -> str:
        return f"{self.room}.{self.name}"


def rooms() -> list[Path]:
    """The files that notebooks teach, in their order: the ground floor, and some behind a door."""
    found = [file for door in DOORS for file in (ROOT / "prunelab" / door).glob("*.py")]
    found += [ROOT / "prunelab" / file for file in TAUGHT]
    return sorted((path for path in found if not path.stem.startswith("_")), key=_first_notebook)


def source(room: Path) -> str:
    """A room's file, seen from the project's folder."""
    return room.relative_to(ROOT).as_posix()


def module(room: Path) -> str:
    """What a room is imported as."""
    return source(room).removesuffix(".py").replace("/", ".")


@cache
def tree(room: Path) -> ast.Module:
    return ast.parse(room.read_text("utf-8"))


def about(room: Path) -> str:
    """The first line of what a file says of itself."""
    return (ast.get_docstring(tree(room)) or "").split("\n")[0]


@cache
def members(room: Path) -> list[Member]:
    """What is public in a room and has a docstring, in the order of its source."""
    body = tree(room).body
    found = [
        _member(node, below, module(room))
        for node, below in zip(body, [*body[1:], None], strict=True)
    ]
    return [one for one in found if one is not None and one.docstring]


def first() -> list[Member]:
    """What the package itself gives, where it does."""
    names = getattr(prunelab, "__all__", ())
    return [one for room in rooms() for one in members(room) if one.name in names]


def equations() -> dict[str, tuple[Member, str]]:
    """Each numbered equation: whose it is, and the formula with its number."""
    return {
        found[2]: (member, found[1].strip())
        for room in rooms()
        for member in members(room)
        for found in TAGGED.finditer(member.docstring)
    }


def api_page(room: Path, homes: Mapping[str, str]) -> str:
    """The reference of a room, in MyST Markdown."""
    name, file = module(room), source(room)
    about = page(ast.get_docstring(tree(room)) or "", file, homes)
    parts = [f"# `{name}`", about, f"```{{py:module}} {name}\n```"]
    for one in members(room):
        text = page(described(one.docstring), file, homes)
        parts.append(f"`````{{py:{one.kind}}} {one.name}{one.signature}\n\n{text}\n`````")
    return "\n\n".join(parts) + "\n"


def described(docstring: str) -> str:
    """A docstring in Markdown, its sections under small headings."""
    text, *sections = SECTION.split(docstring.strip())
    parts = [text.strip()]
    for heading, body in zip(sections[::2], sections[1::2], strict=True):
        body = textwrap.dedent(body).strip() if body.startswith("\n") else _unwrapped(body)
        if heading == "Example":
            body = f"```python\n{body}\n```"
        elif all(map(ENTRY.match, _entries(body))):
            body = "\n".join(map(_item, _entries(body)))
        parts.append(f"**{HEADINGS.get(heading, heading)}**\n\n{body}")
    return "\n\n".join(parts)


def _member(node: ast.stmt, below: ast.stmt | None, room: str) -> Member | None:
    match node:
        case ast.FunctionDef(name=name) if not name.startswith("_"):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            signature = f"({ast.unparse(node.args)}){returns}"
            return Member(name, room, "function", signature, ast.get_docstring(node) or "")
        case ast.ClassDef(name=name) if not name.startswith("_"):
            warns = any(ast.unparse(base).endswith("Warning") for base in node.bases)
            kind = "exception" if warns else "class"
            return Member(name, room, kind, "", ast.get_docstring(node) or "")
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            match below:
                case ast.Expr(value=ast.Constant(value=str(text))) if not name.startswith("_"):
                    return Member(name, room, "data", "", inspect.cleandoc(text))
    return None


def _first_notebook(room: Path) -> tuple[str, str]:
    """By the number in "(notebooks 06, 07)"; what belongs to all of them comes first."""
    found = re.search(r"\(notebooks? (\d\d)", ast.get_docstring(tree(room)) or "")
    return (found[1] if found else "00", room.stem)


def _entries(body: str) -> list[str]:
    """`name: text` entries, each with its lines joined."""
    return [_unwrapped(entry) for entry in re.split(r"\n(?=\S)", body)]


def _item(entry: str) -> str:
    names, words = entry.split(": ", 1)
    return f"* {', '.join(f'`{name}`' for name in names.split(', '))}: {words}"


def _unwrapped(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text.strip())
