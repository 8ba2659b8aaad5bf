"""What a lab shows: figures, tables and text as HTML that reads the same in a widget, in a page and on GitHub."""

from __future__ import annotations

import base64
import html
import io
import sys
from typing import Any


def result_html(item: Any) -> str:
    """HTML of anything a lab may yield.

    Args:
        item: a matplotlib figure, an object with ``_repr_html_`` (a table), text, or a tuple or list of these.

    Example:
        >>> from awdlib.explore.results import result_html
        >>> result_html("loss < 4")
        '<pre class="lab-text">loss &lt; 4</pre>'
    """
    if isinstance(item, (tuple, list)):
        return "\n".join(result_html(part) for part in item)
    if hasattr(item, "savefig"):
        return _picture(item)
    if hasattr(item, "_repr_html_"):
        return f'<div class="lab-table">{item._repr_html_()}</div>'
    return f'<pre class="lab-text">{html.escape(item if isinstance(item, str) else repr(item))}</pre>'


def result_text(item: Any) -> str:
    """The same in plain words: a figure's text alternative, a table's or an object's ``repr``.

    Args:
        item: as for `result_html`.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.explore.results import result_text
        >>> print(result_text((Figure(label="A falling curve."), "Perplexity 31.2")))
        [figure] A falling curve.
        Perplexity 31.2
    """
    if isinstance(item, (tuple, list)):
        return "\n".join(result_text(part) for part in item)
    if hasattr(item, "savefig"):
        return f"[figure] {item.get_label()}"
    return item if isinstance(item, str) else repr(item)


def _picture(figure: Any) -> str:
    """A matplotlib figure as an image; closed afterwards, or the notebook would draw it a second time."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=110, metadata={"Software": None})
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)
    picture = base64.b64encode(raw.getvalue()).decode()
    alt = html.escape(figure.get_label() or "Result of the run")
    return f'<img class="lab-picture" src="data:image/png;base64,{picture}" alt="{alt}" style="max-width:100%">'


def checked_result(item: Any) -> Any:
    """``item``, unless a figure in it is plotly's or has no text alternative.

    Args:
        item: as for `result_html`.

    Raises:
        ValueError: a figure has none; attach one with `awdlib.figures.style.describe`. Or it is a plotly figure.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from awdlib.explore.results import checked_result
        >>> checked_result(("Perplexity 31.2", Figure()))
        Traceback (most recent call last):
            ...
        ValueError: the lab's figure has no text alternative: attach one with style.describe()
    """
    for part in item if isinstance(item, (tuple, list)) else ():
        checked_result(part)
    if hasattr(item, "to_plotly_json"):
        raise ValueError("the lab's figure is plotly's; draw with matplotlib: plotly does not show in Colab's widgets")
    if hasattr(item, "savefig") and not item.get_label():
        raise ValueError("the lab's figure has no text alternative: attach one with style.describe()")
    return item
