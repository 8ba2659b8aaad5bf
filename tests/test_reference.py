"""The reference is whole: every public name of the library says what it is, and shows it.

The rules, for every module whose name does not begin with an underscore:

- modules, functions, classes, public methods and properties have a docstring (an override may inherit it);
- functions and classes name each parameter under ``Args:``; the fields of a dataclass or a NamedTuple may have a
  comment ``#:`` instead, and a constant that another module imports must have one;
- functions and classes have an ``Example:``, a doctest;
- a class may leave its parameters and its example to what its docstring points to: the function in `backticks` that
  makes it, or raises it;
- every module is on a page of the reference. The command line's page is made from its parsers, so the modules of
  ``awdlib.cli`` need no examples.

Every example is run by itself, so that it can be copied, and must say the same whatever the global seed is.
"""

import ast
import doctest
import importlib
import inspect
import io
import pkgutil
import re
from pathlib import Path

import pytest
import torch

import awdlib

REFERENCE = Path(__file__).resolve().parent.parent / "book" / "reference"
EVERY = ["awdlib", *(found.name for found in pkgutil.walk_packages(awdlib.__path__, "awdlib."))]
MODULES = [name for name in EVERY if not name.rpartition(".")[2].startswith("_")]  # importing __main__ is running it
COMMAND_LINE = "awdlib.cli"


def defined(module):
    """Public functions and classes that a module defines itself."""
    for name, thing in vars(importlib.import_module(module)).items():
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == module and name[0] != "_":
            yield f"{module}.{name}", thing


def members(name, thing):
    """Public methods and properties of a class; the functions behind them."""
    for attribute, member in vars(thing).items() if inspect.isclass(thing) else ():
        member = getattr(member, "fget", None) or getattr(member, "__func__", None) or getattr(member, "func", member)
        if inspect.isfunction(member) and attribute[0] != "_":
            yield f"{name}.{attribute}", member


THINGS = {name: thing for module in MODULES for name, thing in defined(module)}
MEMBERS = {name: thing for owner in THINGS.items() for name, thing in members(*owner)}
SHOWN = [name for name in THINGS if not name.startswith(COMMAND_LINE)]


def doc(thing):
    return inspect.cleandoc(thing.__doc__ or "")


def section(text, title):
    """The lines below a title of a docstring, without their indentation."""
    found = re.search(rf"^{title}:\n((?:(?: {{4}}.*)?(?:\n|\Z))+)", text, re.M)
    return inspect.cleandoc("\n" + found[1]) if found else ""


def examples(text):
    return doctest.DocTestParser().get_examples(text)


def commented(node, after, lines):
    """Whether an assignment has a comment ``#:`` beside or above it, or a text below."""
    beside, above = lines[node.end_lineno - 1], lines[node.lineno - 2]
    below = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    return "  #: " in beside or above.lstrip().startswith("#:") or below


def assignments(body, lines):
    """Public names assigned in the body of a module or class, and whether each has a comment."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets if isinstance(node, ast.Assign | ast.AnnAssign) else ():
            for name in [target] if isinstance(target, ast.Name) else getattr(target, "elts", []):
                if name.id[0] != "_":
                    yield name.id, commented(node, after, lines)


def parameters(thing):
    """Names of the parameters of a function, or of a class's constructor."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return []
    given = inspect.signature(thing).parameters
    return [name for name in given if name not in ("self", "cls") and name[0] != "_"]


def own_fields(thing):
    """Fields of a dataclass or NamedTuple that have a comment."""
    source = inspect.getsource(thing)
    (node,) = ast.parse(inspect.cleandoc("\n" + source)).body
    return [name for name, has_comment in assignments(node.body, source.splitlines()) if has_comment]


@pytest.mark.parametrize("name", [*MODULES, *THINGS, *MEMBERS])
def test_it_says_what_it_is(name):
    thing = THINGS.get(name) or MEMBERS.get(name) or importlib.import_module(name)
    if name in MEMBERS and not thing.__doc__:
        owner, _, attribute = name.rpartition(".")
        assert inspect.getdoc(getattr(THINGS[owner], attribute)), f"{name} has no docstring"
        return
    first = doc(thing).partition("\n")[0]
    assert first.endswith((".", ":", "?")), f"{name}: its first line is to be a sentence, and is {first!r}"


def imports(module):
    """(module, name) of all that a module imports from others."""
    for node in ast.walk(ast.parse(inspect.getsource(importlib.import_module(module)))):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


IMPORTED = {found for module in MODULES for found in imports(module)}


