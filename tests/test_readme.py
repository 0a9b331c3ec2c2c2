"""What the README says is so: its tables, commands, code, links and picture."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from course_lib import commands, predict
from course_lib.data import sources
from course_lib.dimensions import __main__ as dimensions
from course_lib.trainer import TrainerConfig

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "THIRD_PARTY.md")
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def load_tool():
    spec = importlib.util.spec_from_file_location("readme", ROOT / "tools/readme.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def code(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_tables_are_those_of_the_stored_results(name):
    tool = load_tool()
    text, lines = (ROOT / name).read_text(encoding="utf-8"), tool.tables()[name]
    assert tool.renewed(text, lines) == text, "run: python tools/readme.py"
    old = text.replace(lines[2], "| something | else |")
    assert tool.renewed(old, lines) == text != old


def test_the_harder_task_comes_first():
    faint, clear = load_tool().scores()[2:4]
    assert "faint" in faint and "75.07 %" in faint and "| missed |" in faint
    assert "clear" in clear and "95.82 %" in clear and "easier task" in clear


def test_new_numbers_are_appended(tmp_path, monkeypatch):
    tool = load_tool()
    copy = tmp_path / "reached.csv"
    stored = tool.REACHED.read_text(encoding="utf-8")
    copy.write_text(stored, encoding="utf-8")
    monkeypatch.setattr(tool, "REACHED", copy)
    assert tool.record("nothing") == 0
    new = {"value": 2.0, "low": 1.9, "high": 2.1, "runs": 7, "task": "as set"}
    monkeypatch.setattr(tool, "unrecorded", lambda: {"step-64": new})
    assert tool.record("own kernels removed") == 1
    before, last = copy.read_text().rstrip("\n").rsplit("\n", 1)
    assert before + "\n" == stored
    assert last.startswith("step-64,2026-") and last.endswith("own kernels removed")


def test_the_commands_are_understood(capsys):
    parsers = {
        "course_lib.train": commands.train_parser("").parse_args,
        "course_lib.predict": predict._parser().parse_args,
        "course_lib.dimensions": dimensions.main,
    }
    found = [
        shlex.split(line)
        for block in code("sh")
        for line in block.splitlines()
        if line.startswith("python -m ")
    ]
    assert {words[2] for words in found} == set(parsers)
    for _, _, module, *arguments in found:
        parsers[module](arguments)
    assert "= 56" in capsys.readouterr().out


def test_the_defaults_are_the_commands():
    (photos,) = re.findall(r"^By default .*$", TEXT, re.MULTILINE)
    default = vars(commands.train_parser().parse_args([]))
    for words in (
        f"at {sources.FOLDER_SIZE} pixels",
        f"in {default['epochs']} epochs of batches of {default['batch_size']}",
        f"with AdamW at a rate of {commands.FRESH}",
        f"or of {commands.TUNING} with `--weights`",
    ):
        assert words in photos, words
    assert TrainerConfig().optimizer == "adamw"


def test_the_code_runs(capsys):
    (block,) = code("python")
    exec(compile(block, "README.md", "exec"), {})
    assert re.search(r"^total +11,689,512 ", capsys.readouterr().out, re.MULTILINE)


def test_every_target_of_make_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    for name in PAGES:
        asked = re.findall(r"(?:`|^)make ([a-z]+)", (ROOT / name).read_text(), re.M)
        assert set(asked) <= targets, name


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_path_leads_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", re.sub(r"``.*?``", "", text))
    paths = re.findall(r"`((?:\.\w+|[\w]+)/[\w./-]*\.(?:py|md|ipynb))`", text)
    gone = [path for path in links + paths if not (ROOT / path).exists()]
    assert gone == []


def test_the_picture_is_small_and_described():
    ((alt, path),) = re.findall(r"!\[(.*?)\]\((.*?)\)", TEXT)
    assert len(alt) > 100
    assert (ROOT / path).stat().st_size < 200_000
    assert Image.open(ROOT / path).width >= 1000
