"""The one error that a user of the commands is meant to read."""


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line: what was found, what was expected and what to do. The commands print it and
    exit with a non-zero status; nothing else is shown.
    """
