"""The widgets of a lab. The only module that imports ipywidgets, and only when a lab is shown.

Results go into HTML widgets: capturing output (``with output:``) leaks into other cells under nbval and Colab.
"""

from __future__ import annotations

import html
import time
from typing import TYPE_CHECKING, Any

from awdlib.explore.controls import Control
from awdlib.explore.laboratory import Progress
from awdlib.explore.page import asset
from awdlib.explore.results import result_html

if TYPE_CHECKING:
    from awdlib.explore.laboratory import Lab


class Panel:
    """Controls, Run, Cancel, a progress bar, a line that says how things stand, and the result.

    Args:
        laboratory: the lab whose `Lab.start` and `Lab.cancel` the buttons call.

    Example:
        >>> from awdlib.explore import lab, slider
        >>> def square(side):
        ...     yield f"{side} times {side} is {side**2}."
        >>> panel = lab(square, side=slider(1, 20, 1, 10)).panel
        >>> panel.inputs["side"].value = 4
        >>> panel.values()
        {'side': 4}
    """

    def __init__(self, laboratory: Lab) -> None:
        import ipywidgets

        self._kit = ipywidgets
        self._told = 0.0  # when the page last heard of progress
        self.inputs = {name: self._input(control) for name, control in laboratory.controls.items()}
        self.run = ipywidgets.Button(description="Run", button_style="primary", icon="play")
        self.stop = ipywidgets.Button(description="Cancel", icon="stop", disabled=True)
        self.bar = ipywidgets.FloatProgress(min=0.0, max=1.0, layout={"width": "12em", "visibility": "hidden"})
        self.status = ipywidgets.HTML()
        self.output = ipywidgets.HTML(result_html(laboratory.result))
        self.run.on_click(lambda _: laboratory.start())
        self.stop.on_click(lambda _: laboratory.cancel())
        self.widget = ipywidgets.VBox(self._parts(laboratory), layout={"max_width": "100%", "overflow": "hidden"})

    def _parts(self, laboratory: Lab) -> list[Any]:
        style = f"<style>{asset('lab.css').strip()}</style>"
        title, look = html.escape(laboratory.title), html.escape(laboratory.look_for)
        head = f'{style}<p class="lab-title"><span class="lab-kind">Lab</span> {title}</p><p>{look}</p>'
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        return [
            self._kit.HTML(head),
            self._kit.Box(list(self.inputs.values()), layout=wrap),
            self._kit.Box([self.run, self.stop, self.bar, self.status], layout=wrap),
            self.output,
        ]

    def _input(self, control: Control) -> Any:
        label = f"{control.label} {control.symbol}".strip()
        look = {"description": label, "style": {"description_width": "initial"}, "layout": {"margin": "2px 24px 2px 0"}}
        if control.kind == "switch":
            return self._kit.Checkbox(value=control.value, indent=False, **look)
        options = [(control.text(value), value) for value in control.values]
        if control.kind == "choice":
            return self._kit.Dropdown(options=options, value=control.value, **look)
        # told the value only when the handle is let go: nothing runs before Run is pressed
        return self._kit.SelectionSlider(options=options, value=control.value, continuous_update=False, **look)

    def values(self) -> dict[str, Any]:
        """What the controls show, by name of the parameter."""
        return {name: widget.value for name, widget in self.inputs.items()}

    def begin(self) -> None:
        """A run begins: Run is locked, Cancel is free, the bar is empty."""
        self.run.disabled, self.stop.disabled = True, False
        self._told = 0.0
        self.bar.value, self.bar.layout.visibility, self.status.value = 0.0, "visible", "Working …"

    def progress(self, item: Progress) -> None:
        """Move the bar and show the message, at most ten times a second: each is a message to the browser.

        Args:
            item: how far the run is; beyond [0, 1] it counts as the nearest end.
        """
        done = min(max(float(item.fraction), 0.0), 1.0)
        if done == 1.0 or time.monotonic() - self._told > 0.1:
            self._told = time.monotonic()
            self.bar.value = done
            self.status.value = html.escape(item.message)

    def show(self, item: Any) -> None:
        """Show a result in place of the one before.

        Args:
            item: anything that `awdlib.explore.results.result_html` takes.
        """
        self.output.value = result_html(item)

    def end(self, message: str, *, failed: bool) -> None:
        """A run is over.

        Args:
            message: how it ended, in one line.
            failed: whether it is an error, to be read out at once.
        """
        self.run.disabled, self.stop.disabled = False, True
        self.bar.layout.visibility = "hidden"
        text = html.escape(" ".join(message.split()))
        self.status.value = f'<span class="lab-error" role="alert">{text}</span>' if failed else text
