"""Log lines of a long-running service: one line an event, for people or as JSON, to stderr."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import click


def line_log(*, as_json: bool) -> Callable[[str, str], None]:
    """Return what writes (name of a process, line) to stderr with the time; one writer at a time."""
    lock = threading.Lock()

    def write(name: str, line: str) -> None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = json.dumps({"at": at, "process": name, "line": line}) if as_json else f"{at} {name:<10} {line}"
        with lock:
            click.echo(text, err=True)

    return write
