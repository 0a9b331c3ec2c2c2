"""Data of the course (a stub for now)."""

from course_lib.classes import CRACK_CLASSES, SURFACES

__all__ = ["CRACK_CLASSES", "SURFACES"]
