"""Assignments that are graded, with nbgrader. The teacher's page is README.md."""
