"""Labs: controls over a real model that is trained or evaluated again; they need a kernel.

The function is a generator, so that the loop stays its own: it yields `Progress` while it works and figures,
tables or text to show, the last one being the result. The first run, with the values at which the controls stand, is
made at once and in the open: its errors are the cell's errors. Later runs, from the button, work in a thread, and
Cancel closes the generator between two yields.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from awdlib import _require as require
from awdlib.explore.controls import Control, checked, placed, require_fit, require_free
from awdlib.explore.page import asset
from awdlib.explore.results import checked_result, result_html, result_text

COLAB = "https://colab.research.google.com/github/awdlib/awd-lstm-book/blob/main/"
"""Where Colab opens the repository's notebooks (a test holds this to ``repository`` in ``_config.yml``)."""


@dataclass(frozen=True)
class Progress:
    """How far a lab's function is.

    Args:
        fraction: between 0 and 1.
        message: a few words, for example ``"epoch 3 of 8, validation perplexity 31.2"``.

    Raises:
        ValueError: the fraction is not a number between 0 and 1, or the message not a string.

    Example:
        >>> from awdlib.explore import Progress
        >>> Progress(3 / 8, "epoch 3 of 8")
        Progress(fraction=0.375, message='epoch 3 of 8')
    """

    fraction: float
    message: str = ""

    def __post_init__(self) -> None:
        require.declared_types(self)
        require.number("fraction", self.fraction, "[0, 1]", ": divide what is done by all that there is to do")


LabFunction = Callable[..., Generator[Any, None, None]]


def lab(function: LabFunction, *, title: str = "", look_for: str = "", chapter: str = "", **controls: Control) -> Lab:
    """Make a lab of a generator function, and run it once with the values at which its controls stand.

    Args:
        function: takes the controls' values as keywords; yields `Progress` items and things to show
            (matplotlib figures, tables, text, tuples of these), the last being the result.
        title: a short name.
        look_for: one sentence that says what to try and what to look for.
        chapter: the notebook's name without its ending, for the link to Colab: ``"dropout-masks"``.
        **controls: one control a parameter, made by the functions of `awdlib.explore.controls`.

    Raises:
        ValueError: something else than a control, a control that is no parameter, a parameter with neither control
            nor default, no result, plotly's figures, or a figure without a text alternative.

    Example:
        >>> from awdlib.explore import Progress, lab, slider
        >>> def doubling(times):
        ...     for done in range(times):
        ...         yield Progress(done / times, f"{done} of {times}")
        ...     yield f"2 to the power of {times} is {2**times}."
        >>> lab(doubling, title="Doubling", times=slider(1, 20, 1, 10))
        [lab: Doubling] times = 10
        2 to the power of 10 is 1024.
    """
    require_free("lab", title=title, look_for=look_for, chapter=chapter)
    return Lab(function, controls, title=title, look_for=look_for, chapter=chapter)


class Lab:
    """What `lab` returns, with its arguments: in a live kernel widgets, in a page the stored result and a link.

    Attributes:
        result: what the last finished run showed last.
        values: the values it was run with.

    Example:
        >>> from awdlib.explore import lab, slider
        >>> def square(side):
        ...     yield f"{side} times {side} is {side**2}."
        >>> laboratory = lab(square, side=slider(1, 20, 1, 10))
        >>> laboratory.result, laboratory.run(side=4)
        ('10 times 10 is 100.', '4 times 4 is 16.')
    """

    def __init__(
        self, function: LabFunction, controls: dict[str, Control], *, title: str, look_for: str, chapter: str
    ) -> None:
        if not callable(function):
            raise ValueError(f"the function is {require.shown(function)}; give a generator function")
        require_fit(function, controls)
        self.function, self.controls = function, checked(controls)
        self.title, self.look_for = require.text("title", title), require.text("look_for", look_for)
        self.chapter = require.text("chapter", chapter)
        if chapter.endswith(".ipynb"):
            raise ValueError(f"chapter is {chapter!r}; leave the ending out: {chapter.removesuffix('.ipynb')!r}")
        self.values = placed(self.controls, {})
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self.result = self.run(**self.values)

    def run(self, **values: Any) -> Any:
        """Run to the end, here and now; errors come out as they are.

        Args:
            **values: of the controls; what is left out stands where it stood at first.

        Returns:
            what the function showed last.

        Raises:
            ValueError: there is no control of this name, or it cannot stand there.
        """
        result, _ = follow(self.function(**placed(self.controls, values)), threading.Event(), _ignore, _ignore)
        return result

    @cached_property
    def panel(self) -> Any:
        """The widgets (made when first shown, so that a lab costs nothing where none are)."""
        from awdlib.explore.panel import Panel

        return Panel(self)

    def start(self) -> None:
        """What Run does: work in a thread with the values that the controls show. Ignored while a run is under way."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._cancelled.clear()
        self.panel.begin()
        self._thread = threading.Thread(target=self._work, args=(self.panel.values(),), daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """What Cancel does: the run stops at its next yield."""
        self._cancelled.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the run under way.

        Args:
            timeout: seconds, or None for as long as it takes.

        Returns:
            whether nothing runs any more.
        """
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _work(self, values: dict[str, Any]) -> None:
        try:
            result, finished = follow(self.function(**values), self._cancelled, self.panel.progress, self.panel.show)
        except Exception as problem:  # whatever a model in training may raise belongs on the screen, in one line
            self.panel.end(f"{type(problem).__name__}: {problem}", failed=True)
            return
        if finished:
            self.result, self.values = result, values
        self.panel.end("Done." if finished else "Cancelled.", failed=False)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.panel.widget.model_id}
        return {
            "text/html": static_html(self), "text/plain": repr(self),
            "application/vnd.jupyter.widget-view+json": view,
        }  # fmt: skip

    def __repr__(self) -> str:
        stand = ", ".join(f"{c.label} = {c.text(self.values[n])}" for n, c in self.controls.items())
        return f"[lab: {self.title or self.function.__name__}] {stand}\n{result_text(self.result)}"


