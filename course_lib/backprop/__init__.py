"""Backpropagation by hand: each layer, the whole network, and a step of SGD.

* :mod:`course_lib.backprop.autograd`: a small automatic differentiation for tensors;
* :mod:`course_lib.backprop.layers`: every operation forward, and its backward;
* :func:`gradients`: all gradients of a net of the course, and of its input;
* :func:`forward`, :func:`backward` and :func:`update_running_statistics`: its parts,
  for a training loop of your own, with :func:`sgd_step`.
"""

from course_lib.backprop.network import (
    backward,
    forward,
    gradients,
    update_running_statistics,
)
from course_lib.backprop.sgd import sgd_step

__all__ = [
    "backward",
    "forward",
    "gradients",
    "sgd_step",
    "update_running_statistics",
]
