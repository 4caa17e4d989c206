"""What nbgrader is told, by `make course` and `make grade` and on its own command line.

Everything that is made stands in build/course, as nbgrader wants it: source, release, submitted,
autograded, feedback and gradebook.db.
"""

import sys
from pathlib import Path

from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    IgnorePattern,
    LimitOutput,
    SaveAutoGrades,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from course.build import COURSE
from course.execute import LimitedExecute
from course.pages import LOOKS, InOneFile
from course.points import Points

# nbgrader puts `get_config` here.
c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.CourseDirectory.course_id = "prunelab"
c.CourseDirectory.root = str(COURSE)
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__"]
c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise NotImplementedError("write your code here")'
}
c.Autograde.autograde_preprocessors = [
    LimitedExecute,
    IgnorePattern,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]
c.IgnorePattern.enabled = True  # a warning in a check is no mistake; nbgrader counts it as one
c.IgnorePattern.pattern = ".*"
c.LimitOutput.max_lines = 200
c.LimitOutput.max_traceback = 30
c.GenerateFeedback.preprocessors = [Points, InOneFile]
c.HTMLExporter.update(LOOKS)
