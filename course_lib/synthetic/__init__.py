"""Cracks from a seed: the data set that every notebook has without a download.

:class:`SyntheticCracks` is the data set; :mod:`.scene` draws one picture of it.
"""

from course_lib.synthetic.dataset import COUNTS, SMALL, SyntheticCracks

__all__ = ["COUNTS", "SMALL", "SyntheticCracks"]
