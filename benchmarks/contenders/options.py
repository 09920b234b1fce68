"""The command line that the comparisons share."""

import argparse
import os
from pathlib import Path

from .isa import ISAS
from .networks import MODELS
from .registry import CONTENDERS


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return number


def arguments(about: str, kind: str, **defaults: int) -> argparse.ArgumentParser:
    """The options that both comparisons have; kind is "trains" or "infers"."""
    names = [name for name, contender in CONTENDERS.items() if getattr(contender, kind)]
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), default="cnn")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=["all", *names],
        default=["all"],
        metavar="NAME",
        help=f"all, or some of {', '.join(names)}; scratchnet always runs",
    )
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--threads", type=positive, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--cold", action="store_true", help="compile anew: leave Numba's and inductor's caches out"
    )
    add_isa(parser)
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    parser.add_argument("--json", type=Path, help="a file for all results")
    parser.set_defaults(names=names)
    return parser


def add_isa(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--isa",
        choices=list(ISAS),
        default="native",
        help="hold all contenders to these instructions, as far as each can be (contenders/isa.py)",
    )


def chosen(options: argparse.Namespace) -> list[str]:
    wanted = {"scratchnet", *options.contenders}
    return [name for name in options.names if name in wanted or "all" in wanted]
