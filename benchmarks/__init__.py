"""How fast the course is, each number a ratio of two sides measured in one run.

    python -m benchmarks                     everything, about 15 minutes
    python -m benchmarks inference ledger    some subjects
    python -m benchmarks inference --shapes 4x160 16x96

Both sides get the same inputs, first have to give the same result, are warmed up, and
then run in random order, at least five rounds. The ratio is the median over the
rounds, with the quartiles beside it. Peers that are not installed are left out with a
line that says so; ``benchmarks/requirements.txt`` names them.
"""
