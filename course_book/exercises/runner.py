"""Run a learner's function on drawn inputs, and say in one sentence what came.

Nothing that the function does gets out of a check: what it raises, prints to stderr,
changes in its arguments or in torch's settings. A call that never ends is interrupted
by the reader (Jupyter's stop button) or, in a class, by the marking.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import linecache
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from course_book.exercises.values import WrongType, describe, difference, shorten


class NotYet(AssertionError):
    """The answer is not right yet; the message is the sentence for the learner."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the sentence, no lines of the check."""
        return [f"Not yet: {self}"]


class Mistake(NamedTuple):
    """A typical wrong answer, and the hint that is meant for it."""

    function: Callable
    hint: str


class Learner:
    """A learner's function or class, wrapped: every failure becomes a sentence."""

    def __init__(self, answer: object, what: str = "function") -> None:
        if answer is None or answer is ...:
            raise NotYet(
                f"there is no answer yet; write the {what} where the dots stand and "
                "run its cell"
            )
        if not callable(answer):
            raise NotYet(
                f"a {what} was expected, and {describe(answer)} came; hand over the "
                f"{what} itself, without calling it"
            )
        self.answer = answer
        self.name = shorten(getattr(answer, "__name__", "your function"))

    def __call__(self, *arguments: object) -> Any:
        """Call it with copies of ``arguments``; raises NotYet."""
        call = self.call(arguments)
        result = self.guard(lambda: self.answer(*copies(arguments)), call, arguments)
        self.something(result, call)
        if inspect.isgenerator(result) or inspect.iscoroutine(result):
            raise NotYet(
                f"{call} gave {describe(result)}; use return, not yield or async"
            )
        return result

    def something(self, result: object, call: str) -> None:
        """Refuse the None that an unfinished function returns."""
        if result is None or result is ... or result is NotImplemented:
            raise NotYet(
                f"nothing came back from {call}; write the code where the dots stand, "
                "and end with return"
            )

    def guard(
        self, run: Callable[[], Any], call: str, arguments: Sequence | None = None
    ) -> Any:
        """Run the learner's code; turn what it raises into a sentence."""
        try:
            return run()
        except (KeyboardInterrupt, NotYet):
            raise
        except BaseException as error:
            raise NotYet(self.explain(error, call, arguments)) from None

    def call(self, arguments: Sequence) -> str:
        """How the call reads, with the learner's own names of the arguments."""
        try:
            names = list(inspect.signature(self.answer).parameters)
        except (TypeError, ValueError):
            names = []
        shown = [describe(value) for value in arguments]
        if len(names) == len(shown):
            shown = [f"{name}={text}" for name, text in zip(names, shown)]
        return f"{self.name}({', '.join(shown)})"

    def explain(
        self, error: BaseException, call: str, arguments: Sequence | None
    ) -> str:
        """Which error, and in which of the learner's lines."""
        text = shorten(" ".join(safely(str, error).split()), 160)
        what = type(error).__name__ + (f" ({text})" if text else "")
        if arguments is not None and not self.takes(arguments):
            return f"{self.name} must take {len(arguments)} arguments, as in {call}"
        if isinstance(error, NotImplementedError) and not text:
            return f"{self.name} has not been written yet; replace the dots by code"
        line = self.learners_line(error)
        where = f" in the line `{shorten(line, 90)}`" if line else ""
        return f"{call} raised {what}{where}; try that call in a cell of your own"

    def takes(self, arguments: Sequence) -> bool:
        """Whether the learner's function has so many parameters."""
        with contextlib.suppress(ValueError):
            try:
                inspect.signature(self.answer).bind(*arguments)
            except TypeError:
                return False
        return True

    def learners_line(self, error: BaseException) -> str:
        """The last line of the traceback that the learner wrote, or ''."""
        code = getattr(inspect.unwrap(self.answer), "__code__", None)
        files = {code.co_filename} if code else set()
        for method in (
            vars(self.answer).values() if inspect.isclass(self.answer) else ()
        ):
            if hasattr(method, "__code__"):
                files.add(method.__code__.co_filename)
        for entry in reversed(traceback.extract_tb(error.__traceback__)):
            theirs = entry.filename in files if files else is_learners(entry.filename)
            if theirs:
                return linecache.getline(entry.filename, entry.lineno).strip()
        return ""


