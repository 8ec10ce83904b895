"""The errors of crosslot, grouped by whose fault they are.

Every message says what was expected and what was found; ``hint`` says what to do. A command turns an expected error
into exit code 1 and an internal one into exit code 2. What leaves a site is never such a message: it is a catalogued
code (``protocol.errors``).
"""

from collections.abc import Sequence


class CrosslotError(Exception):
    """An expected failure: a sentence for a person, and a hint that says what to do."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(CrosslotError):
    """The user's own input is at fault: a file, a column, a value, an argument."""


class NoRoomError(InputError):
    """A disk is full, or a quota used up: what was begun is undone, and may be done again once there is room."""


class ProblemsError(InputError):
    """Several problems of one input, listed at once.

    Attributes
    ----------
    problems : tuple of InputError
        Each with its own message and hint, in the order in which a person would mend them.
    """

    def __init__(self, subject: str, problems: Sequence[InputError]) -> None:
        lines = "\n".join(f"  - {problem}" + (f" ({problem.hint})" if problem.hint else "") for problem in problems)
        count = f"{len(problems)} problem" + ("s" if len(problems) != 1 else "")
        super().__init__(f"{subject}: {count}\n{lines}", hint="mend these, then run the same command again")
        self.problems = tuple(problems)


class DesignError(CrosslotError):
    """The data are in order but cannot answer the question: too few lots, no variation, an unreachable alpha.

    Attributes
    ----------
    code : str
        A stable, named reason, for scripts and for results.
    """

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class RefusedError(CrosslotError):
    """A rule says no: a policy, a signature, a plan that changed. Nothing was done."""


class InternalError(CrosslotError):
    """crosslot itself is at fault; the message says what was assumed and did not hold."""
