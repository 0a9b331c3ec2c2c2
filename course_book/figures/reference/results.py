"""The figures of the page that shows the long runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from course_book.experiments.real_photos import TUNED_ON
from course_book.figures import AMBER, BLUE, INK, MUTED, ORANGE
from course_book.results.goals import Goal, Reached

__all__ = ["METHODS", "draw_decks", "draw_goals", "draw_readings"]

METHODS = {
    "baseline": ("no learning", MUTED, "s"),
    "fresh": ("fresh weights", ORANGE, "o"),
    "course": ("the course's weights", BLUE, "D"),
}


def draw_decks(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw ROC AUC with its interval, a panel per split, a group per part.

    Args:
        rows: of ``course_book.results.load("decks")``.

    Returns:
        The figure.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.4), sharey=True)
    titles = {"photo": "split by photo", "random": "split at random"}
    for ax, (split, title) in zip(axes, titles.items()):
        mine = [row for row in rows if row["split"] == split]
        parts = sorted({str(row["part"]) for row in mine})
        for row in mine:
            label, color, marker = METHODS[row["method"]]
            x = parts.index(str(row["part"]))
            x += 0.22 * (list(METHODS).index(row["method"]) - 1)
            ends = [[row["auc"] - row["auc_low"]], [row["auc_high"] - row["auc"]]]
            ax.errorbar(
                x,
                row["auc"],
                ends,
                color=color,
                marker=marker,
                markersize=6,
                linewidth=1.5,
                label=label if x < 0.5 else None,
            )
        ax.set_title(title)
        names = [f"part {k + 1}" for k in range(3)]
        if split == "photo":
            seen = {True: "tuned on", False: "held out"}
            names = [f"{part}\n{seen[f'deck {part}' in TUNED_ON]}" for part in parts]
        ax.set_xticks(range(len(parts)), names)
        ax.set_xlim(-0.5, len(parts) - 0.5)
        ax.set_xlabel("tested photo" if split == "photo" else "tested third")
        ax.grid(axis="x", visible=False)
    axes[0].set_ylabel("ROC AUC")
    axes[0].axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
    axes[1].axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


LOOKS = {  # how a goal's end is drawn
    "reached": (BLUE, "o"),
    "on the edge": (AMBER, "D"),
    "missed, on the edge": (ORANGE, "v"),
    "missed": (ORANGE, "X"),
    "tuned on": (MUTED, "s"),
}
LEFT, RIGHT = 0.15, 10.0  # ends of the axis


def share_of_goal(goal: Goal, value: float) -> float:
    """How far ``value`` is, as a share of what was asked: 1 is the goal.

    Scores between 0 and 1 are compared by their errors: twice as many as allowed are
    one half, none at all are infinity. Times and their shares count downward, too.
    """
    if goal.measure in ("accuracy", "macro F1", "ROC AUC"):
        return (1 - goal.limit) / (1 - value) if value < 1 else float("inf")
    return goal.limit / value if goal.asked.startswith("<=") else value / goal.limit


def draw_goals(goals: Sequence[Goal]) -> Figure:
    """Draw every goal as 1 and what was measured beside it, worst first.

    Args:
        goals: of ``course_book.results.goals.goals``; those whose limit is 0 have no
            such share and are left out, like those that were not measured yet.

    Returns:
        The figure: a filled mark for the task as it was set, a hollow one for the
        task as it was changed, lines for the intervals.
    """
    shown = [goal for goal in goals if goal.limit and goal.as_set]
    shown.sort(key=lambda goal: share_of_goal(goal, goal.as_set[-1].value))
    figure, ax = plt.subplots(figsize=(6.2, 0.25 * len(shown) + 1.4))
    used = {}
    for place, goal in enumerate(reversed(shown)):
        _mark(ax, goal, goal.as_set[-1], place, goal.status)
        used[goal.status] = LOOKS[goal.status]
        if goal.changed_task:
            newest = goal.changed_task[-1]
            _mark(ax, goal, newest, place, goal.judged(goal.changed_task), hollow=True)
    ax.axvline(1, color=INK, linewidth=1)
    ax.set(xscale="log", xlim=(LEFT, RIGHT), ylim=(-0.7, len(shown) - 0.3))
    ticks = [0.2, 0.5, 1, 2, 5, 10]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks(range(len(shown)), [_label(goal) for goal in reversed(shown)])
    ax.tick_params(axis="y", labelcolor=INK, labelsize=10)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("measured, as a share of what was asked")
    handles = [
        ax.plot([], [], marker, color=color, label=status)[0]
        for status, (color, marker) in LOOKS.items()
        if status in used
    ]
    hollow = ax.plot([], [], "o", mfc="white", color=MUTED, label="task changed")
    figure.legend(handles=[*handles, *hollow], loc="outside lower center", ncols=3)
    return figure


def _label(goal: Goal) -> str:
    words = goal.what.replace("drawn cracks find real ones, ", "drawn to real: ")
    words = words.replace("drawn cracks, six classes at 64 px", "drawn cracks, 64 px")
    if goal.measure == "seconds":
        words += ", time"
    if goal.on.startswith("against "):
        words += f" / {goal.on.removeprefix('against ')}"
    for long, short in (
        (" / ImageFolder and DataLoader", " / loop"),
        (" / a plain loop", " / loop"),
        (" / the same steps in a bare loop", ""),
        ("three epochs from", "train from"),
        ("backprop.gradients", "gradients"),
        ("photos, cracked or not", "photos"),
        (" after three epochs", ""),
    ):
        words = words.replace(long, short)
    return words


def _mark(
    ax: Axes, goal: Goal, row: Reached, place: int, status: str, hollow: bool = False
) -> None:
    color, marker = LOOKS[status]
    ends = [min(share_of_goal(goal, end), RIGHT) for end in row.interval or ()]
    if ends:
        ax.plot([min(ends), max(ends)], [place] * 2, color=color, linewidth=1.5)
    x = share_of_goal(goal, row.value)
    if x > RIGHT:  # no error at all: an arrow at the end of the axis
        x, marker = RIGHT * 0.97, ">"
    face = "white" if hollow else color
    ax.plot(x, place, marker, color=color, mfc=face, markersize=7, clip_on=False)


def draw_readings(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw ROC AUC of one network on three photos, a panel each, by how it looks.

    Args:
        rows: of ``course_book.results.load("deck_reading")``.

    Returns:
        The figure: a line for one look at growing sizes, single marks for windows.
    """
    sets = list(dict.fromkeys(row["set"] for row in rows))
    figure, axes = plt.subplots(1, len(sets), figsize=(6.2, 3.3), sharey=True)
    for ax, name in zip(axes, sets):
        mine = [row for row in rows if row["set"] == name]
        whole = [row for row in mine if row["reading"] == "whole"]
        x, y = [row["size"] for row in whole], [row["auc"] for row in whole]
        ax.plot(x, y, "o-", color=BLUE, label="one look at the whole patch")
        many = [row for row in mine if row["reading"].startswith("windows, most")]
        x, y = [row["size"] for row in many], [row["auc"] for row in many]
        label = "most suspicious window of 128 px"
        ax.plot(x, y, "D", color=ORANGE, label=label)
        plain = mine[0]["baseline"]
        ax.axhline(plain, color=MUTED, linestyle="--", label="no learning")
        ax.axhline(0.5, color=MUTED, linewidth=1, linestyle=":")
        ax.set_title(f"{name.removeprefix('deck ')}, {mine[0]['role']}")
        ax.set_xticks([96, 160, 224])
        ax.set_xlabel("patch drawn at [px]")
    axes[0].set_ylabel("ROC AUC")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
