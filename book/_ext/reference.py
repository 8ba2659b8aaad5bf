"""A Sphinx extension: what the pages of the reference take from the library itself.

- ``.. modules:: PAGE`` lists the modules that a page of the reference documents, each with the first line of its
  docstring, so that the overview says what the code says;
- names of Python, torch and the others link to their own documentation. Their addresses stand in a table: to look
  them up while building would need the network. A name that is neither here nor in the library is an error.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

PYTHON = "https://docs.python.org/3/library/"
TORCH = "https://docs.pytorch.org/docs/stable/"
NUMPY = "https://numpy.org/doc/stable/reference/"
PLOTLY = "https://plotly.com/python-api-reference/generated/"
#: as an annotation or a docstring names it -> where it is explained
OUTSIDE = {
    "collections.Counter": f"{PYTHON}collections.html#collections.Counter",
    "collections.abc.Callable": f"{PYTHON}collections.abc.html#collections.abc.Callable",
    "collections.abc.Collection": f"{PYTHON}collections.abc.html#collections.abc.Collection",
    "collections.abc.Iterable": f"{PYTHON}collections.abc.html#collections.abc.Iterable",
    "collections.abc.Iterator": f"{PYTHON}collections.abc.html#collections.abc.Iterator",
    "collections.abc.Mapping": f"{PYTHON}collections.abc.html#collections.abc.Mapping",
    "collections.abc.Sequence": f"{PYTHON}collections.abc.html#collections.abc.Sequence",
    "collections.abc.Generator": f"{PYTHON}collections.abc.html#collections.abc.Generator",
    "contextlib.AbstractContextManager": f"{PYTHON}contextlib.html#contextlib.AbstractContextManager",
    "dataclasses.replace": f"{PYTHON}dataclasses.html#dataclasses.replace",
    "pathlib.Path": f"{PYTHON}pathlib.html#pathlib.Path",
    "numpy.ndarray": f"{NUMPY}generated/numpy.ndarray.html#numpy.ndarray",
    "numpy.random._generator.Generator": f"{NUMPY}random/generator.html#numpy.random.Generator",
    "plotly.graph_objs._figure.Figure": f"{PLOTLY}plotly.graph_objects.Figure.html",
    "threading.Event": f"{PYTHON}threading.html#threading.Event",
    "torch.Tensor": f"{TORCH}tensors.html#torch.Tensor",
    "torch._C.Generator": f"{TORCH}generated/torch.Generator.html#torch.Generator",
    "torch.device": f"{TORCH}tensor_attributes.html#torch.device",
    "torch.dtype": f"{TORCH}tensor_attributes.html#torch.dtype",
    "torch.nn.modules.module.Module": f"{TORCH}generated/torch.nn.Module.html#torch.nn.Module",
}
MODULE = re.compile(r"^\.\. (?:automodule|py:module):: (\S+)", re.M)
PARAMETERS = re.compile(
    r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>', re.S
)
LAST = {"Returns": 1, "Yields": 1, "Raises": 2}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("modules", Modules)
    app.connect("missing-reference", link_outside)
    app.connect("autodoc-process-docstring", read_as_prose, priority=400)
    app.connect("doctree-read", put_together)
    app.connect("html-page-context", finish_page, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Modules(SphinxDirective):
    """The modules that another page documents, each with its one-line summary."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A definition list, a module a term."""
        path, file = self.env.relfn2path(f"{self.arguments[0]}.rst")
        self.env.note_dependency(path)
        text = Path(file).read_text(encoding="utf-8")
        lines = []
        for name in MODULE.findall(text):
            module = import_module(name)
            self.env.note_dependency(str(module.__file__))
            summary = (module.__doc__ or "").partition("\n")[0]
            lines += [f":py:mod:`{name}`", f"    {summary}", ""]
        listing = self.parse_text_to_nodes("\n".join(lines))
        return [nodes.container("", *listing, classes=["modules"])]


def link_outside(
    app: Sphinx,
    env: BuildEnvironment,
    node: addnodes.pending_xref,
    content: nodes.TextElement,
) -> nodes.reference | None:
    """A link to another project's documentation, for a name that the table has."""
    address = OUTSIDE.get(node["reftarget"])
    if address is None:
        return None
    return nodes.reference("", "", content, internal=False, refuri=address)


def read_as_prose(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Before napoleon reads a docstring: what comes before a colon in an attribute's first line is not its type."""
    if what in ("attribute", "data", "property"):
        lines[0] = f": {lines[0]}"  # napoleon's form "type: text", with no type


def put_together(app: Sphinx, tree: nodes.document) -> None:
    """What is returned and its type in one line, as a parameter and its type are, before what is raised."""
    for fields in tree.findall(nodes.field_list):
        named = {field[0].astext(): field for field in fields}
        if "Return type" in named:
            kind = named.pop("Return type")
            if "Returns" in named:
                fields.remove(kind)
                named["Returns"][1][0][:0] = [*kind[1][0], nodes.Text(" – ")]
            else:
                kind[0][:] = [nodes.Text("Returns")]
        fields[:] = sorted(
            fields, key=lambda field: LAST.get(field[0].astext(), 0)
        )


def finish_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any
) -> None:
    """Show the names of functions and classes among a page's contents; mend what screen readers would trip over."""
    if page.startswith("book/reference/"):
        context["theme_show_toc_level"] = 2
    # a parameter a line: Sphinx writes a definition list with nothing that is defined
    context["body"] = PARAMETERS.sub(
        lambda found: '<span class="sig-lines">{}</span>'.format(
            found[1].replace("dd>", "span>")
        ),
        context.get("body", ""),
    )
    navigation = context["generate_toctree_html"]

    def with_names(*settings: Any, **more: Any) -> Any:
        found = navigation(*settings, **more)
        for toggle in found.find_all("summary"):
            name = toggle.find_parent("li").a.get_text(strip=True)
            toggle["aria-label"] = f"Pages of: {name}"
        return found

    context["generate_toctree_html"] = with_names
