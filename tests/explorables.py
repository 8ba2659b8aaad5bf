"""Explorables as a notebook's cells declare them in Python, and what a page that holds them packed may lose of them."""

import ast
import json
import re
from pathlib import Path

import numpy as np

from awdlib.explore import figure as explore_figure
from awdlib.explore.controls import checked


def waves(frequency=1, wide=False, kind="sin"):
    """A figure that uses every way of packing: lines, a wide-ranged line, a fine and a coarse map, words."""
    import plotly.graph_objects as go

    x = np.linspace(0.1, 2, 150)
    y = {"sin": np.sin, "cos": np.cos}[kind](frequency * x)
    gappy = np.where(x > 1.5, np.nan, y)
    z = np.outer(np.sin(frequency * x[:30]), x[:30])
    wide_ranged = np.where(x > 1.9, np.nan, np.exp(8 * x) * frequency)
    traces = [go.Scatter(x=x, y=y), go.Scatter(x=x, y=wide_ranged), go.Scatter(x=x, y=gappy)]
    traces += [go.Heatmap(z=z), go.Heatmap(z=np.round(z)), go.Bar(x=["a", "b"], y=[frequency, 2.5])]
    figure = go.Figure(traces)
    figure.update_layout(title=f"{kind} at {frequency}", annotations=[dict(text=kind, x=1, y=0)] if wide else [])
    return figure, f"{kind} with frequency {frequency}"


def promised_errors(packed, slack=0.0):
    """What the table in packing's docstring promises of each entry: path → (absolute, relative).

    With some slack, added to both, where the page may have been stored on another kind of CPU.
    """
    relative = {"float": 6.1e-8, "json": 1e-6}  # of the others, none
    return {
        tuple(entry["path"]): (0.5001 * entry.get("step", 0) + slack, relative.get(entry["kind"], 0) + slack)
        for entry in packed["varying"]
    }


def assert_close_trees(got, wanted, entry_errors, path=()):
    """Equal but for the errors that the packing may make; what does not vary is written to seven digits."""
    if isinstance(wanted, dict):
        assert got.keys() == wanted.keys(), path
        for key in wanted:
            assert_close_trees(got[key], wanted[key], entry_errors, (*path, key))
    elif isinstance(wanted, np.ndarray):
        got = np.asarray(got, dtype=float)
        absolute, relative = entry_errors.get(path, (0, 1e-6))
        np.testing.assert_allclose(got, wanted, rtol=relative, atol=absolute, err_msg=str(path))
    elif isinstance(wanted, list):
        assert len(got) == len(wanted), path
        for n, item in enumerate(wanted):
            assert_close_trees(got[n], item, entry_errors, (*path, n))
    elif isinstance(wanted, float):
        assert got == float(f"{wanted:.7g}"), path
    else:
        assert got == wanted, path


class Declared:
    """A function and its controls, as a cell gives them to `explorable`; nothing is computed until it is asked for."""

    def __init__(self, function, *, title="", look_for="", still=None, limit_mb=None, **controls):
        self.function, self.title, self.look_for, self.controls = function, title, look_for, checked(controls)

    def tree(self, positions):
        """What the function draws where the controls stand at these positions."""
        values = {name: c.values[at] for (name, c), at in zip(self.controls.items(), positions, strict=True)}
        return explore_figure.figure_tree(self.function(**values))

    @property
    def default(self):
        """Positions at which the controls stand at first."""
        return [control.default for control in self.controls.values()]


def code_cells(notebook):
    """The code cells of a notebook read as JSON."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def statements(cell):
    """Of a code cell, without what only IPython understands."""
    return ast.parse(re.sub(r"^(\s*)[!%].*$", r"\1pass", "".join(cell["source"]), flags=re.M)).body


def shown(cell):
    """The call of `explorable` whose result a cell shows: its last line, or what that line names; else None."""
    body = statements(cell)
    end = body[-1].value if body and isinstance(body[-1], ast.Expr) else None
    if isinstance(end, ast.Name):
        made = [node.value for node in body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == end.id]
        end = made[-1] if made else None
    return end if isinstance(end, ast.Call) and ast.unparse(end.func) == "explorable" else None


def _defines(node):
    if isinstance(node, ast.Assign):
        try:
            ast.literal_eval(node.value)
        except ValueError:
            return False
        return True
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)


def declared(path: Path):
    """The explorables of a notebook, in order, with no cell run: only imports, functions and constants are read."""
    cells = code_cells(json.loads(path.read_text(encoding="utf-8")))
    defining = [node for cell in cells for node in statements(cell) if _defines(node)]
    space = {}
    exec(compile(ast.Module(defining, []), path.name, "exec"), space)
    space["explorable"] = Declared
    return [eval(compile(ast.Expression(call), path.name, "eval"), space) for call in filter(None, map(shown, cells))]
