"""Notebooks: executed from a copy, and written back with their outputs and without the rest.

    python tests/notebooks.py                                   all lessons, in place
    python tests/notebooks.py examples/lessons/02_dense.ipynb   one

A lesson's cells may have these tags:
    exercise    what the reader completes; untouched it runs, and its check says "Not written yet"
    check       says "Right" where the exercise above is right
    solution    text with the solution, the only Python block in it
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat

LESSONS = Path(__file__).parents[1] / "examples" / "lessons"
#: seconds until a cell, and a kernel's start, count as hanging; a busy machine may be slow
CELL, START = 600, 300


def lessons():
    """The lessons' files, in order."""
    return sorted(LESSONS.glob("*.ipynb"))


def execute(notebook, folder, with_solutions=False):
    """Run all cells in a kernel of their own, whose folder is that; an error in a cell raises.

    with_solutions   after each check, run the solution that follows, and the check again
    """
    from nbclient import NotebookClient  # here: it loads much that reading does not need

    if with_solutions:
        notebook.cells = list(_solved(notebook.cells))
    client = NotebookClient(
        notebook,
        timeout=CELL,
        startup_timeout=START,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    environment = os.environ | {"IPYTHONDIR": str(folder), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    client.execute(env=environment)
    return notebook


def _solved(cells):
    check = None
    for cell in cells:
        yield cell
        tags = cell.metadata.get("tags", [])
        if "check" in tags:
            check = cell
        if "solution" in tags:
            (code,) = re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL)
            yield nbformat.v4.new_code_cell(code)
            yield nbformat.v4.new_code_cell(check.source, metadata={"tags": ["solved"]})


def pictures(notebook):
    """Every picture in the outputs, with the text of the cell that follows: (output, caption)."""
    for cell, after in zip(notebook.cells, [*notebook.cells[1:], None], strict=True):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                caption = after.source if after is not None else ""
                yield output, caption if caption.startswith("*Picture") else ""


def tidy(notebook):
    """Only what a reader needs: no versions, no memory addresses, each picture's caption as alt."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "file_extension": ".py"},
    }
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = list(_joined(cell.outputs))
    for output, caption in pictures(notebook):
        text = caption.split("\n\n")[0].replace("*", "").replace("`", "").replace("\n", " ")
        output.metadata = {"image/png": {"alt": text.replace("$", "")}}
        output.data = {"image/png": output.data["image/png"], "text/plain": "<Figure>"}
    return notebook


def _joined(outputs):
    """Pieces of one stream in a row are one output, however they arrived."""
    last = None
    for output in outputs:
        if last is not None and output.output_type == "stream" and output.name == last.get("name"):
            last.text += output.text
            continue
        last = output
        yield output


def main(paths):
    for path in paths or lessons():
        notebook = nbformat.read(path, as_version=4)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, folder)
        nbformat.write(tidy(notebook), path)
        print(f"{Path(path).name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
