"""The process of one contender: python -m contenders NAME THREADS."""

import sys

from .process import serve

if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