@pytest.mark.parametrize("module", MODULES)
def test_its_constants_have_a_comment(module):
    source = inspect.getsource(importlib.import_module(module))
    constants = assignments(ast.parse(source).body, source.splitlines())
    silent = [name for name, told in constants if not told and (module, name) in IMPORTED]
    assert not silent, f"{module}: say with a comment #: what {', '.join(silent)} is for"


def told_elsewhere(thing):
    """Docstrings of what the docstring of a class points to in backticks; of a method, its class's too."""
    names = re.findall(r"(?<!`)`([\w.]+)`(?!`)", doc(thing)) if inspect.isclass(thing) else []
    whole = {full for full in THINGS for name in names if f".{full}".endswith(f".{name}")}
    part = {full for full in MEMBERS for name in names if f".{full}".endswith(f".{name}")}
    owners = {full.rpartition(".")[0] for full in part}
    return [doc(THINGS.get(full) or MEMBERS[full]) for full in whole | part | owners if THINGS.get(full) is not thing]


def explained(text):
    """Names under ``Args:``."""
    lines = re.findall(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*):", section(text, "Args"), re.M)
    return {part.strip(" *") for line in lines for part in line.split(",")}


@pytest.mark.parametrize("name", THINGS)
def test_its_parameters_are_explained(name):
    thing = THINGS[name]
    told, wanted = explained(doc(thing)), {*parameters(thing)}
    assert not told - wanted, f"{name} explains what is no parameter"
    told = told.union(own_fields(thing) if inspect.isclass(thing) else [], *map(explained, told_elsewhere(thing)))
    assert not wanted - told, f"{name} does not explain {wanted - told}"


@pytest.mark.parametrize("name", THINGS)
def test_what_it_returns_is_not_read_as_a_type(name):
    """Sphinx takes what stands before a colon in the first line of ``Returns:`` for a type, and looks for it."""
    first = section(doc(THINGS[name]), "Returns").strip().partition("\n")[0]
    assert not re.match(r"[^`]*?:(?!`|\w+:)", first), f"{name}: say without a colon {first!r}"


@pytest.mark.parametrize("name", SHOWN)
def test_it_has_an_example(name):
    thing = THINGS[name]
    shown = [examples(section(text, "Example")) for text in (doc(thing), *told_elsewhere(thing))]
    assert any(shown), f"{name} has no Example: with a doctest"


DOCUMENTED = {name: importlib.import_module(name) for name in MODULES} | THINGS | MEMBERS
WITH_EXAMPLES = [name for name, thing in DOCUMENTED.items() if examples(doc(thing))]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_its_example_is_true(name):
    for seed in (1, 2):
        torch.manual_seed(seed)
        example = doctest.DocTestParser().get_doctest(doc(DOCUMENTED[name]), {}, name, None, None)
        said = io.StringIO()
        failed, _ = doctest.DocTestRunner(verbose=False).run(example, out=said.write)
        assert not failed, said.getvalue()


def modules_of(page):
    text = (REFERENCE / f"{page}.rst").read_text(encoding="utf-8")
    return re.findall(r"^\.\. (?:automodule|py:module):: (\S+)$", text, re.M)


def pages_in_order():
    overview = (REFERENCE / "index.rst").read_text(encoding="utf-8")
    return re.findall(r"^\.\. modules:: (\S+)$", overview, re.M)


def test_every_module_is_on_one_page_of_the_reference():
    shown = [module for page in REFERENCE.glob("*.rst") for module in modules_of(page.stem)]
    inside = f"{COMMAND_LINE}."  # the modules of the command line: the page shows what they do together
    wanted = [name for name in MODULES if not name.startswith(inside)]
    missing = sorted({*wanted} - {*shown})
    assert not missing, f"name these in a file of book/reference: {', '.join(missing)}"
    assert sorted(shown) == sorted(wanted)


def test_each_group_of_the_overview_builds_on_those_above_it():
    above, listed = {"awdlib"}, {module for page in pages_in_order() for module in modules_of(page)}
    for page in pages_in_order():
        above |= {*modules_of(page)}
        for module in modules_of(page):
            used = {found for found, _ in imports(module) if found in listed}
            assert used <= above, f"{module} imports {used - above}, which the overview lists below it"


def test_every_page_is_in_the_table_of_contents_and_in_the_overview():
    pages = {page.stem for page in REFERENCE.glob("*.rst")}
    contents = (REFERENCE.parent.parent / "_toc.yml").read_text(encoding="utf-8")
    assert {*re.findall(r"file: book/reference/([\w-]+)", contents)} == pages
    assert {*pages_in_order(), "index"} == pages
