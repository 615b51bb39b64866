"""The one error that a user of the commands is meant to read."""


class InputError(Exception):
    """Input that cannot be used.

    The message is one line: what was found, what was expected and what to do. The commands print it and exit with a
    non-zero status; ``--debug`` adds the traceback. It derives from no narrower exception, so that no ``except
    ValueError`` around a library call catches it.
    """
