"""Write the tables of README and CONTRIBUTING from the stored results.

    python tools/readme.py [--changed "what is different from the run before"]

Numbers that a new run left in ``bench.csv``, ``headline.csv`` or another table go to
the end of ``reached.csv`` first, so that no number that was measured is lost. The
tables stand between two comments; ``tests/test_readme.py`` compares them.
"""

import argparse
import csv
import re
from datetime import date
from pathlib import Path

from course_book import results
from course_book.results.goals import Goal, Reached, goals, unrecorded

ROOT = Path(__file__).parent.parent
REACHED = ROOT / "course_book" / "results" / "reached.csv"
BEGIN, END = "<!-- measured: tools/readme.py -->\n", "<!-- end of measured -->\n"
# The harder task first.
DATA = {
    "synthetic": ("faint", "six classes of faint drawn cracks, 64 px"),
    "synthetic, clear": ("synthetic", "the same, drawn clear after the miss"),
    "digits": ("digits", "handwritten digits"),
    "mnist": ("mnist", "MNIST"),
    "metu": ("metu", "METU, cracked or not"),
}
SPEEDS = (
    *("inference-8-torchvision", "inference-8-onnxruntime", "inference-8-openvino"),
    *("step-64", "step-64-lines", "step-224", "step-224-lines"),
    *("overhead", "files-256-plain", "gradients-64", "gradients-224"),
)


def percent(*values: float) -> str:
    """Shares as percent, such as "95.8" or "94 to 97.1"."""
    return " to ".join(f"{100 * value:.1f}" for value in values)


def scores() -> list[str]:
    """What the trainer reaches, with what other seeds and other images would do."""
    lines = [
        "| data | training images | asked | on the test images | 95 % | so it is |",
        "|---|---:|---:|---:|---:|---|",
    ]
    runs = results.load("headline")
    by_name = {goal.name: goal for goal in goals("training")}
    for key, (run, words) in DATA.items():
        rows = [row for row in runs if row["run"] == run]
        goal = by_name[key.split(",")[0]]
        found, judged = goal.as_set[-1], goal.status
        if run == "synthetic":
            found = goal.changed_task[-1]
            judged = f"easier task, {goal.judged(goal.changed_task)}"
        asked = f"{goal.measure} {percent(goal.limit)} %"
        lines.append(
            f"| {words} | {rows[0]['n_train']:,} | {asked} "
            f"| {100 * found.value:.2f} % on {rows[0]['n_test']:,} "
            f"| {percent(*found.interval)} | {judged} |"
        )
    deck = next(goal for goal in goals("photos") if goal.name == "deck-7003")
    found, (low, high) = deck.as_set[-1], deck.as_set[-1].interval
    patches = next(
        row for row in results.load("synthetic_to_real") if row["set"] == "deck 7003"
    )
    lines.append(
        "| drawn cracks to a real bridge deck, the one photo held out | no real ones "
        f"| {deck.measure} {deck.limit} | {found.value:.2f}, without learning "
        f"{patches['baseline']:.2f} | {low:.2f} to {high:.2f} | {deck.status} |"
    )
    return lines


def number(goal: Goal, row: Reached) -> str:
    """A ratio with its unit, and the quartiles."""
    first, _, rest = goal.told(row).partition(" ")
    return f"{first} {goal.measure.removeprefix('share ')} {rest}".rstrip()


def status(goal: Goal) -> str:
    """By the task as it was set, and by the changed one."""
    if not goal.changed_task:
        return goal.status
    changed = goal.judged(goal.changed_task)
    return f"{goal.status}; {goal.changed_task[-1].task}: {changed}"


def speeds() -> list[str]:
    """The speeds that matter in use."""
    lines = [
        "| speed, side by side | measured | asked | so it is |",
        "|---|---:|---:|---|",
    ]
    by_name = {goal.name: goal for goal in goals("speed")}
    for goal in map(by_name.__getitem__, SPEEDS):
        found = number(goal, goal.history[-1]) if goal.history else ""
        lines.append(
            f"| {goal.what}, {goal.on} | {found} | {goal.asked} | {status(goal)} |"
        )
    return lines


def project() -> list[str]:
    """What the project itself costs, for CONTRIBUTING."""
    lines = ["| | seconds | at most | so it is |", "|---|---:|---:|---|"]
    for goal in goals("project"):
        row = goal.history[-1]
        words = f"{goal.what}, {goal.on}" if goal.on else goal.what
        lines.append(f"| {words} | {row.value:.1f} | {goal.limit:g} | {goal.status} |")
    return lines


def renewed(text: str, lines: list[str]) -> str:
    """The text of a page with the tables of today."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}{after}"


def tables() -> dict[str, list[str]]:
    """By page, the lines between its two comments."""
    return {"README.md": [*scores(), "", *speeds()], "CONTRIBUTING.md": project()}


def record(changed: str) -> int:
    """Append to ``reached.csv`` what the other tables hold and it does not."""
    lines = REACHED.read_text(encoding="utf-8").splitlines()
    columns = next(line for line in lines if line[:1] != "#").split(",")
    days = re.findall(r"\d{4}-\d\d-\d\d", results.metadata("bench"))
    new = unrecorded()
    with REACHED.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        for goal in goals():
            if row := new.get(goal.name):
                race = goal.source.startswith("bench")
                when = max(days) if race and days else date.today().isoformat()
                row |= {"goal": goal.name, "date": when, "changed": changed}
                writer.writerow(row)
    return len(new)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changed", default="", help="since the run before")
    print(record(parser.parse_args().changed), "new numbers recorded")
    for name, lines in tables().items():
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        page.write_text(renewed(text, lines), encoding="utf-8")