def is_learners(filename: str) -> bool:
    """Whether a file is a notebook cell or a script, not an installed package."""
    return "site-packages" not in filename and "course_lib" not in filename


def copies(values: Sequence) -> list:
    """Deep copies, so that a function that changes its arguments hurts nobody."""
    return [copy.deepcopy(value) for value in values]


def safely(function: Callable, value: object) -> str:
    """``function(value)`` as a string, whatever a broken ``__str__`` does."""
    try:
        return str(function(value))
    except Exception:
        return f"a {type(value).__name__}"


def check(praise: str, *, what: str = "function") -> Callable[[Callable], Callable]:
    """Make a check of a function that gets a :class:`Learner` and raises NotYet.

    Args:
        praise: printed after "Right:" for a right answer.
        what: ``"function"`` or ``"class"``, what the exercise asks for.
    """

    def decorate(body: Callable[[Learner], None]) -> Callable[[object], None]:
        @functools.wraps(body)
        def run(answer: object) -> None:
            try:
                with isolated():
                    body(Learner(answer, what))
            except KeyboardInterrupt:
                sentence = (
                    "it was interrupted before it came to an end; look for a loop "
                    "whose condition never becomes false, or for one that steps "
                    "through single numbers where one tensor operation would do"
                )
            except NotYet as fault:
                sentence = str(fault)
            except Exception as error:
                # The comparison itself failed, on a value that nobody thought of.
                kind = type(error).__name__
                sentence = (
                    f"what came back cannot be compared ({kind}), so it is of another "
                    "kind than the exercise asks for; look at its docstring"
                )
            else:
                print(f"Right: {praise}.")
                return
            end = "" if sentence.endswith("?") else "."
            raise NotYet(sentence + end) from None

        return run

    return decorate


@contextmanager
def isolated() -> Iterator[None]:
    """Undo what a learner's code does to global settings, and catch its stderr.

    nbgrader takes anything on stderr, a warning say, for a wrong answer.
    """
    torch = sys.modules.get("torch")
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.callback(random.setstate, random.getstate())
        if torch is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            stack.enter_context(torch.enable_grad())
            stack.callback(torch.set_default_dtype, torch.get_default_dtype())
        yield


def judge(
    learner: Callable,
    cases: Iterable[Sequence],
    oracle: Callable,
    mistakes: Sequence[Mistake | tuple[Callable, str]],
    hint: str,
    *,
    shown: str | None = None,
) -> None:
    """Compare a function with an oracle on many cases.

    Args:
        learner: the learner's function, wrapped.
        cases: the arguments of each call.
        oracle: the right function of the same arguments.
        mistakes: wrong functions with hints; the first one that gives what the
            learner's function gives, in every case, gives the hint.
        hint: for any other wrong answer.
        shown: how to name the call in the sentence; by default with its arguments.

    Raises:
        NotYet: says which call, what was expected, what came, and a hint.
    """
    tried, first = [], None
    for case in cases:
        want = oracle(*copies(case))
        try:
            got = learner(*case)
        except NotYet:
            if first is None:
                raise
            break
        tried.append((case, got))
        fault = difference(got, want)
        if fault and first is None:
            first = (shown or learner.call(case), fault)
    if first is None:
        return
    for function, advice in mistakes:
        if all(same(got, function, case) for case, got in tried):
            raise NotYet(f"{first[0]}: {first[1]}; {advice}")
    if isinstance(first[1], WrongType):
        raise NotYet(f"{first[0]}: {first[1]}")
    raise NotYet(f"{first[0]}: {first[1]}; {hint}")


def same(got: object, function: Callable, case: Sequence) -> bool:
    """Whether a wrong function gives for this case what the learner's gave."""
    try:
        return not difference(got, function(*copies(case)))
    except Exception:  # a wrong function need not survive every case
        return False
