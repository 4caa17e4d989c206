"""One file a study: the grid, and what is measured at one of its points."""
