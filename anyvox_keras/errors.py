"""The error that stands for a user's mistake."""


class UserError(ValueError):
    """Input that cannot be used; the message is one line: what, what was expected, what came.

    The command line prints it without a traceback and exits with code 2.
    """
