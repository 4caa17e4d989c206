"""The laboratory: run a study, keep and sign its results, and hold claims against them."""
