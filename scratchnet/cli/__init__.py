"""The command `scratchnet`: one file for each subcommand.

Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 and 143 stopped by
Ctrl-C or SIGTERM after saving what there is. Results go to stdout and progress to stderr; with
--json the last thing on stdout is one JSON object.

Libraries that only one command needs are imported inside it: `predict` must answer at once.
"""

import contextlib
import gc
import io
import os
import signal
import sys
import warnings
from typing import Annotated, Any

import typer

from .. import datasets, distributed, kernels
from ..errors import InputError, InputWarning, printable
from ..text import room
from . import (  # noqa: F401 - each adds its command
    benchmark,
    evaluate,
    explain,
    export,
    gradcheck,
    learn,
    predict,
    serve,
    summary,
    train,
    warmup,
)
from .shared import app

#: columns from which a help has frames
WIDE_HELP = 78
#: objects made before somebody looks for garbage among them; most of what a command makes it keeps
#: to its end, and with Python's 700 a tenth of `predict` is spent on looking
UNTIL_COLLECTED = 50_000


def main() -> None:
    """Run the command and turn every expected failure into one line and an exit code."""
    gc.set_threshold(UNTIL_COLLECTED)
    _open_streams()
    if distributed.launched_as() > 0:  # the first of the processes speaks for all
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    kernels.on_compiling(
        lambda: _tell("compiling kernels for this machine, once (from seconds to a minute)")
    )
    datasets.download.announce = _tell
    warnings.showwarning = _shown_in_one_line
    _fit_help(room())
    # a class's name may have letters that the pictures' font has not: it draws a box for them
    warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
    try:
        code = app(standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a full disk is one line
    except typer.TyperException as error:  # wrong usage
        code = error.exit_code
        message = " ".join(error.format_message().split())
        if message:
            _tell(message)
    except InputError as error:
        code = 1
        _tell(str(error))
    except (KeyboardInterrupt, typer.Abort):
        code = 128 + signal.SIGINT
        _tell("stopped")
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        code = 0  # the same, where rich has noticed it
    except OSError as error:  # a full disk under our output, a folder that went away
        code = 1
        name = f"{error.filename}: " if error.filename else ""
        _tell(printable(f"{name}{error.strerror or error}"))
    _forget_output()
    sys.exit(code)


def _tell(line: str) -> None:
    """Print the line on stderr, where anybody reads it; one for all processes of a training."""
    if distributed.launched_as() > 0:
        return
    with contextlib.suppress(OSError):
        print(f"scratchnet: {line}", file=sys.stderr)


def _open_streams() -> None:
    """Give a stream that is closed (`>&-`) to nobody, and let none refuse a letter.

    The next file that is opened would get a closed one's number, and what is printed would go into
    it. Names that are not UTF-8, or not in the terminal's encoding, are printed with escapes.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            free = os.open(os.devnull, os.O_RDWR)
            if free != number:
                os.dup2(free, number)
                os.close(free)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fit_help(width: int | None) -> None:
    """Without frames on a narrow terminal: they would cut off words."""
    if width is None or width >= WIDE_HELP:
        return
    app.rich_markup_mode = None
    every: list[Any] = [app.info, *app.registered_commands]
    for info in every:
        if info.epilog:
            info.epilog = f"\b\n{info.epilog}"  # keep its line breaks


def _shown_in_one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """Our own warnings as one line on stderr; others as Python prints them."""
    ours = filename.startswith(os.path.dirname(os.path.dirname(__file__)))
    if issubclass(category, InputWarning) or (ours and issubclass(category, RuntimeWarning)):
        _tell(printable(str(message)))
    elif distributed.launched_as() == 0:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno))


def _forget_output() -> None:
    """What is still in the buffers cannot be written; Python would try again at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # full; closed; none at all
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from .. import __version__

        print(f"scratchnet {__version__}")
        raise typer.Exit
