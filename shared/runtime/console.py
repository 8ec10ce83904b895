"""The terminal: data to stdout, progress to stderr, one way to fail.

Rules
-----
1. What a command was asked for goes to stdout; everything else (progress, remarks, errors) goes to stderr.
2. With ``--json`` stdout holds one JSON document, on success and on failure alike.
3. An expected failure (:class:`shared.errors.CrosslotError`) prints ``error:`` and ``hint:`` and exits with 1; wrong
   arguments and faults of crosslot itself exit with 2.
4. A command is loaded when it is called, and what draws on a terminal when it draws: ``--help`` answers at once.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TypeVar

import click

from shared.errors import CrosslotError, InternalError

_Command = TypeVar("_Command", bound=Callable[..., Any])
_JSON_KEY = "crosslot.json"
_FAILURE_KEY = "crosslot.failure"
_PLAIN_INTERVAL_SECONDS = 2.0
_NARROWEST_COLUMNS = 100
_WIDEST_COLUMNS = 100_000


class Advance(Protocol):
    """Called as work gets done."""

    def __call__(self, steps: int = 1, /) -> None:
        """Say that ``steps`` more are done."""


@contextmanager
def progress(description: str, total: int | None = None, *, unit: str = "") -> Iterator[Advance]:
    """Show the progress of a long operation on stderr: a bar on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    description : str
        What is being done, for a person.
    total : int, optional
        How many steps; unknown where None.
    unit : str
        What one step is, such as ``lots``.
    """
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - rule 4
        from rich.progress import (  # noqa: PLC0415 - rule 4
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(description, total=total)

            def advance(steps: int = 1, /) -> None:
                bar.advance(task, steps)

            yield advance
        return
    started = last = time.monotonic()
    done = 0
    of_total = f" of {total}" if total is not None else ""

    def advance_plainly(steps: int = 1, /) -> None:
        nonlocal done, last
        done += steps
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL_SECONDS:
            last = now
            remark(f"{description}: {done}{of_total} {unit}".rstrip())

    yield advance_plainly
    remark(f"{description}: {done}{of_total} {unit}".rstrip() + f", {time.monotonic() - started:.1f} s")


def remark(text: str) -> None:
    """Write a line for a person to stderr."""
    click.echo(text, err=True)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout; cells after the first column stand right-aligned."""
    from rich.console import Console  # noqa: PLC0415 - rule 4
    from rich.table import Table  # noqa: PLC0415 - rule 4

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:  # a file or a pipe has no width: never fold what a script may read
        unbounded = Console(file=sys.stdout, highlight=False, markup=False, width=_WIDEST_COLUMNS)
        width = max(_NARROWEST_COLUMNS, unbounded.measure(table).maximum)
        console = Console(file=sys.stdout, highlight=False, markup=False, width=width)
    console.print(table)


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document to stdout."""
    click.echo(json.dumps(document, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False))


def _remember_json(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's signature
    context.find_root().meta[_JSON_KEY] = value
    return value


def json_option(command: _Command) -> _Command:
    """Give a command ``--json``; it receives ``as_json``, and failures come as JSON too."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=_remember_json,
        is_eager=True,
        help="Print one JSON document to stdout, on failure too.",
    )(command)


def failures_exit_with(code: int) -> None:
    """Let expected failures of the running command exit with ``code``: where 1 is one of its answers."""
    click.get_current_context().find_root().meta[_FAILURE_KEY] = code


def _failure(kind: str, message: str, hint: str | None) -> Mapping[str, Any]:
    return {"success": False, "error": {"kind": kind, "message": message, "hint": hint}}


def _print_failure(error: CrosslotError, kind: str, *, as_json: bool) -> None:
    if as_json:
        print_json(_failure(kind, str(error), error.hint))
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        # An error that was put in other words often quotes its cause: what was said is not said again.
        if text and not any(text in said for said in chain):
            chain.append(text)
        cause = cause.__cause__
    remark("error: " + "\n  because: ".join(chain))
    if error.hint:
        remark(f"hint: {error.hint}")


@dataclass(frozen=True)
class DeferredCommand:
    """A command that is loaded when it is called, and what the list of commands says of it meanwhile."""

    module: str
    attribute: str
    summary: str


class CommandGroup(click.Group):
    """The root group of a console script: turns errors into messages and exit codes, and loads commands when called."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - click's signature
        super().__init__(*arguments, **options)
        self.deferred: dict[str, DeferredCommand] = {}

    def defer(self, name: str, where: str, summary: str) -> None:
        """Add a command that is loaded when it is called.

        Parameters
        ----------
        name : str
            The command's, or the group's.
        where : str
            As ``module:attribute``.
        summary : str
            The first sentence of its help, which the list of commands shows.
        """
        module, _, attribute = where.partition(":")
        self.deferred[name] = DeferredCommand(module, attribute, summary)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, loaded or not."""
        return sorted({*super().list_commands(ctx), *self.deferred})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loading it if need be."""
        deferred = self.deferred.get(cmd_name)
        if deferred is not None and cmd_name not in self.commands:
            self.add_command(getattr(import_module(deferred.module), deferred.attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands; one that is not loaded by its summary."""
        stand_ins = {name: click.Command(name, help=each.summary) for name, each in self.deferred.items()}
        click.Group(commands={**stand_ins, **self.commands}).format_commands(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look for ``--json`` before anything is parsed: wrong arguments are told as JSON too."""
        ctx.meta[_JSON_KEY] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command; expected failures exit with 1, internal ones with 2."""
        try:
            return super().invoke(ctx)
        except InternalError as error:
            _print_failure(error, "internal", as_json=bool(ctx.meta.get(_JSON_KEY)))
            ctx.exit(2)
        except CrosslotError as error:
            _print_failure(error, type(error).__name__, as_json=bool(ctx.meta.get(_JSON_KEY)))
            ctx.exit(int(ctx.meta.get(_FAILURE_KEY, 1)))
        except click.UsageError as error:
            if ctx.meta.get(_JSON_KEY):
                hint = f"try: {error.ctx.command_path} --help" if error.ctx is not None else None
                print_json(_failure("usage", error.format_message(), hint))
            raise
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt, BrokenPipeError):
            raise  # click knows them; a pipe that its reader has closed (| head) is no fault
        except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback unless asked for
            if os.environ.get("CROSSLOT_DEBUG"):
                traceback.print_exc()
            fault = InternalError(
                f"{type(error).__name__}: {error}",
                hint="this is a fault of crosslot; run again with CROSSLOT_DEBUG=1 and report what it prints",
            )
            _print_failure(fault, "internal", as_json=bool(ctx.meta.get(_JSON_KEY)))
            ctx.exit(2)