def follow(
    items: Generator[Any, None, None],
    cancelled: threading.Event,
    progress: Callable[[Progress], None],
    show: Callable[[Any], None],
) -> tuple[Any, bool]:
    """Consume a lab's generator.

    Args:
        items: what the lab's function returned.
        cancelled: asked after every item; once set, the generator is closed.
        progress: called with each `Progress` as it comes.
        show: called with everything else.

    Returns:
        the last thing shown, and whether the generator came to its end.

    Raises:
        ValueError: not a generator, it showed nothing, or a figure is plotly's or has no text alternative.

    Example:
        >>> from threading import Event
        >>> from awdlib.explore.laboratory import Progress, follow
        >>> items = (item for item in [Progress(0.5, "half"), "done"])
        >>> follow(items, Event(), progress=lambda item: print(item.message), show=print)
        half
        done
        ('done', True)
    """
    if not hasattr(items, "close"):
        raise ValueError(f"a lab's function must be a generator that yields what to show, it returned {items!r:.60}")
    last = None
    with closing(items):
        for item in items:
            if isinstance(item, Progress):
                progress(item)
            else:
                last = checked_result(item)
                show(last)
            if cancelled.is_set():
                return last, False
    if last is None:
        raise ValueError("the lab's function showed nothing: yield a figure, a table or text as its result")
    return last, True


def _ignore(_: Any) -> None:
    """The stored default run is silent."""


def static_html(laboratory: Lab) -> str:
    """The lab as HTML where no kernel is: its result for the stored values, and the way to where it runs.

    Args:
        laboratory: from `lab`.

    Example:
        >>> from awdlib.explore.controls import slider
        >>> from awdlib.explore.laboratory import lab, static_html
        >>> def square(side):
        ...     yield f"{side} times {side} is {side**2}."
        >>> "10 times 10 is 100." in static_html(lab(square, side=slider(1, 20, 1, 10)))
        True
    """
    title, look = html.escape(laboratory.title), html.escape(laboratory.look_for)
    settings = "".join(
        f"<span>{html.escape(c.label)} = <b>{html.escape(c.text(laboratory.values[name]))}</b></span> "
        for name, c in laboratory.controls.items()
    )
    link = f"{COLAB}book/{html.escape(laboratory.chapter)}.ipynb"
    more = (
        f' <a href="{link}">Open the chapter in Colab</a> to turn them and train again.' if laboratory.chapter else ""
    )
    parts = [
        '<div class="lab">',
        f"<style>{asset('lab.css').strip()}</style>",
        f'<p class="lab-title"><span class="lab-kind">Lab</span> {title}</p>',
        f"<p>{look}</p>" if look else "",
        f'<p class="lab-settings">{settings}</p>',
        f'<div class="lab-result">{result_html(laboratory.result)}</div>',
        f'<p class="lab-note">The result of one run with these settings.{more}</p>',
        "</div>",
    ]
    return "\n".join(part for part in parts if part)
