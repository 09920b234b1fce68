"""The one exception for a user's mistake, so that a caller can tell it from a defect of ours."""


class InputError(ValueError):
    """Something handed in is wrong: a file, a shape, a number. Its text is one line.

    The text names what was expected and what was found. The command `scratchnet` prints it as it
    is and exits with 1; every other exception is a bug and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        # names of files and layers come from outside and may hold anything, line breaks too
        super().__init__("".join(c if c.isprintable() else "?" for c in message))
