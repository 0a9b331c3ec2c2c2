"""Write what the explorers get from Python: ``python -m course_book.explorers``.

The tables (JSON), the pictures for readers without JavaScript and the numbers of the
activations.
"""

from __future__ import annotations

import json
from pathlib import Path

from course_book.explorers import activations
from course_book.explorers.packed import as_script
from course_book.explorers.page import HERE, read_text
from course_book.explorers.stills import STILLS
from course_book.explorers.tables import TABLES


def as_json(data: dict) -> str:
    """One line for each value, so that a change can be read."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in data.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def contents() -> dict[Path, str]:
    """Each file that Python writes, and its text."""
    found = {}
    for name, table in TABLES.items():
        data = table()
        found[HERE / f"{name}.json"] = as_json(data)
        found[HERE / f"{name}.html"] = STILLS[name](data)
    return found


def main() -> None:
    """Write the files that differ."""
    file = activations.FILE
    write(HERE / file, as_script(file, activations.renewed()))
    read_text.cache_clear()  # the picture of that explorer is drawn from this file
    for path, text in contents().items():
        write(path, text)


def write(path: Path, text: str) -> None:
    """Write a file if it differs, and say so."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8", newline="\n")
        print(path.name)


if __name__ == "__main__":
    main()
