"""A hash of the code that a function really uses, whatever else stands in the same files.

From the function on, every top-level function, class and constant of prunelab that is named is
followed, through imports and through tables such as `NETWORKS`. Comments, docstrings and layout
do not count. What runs when a module is imported counts always: decorated functions, calls,
entries into a table. In doubt the whole module counts: where a module is handed on (as to
`getattr`), at `import *`, at `globals()` and the like, and for a name that is not found. What is
imported by a name made at run time is not seen.
"""

import ast
import hashlib
import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "prunelab"
NOT_FOLLOWED = ("prunelab.lab.cache", "prunelab.lab.fingerprint")
"""They keep results and change none."""
REFLECTION = {"eval", "exec", "globals", "locals", "vars", "__name__"}
IMPORT, WHOLE = "<import>", "*"
"""Beside the names in a module: what its import runs, and all of it."""

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Use = tuple[str, str]
"""A module, and a name in it."""


@cache
def code_fingerprint(function: Callable) -> str:
    """A hash of a module-level function and of all code of prunelab it uses."""
    function = inspect.unwrap(function)
    waiting: list[Use] = [(function.__module__, function.__name__)]
    sources: dict[str, Source] = {}
    used: dict[Use, list[str]] = {}
    while waiting:
        module, name = waiting.pop()
        if (module, name) in used or module in NOT_FOLLOWED:
            continue
        if module not in sources:
            sources[module] = Source(module)
        used[module, name], uses = sources[module].definition(name)
        waiting += [*uses, (module, IMPORT)]
    text = json.dumps(sorted((*use, *code) for use, code in used.items() if code))
    return hashlib.sha256(text.encode()).hexdigest()


class Source:
    """The code of a module, by its top-level names."""

    def __init__(self, module: str):
        spec = importlib.util.find_spec(module)
        self.module, self.parent = module, module.rpartition(".")[0]
        self.package = module if spec.submodule_search_locations else self.parent
        lines = _without_docstrings(Path(spec.origin).read_text(encoding="utf-8")).body
        outside = [line for line in lines if not isinstance(line, DEFINITION)]
        self.imports = self._imports(ast.Module(outside, []))
        self.lines: dict[str, list[ast.stmt]] = {}
        for line in lines:
            for name in _bound(line):
                self.lines.setdefault(name, []).append(line)

    def definition(self, name: str) -> tuple[list[str], list[Use]]:
        """The code of a name, and what it uses."""
        code, uses = [], []
        for line in self.lines.get(name, []):
            own = self._imports(line)
            code.append(ast.dump(line))
            uses += _run_by(own)
            for chain in sorted(set(_chains(line))):
                first, dot, rest = chain.partition(".")
                imported = (self.imports | own).get(first)
                if imported:
                    code.append(imported + dot + rest)
                    uses += _resolved(code[-1])
                if first in self.lines:
                    uses.append((self.module, first))
                if first in REFLECTION:
                    uses.append((self.module, WHOLE))
        if name == IMPORT:
            uses += [*_run_by(self.imports), (self.parent or self.module, IMPORT)]
        elif name in self.imports:  # another module takes it from here
            code.append(self.imports[name])
            uses += _resolved(self.imports[name])
        elif name not in self.lines:  # all, or what is not found
            uses += [(self.module, each) for each in (*self.lines, *self.imports)]
        return code, uses

    def _imports(self, tree: ast.AST) -> dict[str, str]:
        """What imported names stand for: `fit` for `prunelab.training.fit`."""
        found = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    root = alias.name.partition(".")[0]
                    found[alias.name] = alias.name
                    found[alias.asname or root] = alias.name if alias.asname else root
            elif isinstance(node, ast.ImportFrom):
                relative = "." * node.level + (node.module or "")
                source = importlib.util.resolve_name(relative, self.package)
                for alias in node.names:
                    target = f"{source}.{alias.name}"
                    found[target if alias.name == WHOLE else alias.asname or alias.name] = target
        return found


def _bound(line: ast.stmt) -> set[str]:
    """The names that a top-level statement binds, and IMPORT if it does more than that."""
    if isinstance(line, ast.Import | ast.ImportFrom):
        return set()
    if isinstance(line, DEFINITION):
        return {line.name, IMPORT} if line.decorator_list else {line.name}
    targets = getattr(line, "targets", None) or [getattr(line, "target", None)]
    assigns = isinstance(line, ast.Assign | ast.AnnAssign)
    nodes = [node for part in (targets if assigns else [line]) for node in ast.walk(part)]
    stored = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Store)]
    names = {node.id for node in stored if isinstance(node, ast.Name)}
    names |= {node.name for node in nodes if isinstance(node, DEFINITION)}
    into_others = any(isinstance(node, ast.Attribute | ast.Subscript) for node in stored)
    return names if assigns and not into_others else names | {IMPORT}


def _chains(node: ast.AST) -> Iterator[str]:
    """Every name in the code, with the attributes that follow it: `helper.double`."""
    attributes: list[str] = []
    base = node
    while isinstance(base, ast.Attribute):
        attributes.insert(0, base.attr)
        base = base.value
    if isinstance(base, ast.Name):
        yield ".".join([base.id, *attributes])
    else:
        for child in ast.iter_child_nodes(node):
            yield from _chains(child)


def _resolved(dotted: str) -> list[Use]:
    """The module of prunelab that a dotted name is in, and its name there; nothing elsewhere."""
    module, *rest = dotted.split(".")
    if module != PACKAGE:
        return []
    while rest and _is_module(f"{module}.{rest[0]}"):
        module = f"{module}.{rest.pop(0)}"
    return [(module, rest[0] if rest else WHOLE)]


def _run_by(imports: dict[str, str]) -> list[Use]:
    """What runs when these are imported; all of a module of which everything is imported."""
    return [
        (module, WHOLE if target.endswith(".*") else IMPORT)
        for target in imports.values()
        for module, _ in _resolved(target)
    ]


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # an object inside a module
        return False


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(getattr(node, "body", None), list):
            node.body = [line for line in node.body if not _is_string(line)]
    return tree


def _is_string(line: ast.stmt) -> bool:
    return (
        isinstance(line, ast.Expr)
        and isinstance(line.value, ast.Constant)
        and isinstance(line.value.value, str)
    )
