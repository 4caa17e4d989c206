"""Sphinx's settings. What it reads is written by docs/site.py."""

from pathlib import Path

import prunelab
from docs.site import STATIC

project = "prunelab"
release = prunelab.__version__
author = project_copyright = "The prunelab authors"
extensions = ["docs.accessible", "myst_nb", "sphinx.ext.mathjax", "sphinx.ext.viewcode"]

nb_execution_mode = "off"
nb_ipywidgets_js: dict = {}  # a page has no kernel for a slider to ask
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

add_module_names = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "prunelab"
html_static_path = [str(STATIC), str(Path(__file__).parent / "static")]
html_css_files = ["site.css"]
html_js_files = [(name, {"defer": "defer"}) for name in ("site.js", "reach.js")]
html_copy_source = False
mathjax_path = "mathjax/tex-chtml.js"
