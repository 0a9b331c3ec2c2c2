"""ResNet-18, Inside Out: the network, its data and its arithmetic.

Importing this package, or ``course_lib.dimensions``, imports no torch.
"""

__version__ = "2.0.0"
