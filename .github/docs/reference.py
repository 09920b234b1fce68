"""The API reference as HTML, from the docstrings, without a network: one page a module.

    pip install ".[docs]"
    python .github/docs/reference.py [FOLDER]        build/reference unless said otherwise

pdoc finds what there is to document, as_written.py brings the docstrings into HTML, and the
templates beside this file make the pages.
"""

import argparse
import ast
import importlib
import inspect
import os
import re
import sys
import typing
import warnings
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pdoc.doc
import pdoc.render
import pdoc.search
from as_written import LINE_LENGTH, as_written, first_sentence
from markupsafe import Markup
from pygments.formatters import HtmlFormatter

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = "scratchnet"

#: the index: a heading, and the rooms under it; a room that is named nowhere comes last
ROOMS = {
    "Public names": [""],
    "Layers: derivation, forward, backward": ["layers"],
    "Losses, optimizers, and what they are made of": [
        *("losses", "ctc", "targets", "optimizers", "adaptive", "optimizer_steps", "schedules"),
        *("initializers", "regularizers", "metrics"),
    ],
    "Models and training": [
        *(
            "model",
            "ending",
            "architectures",
            "recipes",
            "training",
            "run",
            "progress",
            "callbacks",
        ),
        *("backup", "checkpoint", "model_files", "summary", "distributed"),
    ],
    "Looking inside": ["gradcheck", "microscope", "plots"],
    "Data and pictures": ["datasets", "pictures"],
    "Other tools": ["interop"],
    "Exercises": ["learn"],
    "The command and the page": ["cli", "web"],
    "For contributors: the engine, and small parts that all share": [
        *("engine", "kernels", "backend", "errors", "frozen", "text"),
    ],
}
#: not imported, though they be installed: that takes long, and no page needs them
FRAMEWORKS = ("torch", "tensorflow", "keras", "jax")


# ---- docstrings and links ------------------------------------------------------------------------


@jinja2.pass_context
def docstring(context: jinja2.runtime.Context, doc: pdoc.doc.Doc) -> Markup:
    """The docstring of what pdoc found, with links."""
    if re.match("Alias for field number|Create new instance of", doc.docstring):
        return Markup()  # Python's own, of a NamedTuple
    nested = 0 if doc.kind == "module" else 1 + doc.qualname.count(".")
    written = as_written(doc.docstring, LINE_LENGTH - 4 * nested)
    return Markup(_linked(written, context["module"], context["all_modules"]))


def _linked(text: str, here: pdoc.doc.Module, modules: dict[str, pdoc.doc.Module]) -> str:
    """Files of the package, "losses.py", `sn.Sequential` and what a page imports, as links."""

    def file(found: re.Match) -> str:
        path = found[0].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        package = here.modulename if here.is_package else here.modulename.rpartition(".")[0]
        for name in (f"{package}.{path}", f"{PACKAGE}.{path}"):
            if name in modules:
                return _link(here.modulename, name, "", found[0])
        return found[0]

    def public(found: re.Match) -> str:
        return _to(here, modules, found[1].split("."), found[0]) or found[0]

    def imported(found: re.Match) -> str:
        known = vars(here.obj).get(found[1])
        home, name = getattr(known, "__module__", None), getattr(known, "__qualname__", "")
        if f"{here.modulename}.{found[1]}" in modules:
            home, name = f"{here.modulename}.{found[1]}", ""
        if home not in modules or home == here.modulename:  # those on the page pdoc finds itself
            return found[0]
        return f"<code>{_link(here.modulename, home, name, found[1])}</code>"

    text = re.sub(r"<code>(\w+)</code>", imported, text)
    text = re.sub(r"(?<![\w/.])(?:\w+/)*\w+\.py\b", file, text)
    return re.sub(r"\bsn\.([A-Za-z]\w*(?:\.\w+)*)", public, text)


def _to(here: Any, modules: dict[str, pdoc.doc.Module], parts: list[str], text: str) -> str:
    """The link to sn.PARTS: a module, a name in one, or a public name of the package."""
    for count in range(len(parts), -1, -1):
        module = modules.get(".".join([PACKAGE, *parts[:count]]))
        name = ".".join(parts[count:])
        found = module.get(name) if module and name else None
        if module and not name:
            return _link(here.modulename, module.modulename, "", text)
        if found is not None and found.taken_from[0] in modules:
            return _link(here.modulename, *found.taken_from, text)
    return ""


@jinja2.pass_context
def link(context: jinja2.runtime.Context, spec: tuple[str, str], text: str | None = None) -> Markup:
    """pdoc's link to a name in a module; private ones have no place to link to."""
    if any(part.startswith("_") for part in spec[1].removesuffix("__init__").split(".")):
        return Markup.escape(text or spec[1])
    return pdoc.render_helpers.link(context, spec, text)


