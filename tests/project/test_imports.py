"""Who imports whom: the rooms of the design, and a light `import scratchnet`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scratchnet

PACKAGE = Path(scratchnet.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}

SMALL = {"losses", "optimizers", "schedules", "metrics", "initializers", "backend", "errors"}
SMALL |= {"adaptive", "ctc", "optimizer_steps", "regularizers", "targets"}
MODEL = SMALL | {"layers", "checkpoint", "training", "engine", "kernels"}
MODEL |= {"ending", "flat", "looking", "ranges", "registering", "sources", "summary"}
MODEL |= {"model_files"}  # which reads the model, and is loaded late
#: room: the rooms that it may import; the first part of a file's path is its room
ROOMS = {
    "errors": set(),
    "files": set(),
    "backend": {"errors"},
    "layers": {"backend", "initializers", "regularizers", "errors", "layers"},
    **dict.fromkeys(SMALL - {"backend", "errors"}, SMALL),
    "engine": {"engine", "layers", "losses", "optimizer_steps", "errors", "files"},
    "ending": {"errors", "layers", "losses", "metrics", "targets"},
    "kernels": {"backend", "ctc", "datasets", "engine", "layers", "optimizer_steps"},
    "checkpoint": {"errors", "files", "metrics"},
    "showing": set(),
    "live": {"showing"},
    "text": {"showing"},
    "frozen": set(),
    "run": {"errors", "metrics", "plots", "showing"},
    "progress": {"errors", "live", "run", "showing"},
    "training": {"distributed", "ending", "engine", "errors", "progress", "regularizers"}
    | {"run", "sources", "targets"},
    # of these all but errors, run and the engine's light files are loaded late
    "distributed": {"ending", "engine", "errors", "regularizers", "run", "targets"},
    "training_state": {"errors"},
    "backup": {"errors", "checkpoint", "files", "run", "training_state"},
    "callbacks": SMALL | {"checkpoint", "run", "backup", "training_state"},
    "gradcheck": {"errors", "frozen", "showing", "text", "diagnosis"},  # the last is loaded late
    "diagnosis": {"diagnosis", "errors", "frozen", "layers", "model", "text"},
    "summary": {"layers", "looking", "showing", "text"},  # the second for types alone
    "ranges": {"errors"},
    "sources": {"errors", "run", "targets"},
    "rate_finder": {"engine", "errors", "flat", "plots", "schedules", "training"},
    "registering": {"errors", "layers", "losses", "optimizers", "schedules"},
    "flat": {"engine", "errors", "layers"},
    "looking": {"engine", "errors", "flat", "layers", "ranges", "summary"},
    "model": MODEL,
    "model_files": MODEL | {"model"},
    "first_start": {"engine", "errors", "model", "model_files"},
    "architectures": {"layers", "model", "errors", "ranges"},
    "line_reader": {"architectures", "errors", "model"},
    "microscope": MODEL | {"microscope", "model", "frozen", "text", "plots"} | {"showing"},
    "datasets": {"datasets", "errors", "files", "backend", "pictures", "showing"},
    # the last late
    "pictures": {"backend", "ctc", "errors", "pictures", "showing", "architectures"},
    "calibration": {"errors", "layers", "model", "targets"},
    "plots": {"errors", "layers", "plots", "checkpoint", "pictures", "showing"},
    "recipes": MODEL | {"model", "architectures", "datasets"},
    "run_folder": {
        "architectures",
        "backup",
        "callbacks",
        "checkpoint",
        "datasets",
        "errors",
        "files",
    }
    | {"metrics", "model", "model_files", "optimizers", "recipes", "training"},
    "_moved": set(),
    "__main__": {"cli"},
}
ANYTHING = {"cli", "web", "interop", "learn"}  # and nothing else imports them
FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "onnx", "onnxruntime"}
HEAVY = FRAMEWORKS | {"matplotlib", "PIL", "rich", "typer", "safetensors", "numba"}
HEAVY |= {"mpi4py", "pooch", "requests", "urllib3", "fastapi", "starlette", "pydantic", "uvicorn"}
#: light, because the model needs them before it runs
WITHOUT_NUMBA = {"engine/__init__.py", "engine/memory.py", "engine/threads.py"}
COMPILED = [name for name in FILES if name.startswith("engine/") and name not in WITHOUT_NUMBA]
LATE = ("charts", "images", "inside", "network", "speed", "style")  # loaded when first used
DRAWING = [f"plots/{name}.py" for name in LATE]
SERVER = {"fastapi", "starlette", "pydantic", "uvicorn"}
AT_THE_TOP = {path: {"typer"} for path in FILES if path.startswith("cli/")} | {
    **{path: SERVER for path in FILES if path.startswith("web/")},
    "web/connections.py": {"uvicorn"},  # loaded by `serve` alone
    **dict.fromkeys(COMPILED, {"numba"}),
    **dict.fromkeys(DRAWING, {"matplotlib"}),
    "interop/torch_modules.py": {"torch"},  # loaded late, too
    "interop/keras_layers.py": {"keras"},
}


def room_of(name):
    return name.split("/")[0].removesuffix(".py")


def for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported(path, inside=PACKAGE, functions=True):
    """Absolute names of the modules in a file's imports; without those in functions if told so."""
    found, nodes = set(), [ast.parse(path.read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            at = path.parents[node.level - 1].relative_to(inside.parent) if node.level else Path()
            start = ".".join([*at.parts, *([node.module] if node.module else [])])
            found |= {f"{start}.{alias.name}" for alias in node.names}
        elif for_types_only(node):
            continue
        elif functions or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
    return found


def rooms(path):
    """The rooms of the package that a file imports from, by any of its imports."""
    parts = [name.split(".") for name in imported(path) if name.split(".")[0] == "scratchnet"]
    return {part[1] for part in parts if len(part) > 1 and part[1] != "__version__"}


def libraries(path, **how):
    return {name.split(".")[0] for name in imported(path, **how)} - sys.stdlib_module_names


def test_every_file_has_a_room_in_the_design():
    assert {room_of(name) for name in FILES} - ROOMS.keys() - ANYTHING == {"__init__"}


@pytest.mark.parametrize("name", FILES)
def test_imports_run_one_way(name):
    room, found = room_of(name), rooms(FILES[name])
    if room == "__init__":
        assert not found & ANYTHING
    elif room not in ANYTHING:
        assert found <= ROOMS[room]


@pytest.mark.parametrize("name", FILES)
def test_numba_and_the_frameworks_stay_in_their_rooms(name):
    room, found = room_of(name), libraries(FILES[name])
    if room == "engine":
        assert found <= {
            "scratchnet",
            "numpy",
            "numba",
            "llvmlite",
            "threadpoolctl",
            "platformdirs",
            "filelock",
        }
    elif room in SMALL | {"layers"}:
        assert found <= {"scratchnet", "numpy"}
    else:
        assert not found & {"numba", "llvmlite"}
    assert room == "interop" or not found & FRAMEWORKS


@pytest.mark.parametrize("name", FILES)
def test_heavy_libraries_are_imported_where_they_are_used(name):
    assert libraries(FILES[name], functions=False) & HEAVY <= AT_THE_TOP.get(name, set())


def test_oracles_import_nothing_of_the_package():
    assert libraries(Path(__file__).parents[1] / "oracles.py") == {"numpy"}


def test_every_public_name_is_there_after_a_plain_import():
    code = "import scratchnet as sn; print([name for name in sn.__all__ if not hasattr(sn, name)])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr
