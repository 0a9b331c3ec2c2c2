"""Run cells of a hand-in in a kernel, in a process of its own.

What a hand-in does must not reach the marking, so there are three processes: the
marking, which trusts nobody and writes the marks; a worker, which starts a kernel and
reports cell by cell; and the kernel, which runs the hand-in. The worker's reports go
through a socket that no other process can open, and they say only which cell was
begun, how it ended and what it printed. A worker that is killed or halted is a run
that broke off in the cell begun last.
"""

import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty

import psutil
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

# A copy of a process that has loaded Jupyter's client, where there can be one.
METHODS = multiprocessing.get_all_start_methods()
PROCESSES = multiprocessing.get_context(
    "forkserver" if "forkserver" in METHODS else "spawn"
)
PRELOADED = ["mark_kernel"]
TAG = "COURSE_MARKING_RUN"  # in the environment of all that a hand-in starts
GRACE = 3.0  # seconds to end after an interrupt
START = 180.0  # seconds for a kernel to start, on a busy machine
LATE = 15.0  # seconds that a worker may be silent beyond a cell's limit
MOST_TEXT = 20_000  # characters that one cell may print
MOST_PICTURES, LARGEST_PICTURE = 20, 4_000_000  # of one cell; base64 characters
# exit() and quit() raise like sys.exit(); else the kernel would end some time later.
FIRST = (
    "def _raise():\n    raise SystemExit\nget_ipython().ask_exit = _raise\ndel _raise"
)


@dataclass(frozen=True)
class Limits:
    """Of one run: seconds for a cell and for all, gigabytes for each process."""

    cell_seconds: float = 40
    seconds: float = 300
    memory: float = 4


@dataclass
class Report:
    """What came of a run: of the cells that came to an end, what they printed."""

    ok: dict[int, bool] = field(default_factory=dict)
    outputs: dict[int, list[dict]] = field(default_factory=dict)
    broke_in: int | None = None  # the cell in which the run broke off
    problem: str = ""  # why it did; "" for a run that came to its end
    started: bool = True


class NoKernel(RuntimeError):
    """No kernel starts here; that is no fault of a hand-in."""


def run_cells(sources: dict[int, str], limits: Limits) -> Report:
    """Run cells, {number: code}, in a fresh kernel of this Python, in their order.

    Raises:
        NoKernel: if none starts, tried three times.
    """
    for _ in range(3):
        report = run_once(sources, limits)
        if report.started:
            return report
    raise NoKernel(f"the kernel did not start: {report.problem}")


def run_once(sources: dict[int, str], limits: Limits) -> Report:
    """One attempt of :func:`run_cells`."""
    tag = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(
        prefix="mark-", ignore_cleanup_errors=True
    ) as folder:
        ours, theirs = PROCESSES.Pipe()
        worker = PROCESSES.Process(
            target=work, args=(theirs, sources, limits, folder, tag), daemon=False
        )
        worker.start()
        theirs.close()
        try:
            return listen(ours, sources, limits)
        finally:
            end(worker, tag)
            ours.close()


def listen(connection: Connection, sources: dict[int, str], limits: Limits) -> Report:
    """Collect a worker's messages; whatever is not as agreed ends the run."""
    report = Report(started=False)
    stop = time.monotonic() + START + LATE + limits.seconds
    wait = START + LATE
    while True:
        left = min(wait, stop - time.monotonic())
        if not connection.poll(max(left, 0)):
            report.problem = (
                f"not finished after {limits.seconds:g} s"
                if stop - time.monotonic() <= 0
                else "it stopped the process that runs it"
            )
            return report
        try:
            kind, *content = json.loads(connection.recv_bytes(2**28))
        except (EOFError, OSError, ValueError):
            report.problem = "it ended the process that runs it"
            return report
        if kind == "started":
            report.started = True
            stop = time.monotonic() + limits.seconds
        elif kind == "begin":
            report.broke_in = content[0]
            wait = limits.cell_seconds + LATE
        elif kind == "end":
            report.ok[report.broke_in] = content[0] is True
            report.outputs[report.broke_in] = content[1]
        elif kind == "broke":
            report.problem = str(content[0])
            return report
        elif kind == "done" and report.ok.keys() == sources.keys():  # and no fewer
            report.broke_in = None
            return report


def end(worker: BaseProcess, tag: str) -> None:
    """End a worker, its kernel, and what that has started and left behind."""
    with contextlib.suppress(psutil.Error):
        family = [psutil.Process(worker.pid)]
        family += family[0].children(recursive=True)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
    worker.join(10)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(TAG) == tag:
                process.kill()


def work(
    connection: Connection,
    sources: dict[int, str],
    limits: Limits,
    folder: str,
    tag: str,
) -> None:
    """The worker: report each cell as it begins and ends."""
    hide_memory()
    limit_memory(limits.memory)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)

    def say(*message: object) -> None:
        connection.send_bytes(json.dumps(message).encode())

    try:
        with kernel(Path(folder), tag) as (manager, client):
            say("started")
            for number, source in sources.items():
                say("begin", number)
                say("end", *run_cell(manager, client, source, limits.cell_seconds))
            say("done")
    except BrokeOff as problem:
        say("broke", str(problem))
    except Exception as error:  # of Jupyter, whatever the kernel answered
        say("broke", f"{type(error).__name__}")


class BrokeOff(Exception):
    """A cell ended the kernel, or did not come to an end."""


@contextlib.contextmanager
def kernel(
    folder: Path, tag: str
) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """A kernel of this environment, whatever kernels the user has installed."""
    # Nothing of the user's own settings, and nothing that needs a home.
    own = {
        name: str(folder / name.lower())
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")
    }
    os.environ.update(own)
    place = folder / "work"
    place.mkdir()
    manager = KernelManager(
        connection_file=str(folder / "kernel.json"), shutdown_wait_time=1.0
    )
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    command += ["--HistoryManager.enabled=False"]
    manager._kernel_spec = KernelSpec(argv=command, language="python")
    manager.start_kernel(cwd=str(place), env={**os.environ, TAG: tag})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START)
        run_cell(manager, client, FIRST, START)
        yield manager, client
    finally:
        client.stop_channels()
        with contextlib.suppress(Exception):
            manager.shutdown_kernel(now=True)


def run_cell(
    manager: KernelManager, client: BlockingKernelClient, source: str, seconds: float
) -> tuple[bool, list[dict]]:
    """Run one cell: whether it raised nothing, and its outputs.

    Raises:
        BrokeOff: if the kernel ends or the time is over.
    """
    sent = client.execute(source, store_history=False, allow_stdin=False,
                          stop_on_error=False)  # fmt: skip
    stop, outputs, reply, idle = time.monotonic() + seconds, [], None, False
    late = ""
    while reply is None or not idle:
        if reply is None and time.monotonic() > stop:
            if late:
                raise BrokeOff(late)
            late = f"not finished after {seconds:g} s"
            manager.interrupt_kernel()
            stop += GRACE
        if not manager.is_alive():
            raise BrokeOff("the kernel ended")
        try:
            message = client.get_iopub_msg(timeout=0.05 if idle else 0.5)
            if message["parent_header"].get("msg_id") != sent:
                continue
            kind, content = message["msg_type"], message["content"]
            idle = kind == "status" and content["execution_state"] == "idle"
            keep(outputs, kind, content)
        except Empty:
            idle = idle or reply is not None  # a flood has washed the message away
        if reply is None:
            with contextlib.suppress(Empty):
                answer = client.get_shell_msg(timeout=0)
                if answer["parent_header"].get("msg_id") == sent:
                    reply = answer["content"].get("status")
    if late:
        outputs.append({"name": "error", "text": f"Interrupted: {late}"})
    return reply == "ok" and not late, outputs


def keep(outputs: list[dict], kind: str, content: dict) -> None:
    """Add what a page can show: text, errors and pictures, within bounds."""
    used = sum(len(output.get("text", "")) for output in outputs)
    text, picture = "", None
    if kind == "stream":
        text = content["text"]
    elif kind == "error":
        text = "\n".join(content["traceback"]) or str(content["evalue"])
    elif kind in ("display_data", "execute_result"):
        data = content["data"]
        picture = data.get("image/png") or data.get("image/jpeg")
        text = "" if picture else data.get("text/plain", "")
    if text:
        name = "error" if kind == "error" else content.get("name", "stdout")
        # What was raised is shown, however much was printed before.
        room = MOST_TEXT if kind == "error" else max(0, MOST_TEXT - used)
        if outputs and outputs[-1].get("name") == name == "stdout":
            outputs[-1]["text"] += str(text)[:room]
        elif room:
            outputs.append({"name": name, "text": str(text)[:room]})
    if picture and len(picture) <= LARGEST_PICTURE and len(outputs) < MOST_PICTURES:
        outputs.append({"picture": str(picture)})


def hide_memory() -> None:
    """Let no other process of this user look into this one (Linux)."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            set_option = ctypes.CDLL(None).prctl
            set_option(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
            set_option(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come here


def limit_memory(gigabytes: float) -> None:
    """Limit what this process and its kernel may each allocate (Linux)."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    wanted = {
        resource.RLIMIT_DATA: int(gigabytes * 2**30),
        resource.RLIMIT_FSIZE: 2**30,
        resource.RLIMIT_CORE: 0,
    }
    for kind, size in wanted.items():
        hard = resource.getrlimit(kind)[1]
        size = size if hard == resource.RLIM_INFINITY else min(size, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (size, size))
