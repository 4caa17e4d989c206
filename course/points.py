"""What nbgrader writes into a notebook before it becomes a page of feedback."""

from nbformat import NotebookNode
from nbgrader.preprocessors import GetGrades


class Points(GetGrades):
    """Says also of which answers nobody has given points yet."""

    def _get_score(self, cell: NotebookNode, resources: dict) -> None:
        super()._get_score(cell, resources)
        name = cell.metadata.nbgrader.grade_id
        place = (self.notebook_id, self.assignment_id, self.student_id)
        waits = self.gradebook.find_grade(name, *place).needs_manual_grade
        cell.metadata.nbgrader["waits"] = bool(waits)
