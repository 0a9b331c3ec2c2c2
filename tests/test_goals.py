"""Goals, what was measured for them, and when one counts as reached."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from course_book import results
from course_book.figures.reference.results import LOOKS, draw_goals, share_of_goal
from course_book.results import goals as module
from course_book.results.goals import Goal, Reached, goals, newest, unrecorded, wilson

ROW = Reached("2026-11-21", None, "as set", 0.96, 0.94, 0.98, None, 3, None, None)
GOAL = Goal("x", "training", "x", "y", "accuracy", ">= 0.95", "", "", "", "yes", ())


@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(drawn):
    right, n = drawn
    expected = binomtest(right, n).proportion_ci(method="wilson")
    found = wilson(right / n, n)
    # scipy takes 1.959964 for 1.96
    assert found == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_two_uncertainties_are_wider_than_each():
    images = ROW._replace(value=0.9, low=None, high=None, n=1000, sd=0.0)
    assert images.interval == pytest.approx(wilson(0.9, 1000))
    both = images._replace(sd=0.02)
    seeds = 4.3027 * 0.02 / math.sqrt(3)  # Student's t for two degrees of freedom
    for end, alone in zip(both.interval, images.interval):
        assert abs(end - 0.9) == pytest.approx(math.hypot(alone - 0.9, seeds), rel=1e-4)
    perfect = images._replace(value=1.0)
    assert perfect.interval[1] == 1 and perfect.interval[0] == pytest.approx(
        1000 / (1000 + 1.96**2)
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "status"),
    [
        (0.97, 0.96, 0.98, "reached"),
        (0.96, 0.94, 0.98, "on the edge"),
        (0.94, 0.92, 0.96, "missed, on the edge"),
        (0.93, 0.92, 0.94, "missed"),
        (0.97, None, None, "reached"),
    ],
)
def test_a_goal_whose_interval_holds_the_limit_is_on_the_edge(value, low, high, status):
    row = ROW._replace(value=value, low=low, high=high)
    assert GOAL._replace(history=(row,)).status == status
    # the same mirrored: at most instead of at least
    low, high = (None if end is None else 1.9 - end for end in (high, low))
    mirrored = row._replace(value=1.9 - value, low=low, high=high)
    assert GOAL._replace(asked="<= 0.95", history=(mirrored,)).status == status


def test_two_runs_of_the_same_code_on_both_sides_are_on_the_edge():
    high = ROW._replace(value=2.3, low=2.28, high=2.32)
    low = high._replace(value=2.1, low=2.08, high=2.12)
    goal = GOAL._replace(asked=">= 2.2")
    assert goal._replace(history=(low, high)).status == "on the edge"
    mended = high._replace(changed="faster")
    assert goal._replace(history=(low, mended)).status == "reached"


def test_the_task_as_it_was_set_decides():
    miss = ROW._replace(value=0.75, low=0.72, high=0.78)
    easier = ROW._replace(task="clear", value=0.99, low=0.98, high=1.0)
    goal = GOAL._replace(history=(miss, easier))
    assert goal.status == "missed"
    assert goal.changed_task == (easier,)
    assert goal.judged(goal.changed_task) == "reached"
    tuned = goal._replace(decides="tuned on", history=(easier._replace(task="as set"),))
    assert tuned.status == "tuned on"


def test_every_number_of_the_sources_is_recorded():
    assert unrecorded() == {}, "run: python tools/readme.py --changed ..."
    for goal in goals():
        now = newest(goal)
        assert now is None or any(
            now["value"] == pytest.approx(row.value, abs=0.05) for row in goal.history
        )


def test_a_new_number_is_seen(monkeypatch):
    honest = results.load

    def load(name):
        rows = honest(name)
        for row in rows:
            if name == "bench" and row["against"] == "plain loop, torchvision 0.27.1":
                row["value"] += 0.01
            if name == "bench" and row["subject"] == "trainer's overhead":
                row["value"] += 0.01
            if name == "headline" and row["run"] == "faint":
                row["macro_f1"] = 0.8
        return rows

    monkeypatch.setattr(module, "load", load)
    found = unrecorded()
    assert set(found) == {"step-64", "step-224", "overhead", "synthetic"}
    assert found["overhead"]["task"] == "64 steps"  # as the last one
    assert found["synthetic"]["n"] == 1500 and found["synthetic"]["task"] == "as set"


def test_every_goal_of_the_benchmarks_stands_in_the_table():
    known = [
        ([part.strip() for part in goal.source[6:].split("|")], goal.limit)
        for goal in goals()
        if goal.source.startswith("bench ")
    ]
    for row in results.load("bench"):
        if not row["goal"]:
            continue
        fields = [row["subject"], row["case"] or "", row["against"] or ""]
        assert any(
            all(map(str.startswith, fields, parts))
            and float(row["goal"].split()[1]) == limit
            for parts, limit in known
        ), f"goals.csv has no line for {fields}, {row['goal']}"


def test_the_history_begins_with_the_task_as_it_was_set():
    for goal in goals():
        if not goal.history:
            assert goal.status == "not measured yet" and newest(goal) is None
            continue
        assert goal.as_set, goal.name
        assert goal.history[0].task in ("as set", "one thread"), goal.name
        for row in goal.history:
            low, high = row.interval or (row.value, row.value)
            assert low <= row.value <= high, (goal.name, row)
            assert row.task in ("as set", "one thread") or row.runs, goal.name
    for goal in goals():
        # what was changed is said with the first number of the changed task
        if goal.changed_task:
            assert goal.changed_task[0].changed, goal.name


def test_what_the_review_found_stays_said():
    by_name = {goal.name: goal for goal in goals()}
    assert by_name["synthetic"].status == "missed"
    assert [round(row.value, 4) for row in by_name["synthetic"].history] == [
        0.7507,
        0.9582,
    ]
    assert by_name["deck-7001"].status == by_name["deck-7002"].status == "tuned on"
    assert by_name["deck-7003"].status.startswith("missed")


def test_a_share_of_one_is_the_goal():
    for goal in goals():
        if goal.limit:
            assert share_of_goal(goal, goal.limit) == pytest.approx(1)
            better = goal.limit * (1.001 if goal.asked[0] == ">" else 0.999)
            assert share_of_goal(goal, better) > 1
    assert share_of_goal(GOAL, 1.0) == math.inf
    assert share_of_goal(GOAL, 0.9) == pytest.approx(0.5)  # twice the errors


def test_the_figure_has_a_row_for_each_goal():
    tested = goals("training") + goals("photos")
    figure = draw_goals(tested)
    (axes,) = figure.axes
    shown = [goal for goal in tested if goal.limit and goal.as_set]
    assert len(axes.get_yticks()) == len(shown)
    assert {goal.status for goal in tested} <= set(LOOKS) | {"one sample"}
