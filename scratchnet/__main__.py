"""`python -m scratchnet` is the command `scratchnet`."""

import sys

try:
    from .cli import main
except KeyboardInterrupt:  # libraries take a moment to load
    print("scratchnet: stopped", file=sys.stderr)
    sys.exit(130)

main()
