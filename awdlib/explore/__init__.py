"""Interactive figures and labs: the only part of the library that knows a page and a widget.

==================  =================================================================================
name                what it is for
==================  =================================================================================
``explorable``      a pure function from parameters to a plotly figure, with sliders that live in the page
``show_figure``     one plotly figure, drawn the same way
``lab``             a model trained or evaluated again, in a kernel, with Run, progress and Cancel
``slider``, …       the controls of both: ``slider``, ``steps``, ``choice``, ``switch``
``show_source``     the library's own code, in view
==================  =================================================================================
"""

from awdlib.explore.controls import Control, choice, slider, steps, switch
from awdlib.explore.figure import Explorable, explorable, show_figure
from awdlib.explore.laboratory import Lab, Progress, lab
from awdlib.explore.source import Source, show_source

__all__ = [
    "Control", "Explorable", "Lab", "Progress", "Source", "choice", "explorable", "lab", "show_figure", "show_source",
    "slider", "steps", "switch",
]  # fmt: skip