def _link(here: str, module: str, name: str, text: str) -> str:
    if name.startswith("_"):
        return text
    target = pdoc.render_helpers.relative_link(here, module) + (f"#{name}" if name else "")
    return f'<a href="{target}">{text}</a>' if target else text


# ---- types, values and comments as the source has them ------------------------------------------


class _Text:
    """Stands for an annotation or a default value, and is printed as it is written."""

    def __init__(self, node: ast.expr) -> None:
        self.text = ast.unparse(node)

    def __repr__(self) -> str:
        return self.text


def use_source(module: pdoc.doc.Module) -> None:
    """Show a module's types and values as written, and its comments `#: ...` as docstrings."""
    lines = module.source.splitlines()

    def comment_before(line: int) -> str:
        first = line
        while first > 1 and lines[first - 2].lstrip().startswith("#:"):
            first -= 1
        return "\n".join(
            text.strip().removeprefix("#:")[1:] for text in lines[first - 1 : line - 1]
        )

    def within(body: list[ast.stmt], owner: str) -> None:
        fields, values = {}, {}
        for node in body:
            if isinstance(node, ast.ClassDef):
                within(node.body, f"{owner}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                _use_signature(module.get(f"{owner}{node.name}"), *_arguments(node))
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    name = ast.unparse(target)
                    if isinstance(node, ast.AnnAssign):
                        fields[name], values[name] = node.annotation, node.value
                    _use_variable(module.get(owner + name), node, comment_before(node.lineno))
        if fields and owner:  # a NamedTuple's constructor, a dataclass's
            _use_signature(module.get(f"{owner}__init__"), fields, values)

    within(ast.parse(module.source).body, "")


def _arguments(node: ast.FunctionDef) -> tuple[dict[str, Any], dict[str, Any]]:
    """Types and default values in a function's head, by the arguments' names."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    every = [*plain, *given.kwonlyargs, given.vararg, given.kwarg]
    types = {arg.arg: arg.annotation for arg in every if arg}
    values = dict(zip([arg.arg for arg in given.kwonlyargs], given.kw_defaults, strict=True))
    for arg, value in zip(reversed(plain), reversed(given.defaults), strict=False):
        values[arg.arg] = value
    return types | {"return": node.returns}, values


def _use_signature(doc: pdoc.doc.Doc | None, types: dict[str, Any], values: dict[str, Any]) -> None:
    if not isinstance(doc, pdoc.doc.Function):
        return

    def written(known: Any, node: ast.expr | None) -> Any:
        return known if node is None or known is inspect.Parameter.empty else _Text(node)

    parameters = [
        parameter.replace(
            annotation=written(parameter.annotation, types.get(name)),
            default=written(parameter.default, values.get(name)),
        )
        for name, parameter in doc.signature.parameters.items()
    ]
    returned = written(doc.signature.return_annotation, types.get("return"))
    doc.signature = doc.signature.replace(parameters=parameters, return_annotation=returned)


def _use_variable(doc: pdoc.doc.Doc | None, node: ast.Assign | ast.AnnAssign, said: str) -> None:
    if not isinstance(doc, pdoc.doc.Variable):
        return
    doc.taken_from = (doc.modulename, doc.qualname)  # pdoc takes the module of its value's class
    doc.docstring = said or doc.docstring
    if isinstance(node, ast.AnnAssign):
        doc.annotation_str = f": {ast.unparse(node.annotation)}"
    if doc.default_value_str and node.value:
        doc.default_value_str = ast.unparse(node.value)


@jinja2.pass_context
def signature(context: jinja2.runtime.Context, found: inspect.Signature, colon: bool) -> Markup:
    """pdoc's, with links."""
    return linked_types(context, pdoc.render_helpers.format_signature(found, colon))


@jinja2.pass_context
def linked_types(context: jinja2.runtime.Context, text: str) -> Markup:
    """Names of our classes in a type, "Sequence[Layer]", as links to their descriptions."""
    module, modules = context["module"], context["all_modules"]

    def link(found: re.Match) -> str:
        known = vars(module.obj).get(found[1])
        if not inspect.isclass(known) or known.__module__ not in modules:
            return found[0]
        return _link(module.modulename, known.__module__, known.__qualname__, found[1])

    return Markup(re.sub(rf"(?:\b{PACKAGE}\.[a-z_.]+\.)?\b([A-Z]\w+)\b", link, str(text)))


# ---- modules and pages ---------------------------------------------------------------------------


def modules_of_the_package() -> dict[str, pdoc.doc.Module]:
    """Every module but the private ones and the exercises, which a learner gets as files.

    One that needs what is not installed is left out.
    """
    loaded: dict[str, Any] = sys.modules
    loaded |= dict.fromkeys(FRAMEWORKS)  # as if they were not installed
    found = {}
    missing: dict[str, list[str]] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if any(part.startswith("_") for part in parts) or "exercises" in parts:
            continue
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            missing.setdefault(str(error.name), []).append(name)
            continue
        for public in getattr(module, "__all__", ()):  # those that are loaded when first asked for
            vars(module).setdefault(public, getattr(module, public))
        found[name] = pdoc.doc.Module(module)
        use_source(found[name])
    for library in missing.keys() - set(FRAMEWORKS):
        print(f"left out, for want of {library}: {', '.join(missing[library])}", file=sys.stderr)
    for cls in [cls for page in found.values() for cls in page.classes]:
        use_private_bases(cls, found)
    return found


def use_private_bases(cls: pdoc.doc.Class, modules: dict[str, pdoc.doc.Module]) -> None:
    """What a class has from a private one of ours is described with it, as if it were its own."""
    for member in cls.members.values():
        home, name = member.taken_from
        if home in modules and name.startswith("_"):
            written = modules[home].get(name)
            if isinstance(member, pdoc.doc.Function) and isinstance(written, pdoc.doc.Function):
                member.signature = written.signature
            if member not in cls.own_members:
                first = member.name == "__init__"
                cls.own_members.insert(0 if first else len(cls.own_members), member)
    for home, name in list(cls.inherited_members):
        if home in modules and name.startswith("_"):
            del cls.inherited_members[home, name]


def is_handed_on(doc: pdoc.doc.Doc, modules: dict[str, pdoc.doc.Module]) -> bool:
    """Whether a package only imports the name, from where it is written."""
    elsewhere = modules.keys() - {doc.modulename}
    return doc.kind != "module" and "." not in doc.qualname and doc.taken_from[0] in elsewhere


def says_nothing(doc: pdoc.doc.Doc) -> bool:
    """An array's type, a Protocol's constructor, an attribute of which only the name is known."""
    if isinstance(doc, pdoc.doc.Variable) and not doc.docstring:
        origin: Any = typing.get_origin(doc.default_value)
        return origin is np.ndarray or ("." in doc.qualname and not doc.annotation_str)
    return doc.name == "__init__" and getattr(doc.obj, "__module__", "") == "typing"


def modules_within(
    package: pdoc.doc.Module, modules: dict[str, pdoc.doc.Module]
) -> list[pdoc.doc.Module]:
    """The modules directly in a package."""
    return [m for name, m in modules.items() if name.rpartition(".")[0] == package.modulename]


def rooms(modules: dict[str, pdoc.doc.Module]) -> dict[str, list[pdoc.doc.Module]]:
    """The index's headings, each with its modules in order."""
    by_room: dict[str, list[pdoc.doc.Module]] = {}
    for name, module in modules.items():
        by_room.setdefault((name.split(".") + [""])[1], []).append(module)
    named = {room for inside in ROOMS.values() for room in inside}
    layout = ROOMS | {"And": [room for room in by_room if room not in named]}
    index = {
        title: [module for room in inside for module in by_room.get(room, [])]
        for title, inside in layout.items()
    }
    return {title: inside for title, inside in index.items() if inside}


def write(folder: Path) -> int:
    """Write all pages into the folder; returns how many."""
    # types that only type checkers import are shown as they are written
    warnings.filterwarnings("ignore", message="Error parsing type annotation")
    warnings.filterwarnings("ignore", message="Failed to run TYPE_CHECKING code")
    warnings.filterwarnings("ignore", message="Cannot determine where")  # a TypedDict's parents
    modules = modules_of_the_package()
    pdoc.render.configure(docformat="markdown", template_directory=HERE)
    environment = pdoc.render.env
    environment.filters |= {
        "as_written": docstring,
        "first_sentence": first_sentence,
        "format_signature": signature,
        "is_handed_on": is_handed_on,
        "says_nothing": says_nothing,
        "link": link,
        "linked_types": linked_types,
        "modules_within": modules_within,
    }
    environment.globals |= {
        "rooms": rooms(modules),
        "package": PACKAGE,
        "dark_code": Markup(HtmlFormatter(style="github-dark").get_style_defs(".pdoc-code")),
    }
    # what a search finds is shown in the same form
    search: Any = pdoc.search
    search.to_html, search.to_markdown = as_written, lambda text, module, docformat: text
    for name, module in modules.items():
        page = folder / f"{name.replace('.', '/')}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        text = pdoc.render.html_module(module, modules)
        text = re.sub(r'<a href="#_[^"]*">(.*?)</a>', r"\1", text)  # nothing private has a place
        page.write_text(text, encoding="utf-8")
    (folder / "index.html").write_text(pdoc.render.html_index(modules), encoding="utf-8")
    (folder / "search.js").write_text(pdoc.render.search_index(modules), encoding="utf-8")
    return len(modules)


def main() -> None:
    parser = argparse.ArgumentParser(description="the API reference as HTML, from the docstrings")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "reference")
    folder = parser.parse_args().folder
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # loops stay functions, with a signature and a source
    sys.path.insert(0, str(ROOT))  # this tree, whatever is installed
    print(f"{write(folder)} pages: {folder / 'index.html'}")


if __name__ == "__main__":
    main()
