"""A widget in a real JupyterLab: alive, and one state for Python and the reader."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from playwright.sync_api import expect

pytest.importorskip("jupyterlab")

CELLS = [
    "from course_book.explorers import ConvolutionExplorer\n"
    "w = ConvolutionExplorer(size=20)\nw",
    "w.kernel = 5",
    "print(w)",
]


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab of its own, with one notebook."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(CELLS)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": kernel}}
    notebook |= {"nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "try.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own = {name: str(tmp_path / name) for name in (*folders, "IPYTHONDIR")}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", f"--ServerApp.root_dir={tmp_path}"]
    command += ["--ServerApp.token=", "--ServerApp.password="]
    command += ["--LabApp.news_url="]
    address = f"http://127.0.0.1:{port}"
    with (tmp_path / "log.txt").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"{address}/api/status")
                    break
                except OSError:
                    assert server.poll() is None, (tmp_path / "log.txt").read_text()
                    time.sleep(0.5)
            yield f"{address}/lab/tree/try.ipynb"
        finally:
            server.terminate()
            server.wait(30)


def test_python_and_the_reader_share_one_state(browser, lab):
    page = browser.new_page()
    page.set_default_timeout(120_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(lab)
    cells = page.locator(".jp-CodeCell")

    # JupyterLab may call a kernel idle that it has not reached yet, and then drops a
    # cell that is run without a word: ask again until the cell has a star or a number.
    def run(number):
        prompt = cells.nth(number).locator(".jp-InputPrompt")
        for _ in range(60):
            cells.nth(number).locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
            try:
                expect(prompt).not_to_have_text("[ ]:", timeout=2_000)
                return
            except AssertionError:
                pass
        pytest.fail(f"JupyterLab does not run cell {number}")

    idle = page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]")
    idle.wait_for(state="attached")
    run(0)
    says = page.locator(".explorer-convolution [role=status]")
    says.wait_for()
    run(1)  # Python moves a slider
    page.get_by_text("⌊(20 + 2·1 − 5)/2⌋ + 1 = ⌊8.5⌋ + 1 = 9").wait_for()
    slider = page.get_by_label("input size, slider")
    for _ in range(3):
        slider.press("ArrowRight")  # a key that JupyterLab has plans for, too
    page.get_by_role("button", name="First window").click()
    page.get_by_text("Output row 0, column 0").wait_for()
    page.wait_for_timeout(1000)
    run(2)  # Python reads what the reader has done
    printed = cells.nth(2).locator(".jp-OutputArea-output")
    wanted = "ConvolutionExplorer(size=23, kernel=5, row=0, column=0)"
    assert printed.inner_text().strip() == wanted
    assert errors == []
    page.close()
