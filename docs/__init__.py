"""The site and the slides, derived from the notebooks, the exercises and the docstrings."""
