"""Write requirements.lock and requirements-book.lock (`make lock`).

Both are universal: one file for Python 3.11 to 3.14 on Linux, macOS (arm64)
and Windows. torch pins its own CUDA packages on Linux; they are left out
here, so that `make test TORCH_INDEX=<url of a CPU index>` never meets them.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

# A pair that imports together on every machine tried so far.
PINNED = "torch==2.12.1\ntorchvision==0.27.1\n"
CUDA = re.compile(r"^(nvidia|cuda|triton)\b")
HEADER = "# Written by `make lock` from {source}. Do not edit.\n"


def compile_lock(source: str, constraints: Path) -> list[str]:
    """Resolve ``source`` with uv and return the lock's lines."""
    command = [sys.executable, "-m", "uv", "pip", "compile", source, "--universal"]
    command += ["--python-version", "3.11", "--fork-strategy", "fewest", "--quiet"]
    command += ["--no-header", "--no-annotate", "--constraint", str(constraints)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if not CUDA.match(line)]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "pinned.txt"
        pinned.write_text(PINNED)
        full = ROOT / "requirements.lock"
        lines = compile_lock("requirements.txt", pinned)
        full.write_text(
            HEADER.format(source="requirements.txt") + "\n".join(lines) + "\n"
        )
        book = compile_lock("requirements-book.txt", full)
    # A constraint keeps the version but not the marker: take the lock's own lines.
    names = {re.split(r"[=\s]", line)[0] for line in book}
    book = [line for line in lines if re.split(r"[=\s]", line)[0] in names]
    (ROOT / "requirements-book.lock").write_text(
        HEADER.format(source="requirements-book.txt") + "\n".join(book) + "\n"
    )


if __name__ == "__main__":
    main()
