"""Write the README's tables from the stored results: python tools/readme.py.

They stand between two comments; ``tests/test_readme.py`` compares them.
"""

from pathlib import Path
from statistics import mean, stdev

from course_book import results

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- measured: tools/readme.py -->\n", "<!-- end of measured -->\n"
DATA = {
    "digits": "handwritten digits",
    "mnist": "MNIST",
    "metu": "METU, cracked or not",
    "synthetic": "drawn cracks, six classes",
}
# Beside them, what ``inference.fast`` chose on the machine of the file.
CASES = {
    "ResNet-18, 8 × 224 px",
    "ResNet-18, 64 steps of 32 × 64 px, one validation",
}


def tables() -> str:
    """What the trainer reaches, and the speeds that matter in use."""
    runs = results.load("headline")
    lines = [
        "| data | training images | epochs | right on test images |",
        "|---|---:|---:|---:|",
    ]
    for name, words in DATA.items():
        rows = [row for row in runs if row["run"] == name]
        right = [100 * row["accuracy"] for row in rows]
        lines.append(
            f"| {words} | {rows[0]['n_train']:,} | {rows[0]['epochs']} "
            f"| {mean(right):.2f} % ± {stdev(right):.2f} |"
        )
    lines += ["", "| speed, side by side | against | | goal |", "|---|---|---:|---:|"]
    for row in results.load("bench"):
        wanted = row["case"] in CASES or "8 × 224 px, folded" in row["case"]
        if not (wanted and row["goal"]):
            continue
        value = f"{row['value']:.2f} {row['measure'].removeprefix('share ')}"
        goal = f"{row['goal']}, {'reached' if row['met'] == 'yes' else 'missed'}"
        lines.append(
            f"| {row['subject']}: {row['case']} | {row['against']} | {value} | {goal} |"
        )
    return "\n".join(lines) + "\n"


def renewed(text: str) -> str:
    """The README's text with the tables of today."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    README.write_text(renewed(text), encoding="utf-8")
