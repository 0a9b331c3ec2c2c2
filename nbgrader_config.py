"""How nbgrader writes the exercises of this book for learners.

`make handout` and `make mark` read this file, and nbgrader's own commands do too
when they run in this folder; the settings of a run are for those.
"""

c = get_config()  # noqa: F821 - traitlets defines it

c.CourseDirectory.course_id = "resnet18-inside-out"

# A function's stub then returns None, and the check says what to do.
c.ClearSolutions.code_stub = {"python": "# Your code here, in place of the dots.\n..."}

# Cells for the book alone: how solutions are shown, and why they are right.
c.TagRemovePreprocessor.remove_cell_tags = {"book-only"}

# Seconds for one cell.
c.Execute.timeout = 40
c.Execute.interrupt_on_timeout = True
# Checks that a learner has deleted come back and are marked.
c.OverwriteCells.add_missing_cells = True
c.LimitOutput.max_lines = 200
c.LimitOutput.max_traceback = 20
