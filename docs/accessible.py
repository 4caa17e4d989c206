"""What Sphinx and its theme leave out for those who read by ear: an extension of Sphinx."""

import re

CAPTION = ' role="heading">'
LINES = re.compile(r"<dl>\s*((?:<dd>.*?</dd>\s*)+)</dl>", re.DOTALL)
"""A long signature, which Sphinx writes as a list of definitions without anything defined."""
LANGUAGES = {"README.ko": "ko"}
"""Pages that are not in English."""


def setup(app) -> dict:
    app.connect("html-page-context", complete, priority=900)  # after the theme has its menu
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def complete(app, name: str, template: str, context: dict, doctree) -> None:
    """Change a page before it is written."""
    menu = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = menu.replace(CAPTION, f' aria-level="2"{CAPTION}')
    body = LINES.sub(_in_lines, context.get("body", ""))
    if name in LANGUAGES:
        body = f'<div lang="{LANGUAGES[name]}">{body}</div>'
    context["body"] = body


def _in_lines(found: re.Match) -> str:
    return found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
