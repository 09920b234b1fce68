"""`python -m scratchnet` is the command `scratchnet`."""

from .cli import main

main()
