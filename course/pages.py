"""How the pages of feedback and of the key are made: one file each, which loads nothing."""

from importlib.util import find_spec
from pathlib import Path

from nbconvert import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from docs.carried import MATHJAX, formulas_in_one

TEMPLATES = Path(__file__).with_name("templates").absolute()
SCRIPTS = Path(__file__).absolute().parents[1] / "docs" / "static"
LOOKS = {
    "template_name": "feedback",  # nbgrader insists on this name
    "extra_template_basedirs": [str(TEMPLATES)],
    "exclude_input_prompt": True,
    "exclude_output_prompt": True,
}
"""Settings of nbconvert's HTMLExporter."""
WITHOUT = (
    "formulas will stand on the pages as TeX: {} is not installed; "
    "pip install --editable '.[course]' with the Python of this project"
)


def formulas_missing() -> str:
    """What to say where there is no MathJax; empty where there is."""
    return "" if find_spec(MATHJAX[0]) else WITHOUT.format(MATHJAX[0])


class InOneFile(Preprocessor):
    """Gives the template what other pages load: the style, and scripts."""

    enabled = True

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        scripts = [(SCRIPTS / name).read_text("utf-8") for name in ("formulas.js", "reach.js")]
        resources["style"] = (TEMPLATES / "feedback" / "page.css").read_text("utf-8")
        resources["scripts"] = [*scripts, *filter(None, [formulas_in_one()])]
        return nb, resources


def page(notebook: NotebookNode, name: str, **resources) -> str:
    """A notebook as a page.

    Args:
        notebook: with its outputs.
        name: the title.
        resources: what else the template reads, such as `nbgrader`.
    """
    exporter = HTMLExporter(preprocessors=[InOneFile], **LOOKS)
    html, _ = exporter.from_notebook_node(
        notebook, resources={"metadata": {"name": name}, **resources}
    )
    return html
