"""How fast the course is: ratios of two sides in one run, and its own time.

    python -m benchmarks                     everything, about 30 minutes
    python -m benchmarks inference training  some subjects
    python -m benchmarks inference --shapes 4x160 16x96

Both sides get the same inputs, first have to give the same result, are warmed up, and
then run in random order, at least five rounds. The ratio is the median over the
rounds, with the quartiles beside it. Peers that are not installed are left out with a
line that says so; ``benchmarks/requirements.txt`` names them. ``site`` (the book)
and ``tests`` have one side: seconds.
"""
