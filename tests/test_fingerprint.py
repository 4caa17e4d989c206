"""What is kept goes stale with the code that made it, and with no other."""

import importlib
import sys

import pytest

from prunelab.lab import fingerprint
from prunelab.lab.fingerprint import code_fingerprint

STUDY = '''
"""A study."""
import toy.rules
from toy import networks, numbers as n
from toy.helpers import Scale, once as first
from toy.tables import with_rules

STEPS, RATE = 3, 0.1

def measure(seed):
    """Rows."""
    network = networks.NETWORKS["small"]()
    return [first(seed) * STEPS * n.LIMIT, Scale(network).times(2), toy.rules.RULES]

def tuned(table):
    return with_rules(table)[RATE]
'''
TOY = {
    "__init__": "",
    "study": STUDY,
    "helpers": """
from toy.deep import twice
UNUSED = 1
def once(x):
    return twice(x) / 2
class Scale:
    def times(self, y):
        return y * 7
class Other:
    size = 1
""",
    "deep": """
from toy.deepest import two
def twice(x):
    return two() * x
def thrice(x):
    return 3 * x
""",
    "deepest": "def two():\n    return 2\n",
    "numbers": "LIMIT = 5\nTYPED: int = 6\nOTHER = [LIMIT for LIMIT in (1, 2)]\n",
    "networks": """
def small():
    return 1
def large():
    return 2
def neither():
    return 3
NETWORKS = {"small": small}
NETWORKS["large"] = large
""",
    "rules": """
RULES = {}
def register(function):
    RULES[function.__name__] = function
@register
def relu(x):
    return x + 0
register(len)
""",
    "tables": "def with_rules(table):\n    return table\n",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The fingerprint of `measure` in a package of these files, of which some may be others."""
    monkeypatch.setattr(fingerprint, "PACKAGE", "toy")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "toy").mkdir()

    def forget():
        for name in [name for name in sys.modules if name.partition(".")[0] == "toy"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    def of(**files: str) -> str:
        forget()
        for name, source in {**TOY, **files}.items():
            (tmp_path / "toy" / f"{name}.py").write_text(source)
        return code_fingerprint(importlib.import_module("toy.study").measure)

    yield of
    forget()


NOT_USED = [
    ("study", "with_rules(table)[RATE]", "with_rules(table)[0]"),
    ("study", "return with_rules", '"""Rows."""\n    return with_rules'),
    ("study", "from toy.tables import with_rules", "with_rules = dict"),
    ("study", '"""Rows."""', '"""All rows."""'),
    ("study", '"""A study."""', '"""Another study."""'),
    ("study", "def measure", "# a comment\n\ndef measure"),
    ("study", "* n.LIMIT", "* (n.LIMIT)"),
    ("helpers", "UNUSED = 1", "UNUSED = 2"),
    ("helpers", "size = 1", "size = 2"),
    ("deep", "return 3 * x", "return 4 * x"),
    ("networks", "return 3", "return 4"),
    ("numbers", "TYPED: int = 6", "TYPED: int = 7"),
    ("tables", "return table", "return table + 1"),
]
USED = [
    ("study", "STEPS, RATE = 3", "STEPS, RATE = 4"),
    ("study", "def measure(seed)", "def measure(seed=0)"),
    ("study", "once as first", "Other as first"),
    ("study", "numbers as n", "deep as n"),
    ("helpers", "/ 2", "/ 3"),
    ("helpers", "y * 7", "y * 8"),
    ("helpers", "import twice", "import thrice as twice"),
    ("deep", "two() * x", "two() + x"),
    ("deepest", "return 2", "return 3"),
    ("numbers", "LIMIT = 5", "LIMIT = 6"),
    ("networks", '"small": small', '"small": large'),
    ("networks", "return 1", "return 0"),
    ("networks", "return 2", "return 0"),
    ("rules", "return x + 0", "return x + 1"),
    ("rules", "register(len)", "register(max)"),
    ("rules", "RULES[function.__name__]", "RULES[function]"),
    ("__init__", "", "import sys\nsys.getrecursionlimit()\n"),
]
UNUSED = ("helpers", "UNUSED = 1", "UNUSED = 2")
LIMIT = ("study", "LIMIT = 1", "LIMIT = 2")
DEEPEST = ("deepest", "return 2", "return 3")
TAKEN = "from toy.helpers import twice\ndef measure(x): return twice(x)"
PACKAGE = "from math import sin\nfrom toy.deep import twice\ndef measure(x): return sin(twice(x))"
BOUND = "if True:\n    def helper(): return 1\ndef measure(): return helper()"
REFLECTION = "import sys\nLIMIT = 1\ndef measure(name): return "
OTHERS = [  # another study, a change, whether it counts
    ("from toy.helpers import *\ndef measure(): pass", UNUSED, True),
    ("from toy import helpers\ndef measure(name): return getattr(helpers, name)", UNUSED, True),
    ("def measure(n):\n    from toy import helpers as h\n    h.__dict__[n]", UNUSED, True),
    ("import toy.helpers\ndef measure(): return toy.helpers.made_when_asked_for", UNUSED, True),
    (REFLECTION + "globals()[name]", LIMIT, True),
    (REFLECTION + "eval(name)", LIMIT, True),
    (REFLECTION + "sys.modules[__name__]", LIMIT, True),
    (TAKEN, DEEPEST, True),
    (TAKEN, ("helpers", "/ 2", "/ 3"), False),
    (BOUND, ("study", "return 1", "return 2"), True),
    (PACKAGE, ("__init__", "", "import sys\nsys.getrecursionlimit()\n"), True),
    (PACKAGE, ("study", "import sin", "import cos as sin"), True),
]
for line in ("from toy.deep import twice", "from .deep import twice", "from . import deep"):
    use = "deep.twice" if line.endswith("deep") else "twice"
    inside = f"def measure(x):\n    {line}\n    return {use}(x)"
    OTHERS += [(inside, DEEPEST, True), (inside, ("deep", "3 * x", "4 * x"), False)]


@pytest.mark.parametrize(
    ("study", "change", "counts"),
    [
        *((STUDY, change, False) for change in NOT_USED),
        *((STUDY, change, True) for change in USED),
        *OTHERS,
    ],
)
def test_what_is_used_counts_and_nothing_else_but_in_doubt(toy, study, change, counts):
    files, (name, old, new) = TOY | {"study": study}, change
    assert old in files[name]
    changed = files | {name: files[name].replace(old, new)}
    assert (toy(**files) != toy(**changed)) == counts
