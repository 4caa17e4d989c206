"""What `data/PROTOCOL.md` has fixed beforehand: the smallest effects that matter."""

POINTS, TIMES = 0.2, 1.1
"""Points of accuracy, and times as long or as large, below which nobody would choose by it."""
