"""Every goal of the project, and every number that was measured for it.

``goals.csv`` says what was asked, on what and when; ``reached.csv`` holds the numbers
in the order in which they came, each with what had changed since the one before. The
results page, README and CONTRIBUTING are made from these two tables.
"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any, NamedTuple

from scipy.stats import t

from course_book.results import load, metadata

__all__ = ["Goal", "Reached", "goals", "newest", "unrecorded", "wilson"]

AS_SET = "as set"


def wilson(share: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was counted on ``n`` cases.

    Wilson (1927), equation 2. Unlike ``share ± z * sqrt(share * (1 - share) / n)`` it
    does not shrink to a point when all cases agree.
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    return middle - half, middle + half


class Reached(NamedTuple):
    """One number that was measured for a goal."""

    date: str
    commit: str | None
    task: str  # "as set", or in words how it had been changed by then
    value: float
    low: float | None
    high: float | None
    sd: float | None  # over the seeds
    runs: int  # seeds, or rounds of a race
    n: int | None  # test images
    changed: str | None  # since the number before

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % for scores, the quartiles for races, None after a single run.

        For a share of test images it joins two uncertainties that do not know of
        each other: Wilson's interval for the ``n`` images and Student's for the mean
        of the seeds. Half their widths are added as squares.
        """
        if self.n is None:
            return None if self.low is None else (self.low, self.high)
        low, high = wilson(self.value, self.n)
        seeds = t.ppf(0.975, self.runs - 1) * self.sd / math.sqrt(self.runs)
        return (
            self.value - math.hypot(self.value - low, seeds),
            min(1.0, self.value + math.hypot(high - self.value, seeds)),
        )


class Goal(NamedTuple):
    """What was asked, and what came."""

    name: str
    table: str  # "training", "photos", "speed" or "project"
    what: str
    on: str
    measure: str
    asked: str  # such as ">= 0.95"
    set: str  # the date
    commit: str | None  # the first one that names the goal
    source: str  # the table with its newest number
    decides: str  # "yes", or why not: "tuned on", "one sample"
    history: tuple[Reached, ...]

    @property
    def limit(self) -> float:
        """The number that was asked for."""
        return float(self.asked.split()[1])

    def number(self, value: float) -> str:
        """A value as this goal is told: whole seconds, percent, or a ratio."""
        if self.measure == "seconds":
            return f"{value:.0f}"
        if self.measure in ("accuracy", "macro F1"):
            return f"{100 * value:.2f}"
        return f"{value:.{2 if self.measure == 'times as fast' else 3}f}"

    def told(self, row: Reached) -> str:
        """A measured number with its interval."""
        text = self.number(row.value)
        if row.interval:
            text += " ({} to {})".format(*map(self.number, row.interval))
        return text

    @property
    def request(self) -> str:
        """What was asked, in words and one sign."""
        sign = {"<=": "≤", ">=": "≥"}[self.asked.split()[0]]
        unit = " in %" if self.measure in ("accuracy", "macro F1") else ""
        return f"{self.measure}{unit} {sign}\N{NO-BREAK SPACE}{self.number(self.limit)}"

    def judged(self, rows: tuple[Reached, ...]) -> str:
        """Reached, missed or on the edge, by the last of ``rows``.

        Its interval is widened by the numbers of all runs since the last change, so
        that two runs of the same code on both sides of the limit are on the edge, too.
        """
        row = rows[-1]
        above = self.asked.startswith(">=")
        met = row.value >= self.limit if above else row.value <= self.limit
        ends = [row.value, *(row.interval or ())]
        for later, earlier in pairwise(reversed(rows)):
            if later.changed:
                break
            ends.append(earlier.value)
        edge = min(ends) <= self.limit <= max(ends)
        if met:
            return "on the edge" if edge else "reached"
        return "missed, on the edge" if edge else "missed"

    @property
    def as_set(self) -> tuple[Reached, ...]:
        """The numbers of the task as it was set."""
        return tuple(row for row in self.history if row.task == AS_SET)

    @property
    def status(self) -> str:
        """What the task as it was set says, or why it decides nothing."""
        if self.decides != "yes":
            return self.decides
        return self.judged(self.as_set) if self.as_set else "not measured yet"

    @property
    def changed_task(self) -> tuple[Reached, ...]:
        """The numbers that came after the task had been changed."""
        last = self.history[-1].task if self.history else AS_SET
        return (
            tuple(r for r in self.history if r.task == last) if last != AS_SET else ()
        )


def goals(table: str | None = None) -> list[Goal]:
    """All goals, or those of one table, each with its history."""
    history: dict[str, list[Reached]] = {}
    for row in load("reached"):
        history.setdefault(row.pop("goal"), []).append(Reached(**row))
    return [
        Goal(row.pop("goal"), **row, history=tuple(history.get(name, ())))
        for row in load("goals")
        for name in [row["goal"]]
        if table in (None, row["table"])
    ]


def newest(goal: Goal) -> dict[str, Any] | None:
    """The number that the goal's source holds now, as columns of ``reached.csv``."""
    table, _, key = goal.source.partition(" ")
    if table == "headline":
        run, column = key.split()
        rows = [row for row in load("headline") if row["run"] == run]
        values = [row[column] for row in rows]
        mean = sum(values) / len(values)
        sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))
        found = {"sd": sd, "runs": len(values), "value": mean}
        if column == "seconds":
            return found | {"low": min(values), "high": max(values)}
        return found | {"n": rows[0]["n_test"]}
    if table == "synthetic_to_real":
        name, _, column = key.rpartition(" ")
        for row in load(table):
            if (row["set"], row["seed"]) == (name, "mean"):
                found = {"value": row[column], "runs": 3}
                return found | {k: row[f"{column}_{k}"] for k in ("low", "high")}
        return None
    parts = [part.strip() for part in key.split("|")]
    # A later run of some rows adds its day to the notes.
    days = re.findall(r"\d{4}-\d\d-\d\d", metadata(table))
    if days and max(days) < goal.set:  # measured before it was asked
        return None
    for row in load(table):
        fields = (row["subject"], row["case"] or "", row["against"] or "")
        if all(map(str.startswith, fields, parts)):
            found = {key: row[key] for key in ("value", "low", "high")}
            return found | {"runs": row["repetitions"]}
    return None


def unrecorded() -> dict[str, dict[str, Any]]:
    """By goal, the numbers of the sources that ``reached.csv`` does not hold yet."""
    missing = {}
    for goal in goals():
        now = newest(goal)
        # Seconds are stored with one digit, everything else with three or more.
        close = 0.05 if goal.source.endswith("seconds") else 5e-5
        if now and all(abs(now["value"] - old.value) > close for old in goal.history):
            race = goal.source.startswith("bench") and goal.history
            task = goal.history[-1].task if race else AS_SET
            missing[goal.name] = now | {"task": task}
    return missing
