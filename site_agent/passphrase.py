"""The steward's passphrase, as every command takes it: from a file that only its owner can read, or asked for.

The rule on the file is that on keys (``protocol.signing``): a passphrase that others can read protects nothing. What is
checked is what is read, for the file is opened once.
"""

import os
import stat
from pathlib import Path
from typing import Final

import click

from shared.errors import InputError

_LIMIT: Final = 4_096


def steward_passphrase(file: Path | None, *, confirm: bool = False) -> str:
    """Return the passphrase that ``file`` holds, without the ends of its last line; without a file it is asked for.

    Parameters
    ----------
    file : Path or None
        A file, or a pipe of the caller's own.
    confirm : bool
        Whether it is asked for twice: for a new key.

    Raises
    ------
    InputError
        The file is missing, unreadable, longer than 4,096 bytes, or others than its owner can read it.
    """
    if file is None:
        prompt = "A passphrase for the steward's key" if confirm else "The steward's passphrase"
        asked: str = click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return asked
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(_LIMIT + 1)
    except FileNotFoundError:
        raise InputError(f"{file}: expected a passphrase, found no file", hint="check the path") from None
    except OSError as error:
        raise InputError(f"{file}: expected a passphrase, cannot read it: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"{file}: others can read the passphrase", hint=f"run: chmod 600 {file}")
    if len(data) > _LIMIT:
        raise InputError(f"{file}: expected a passphrase of at most {_LIMIT} bytes, found more")
    return data.decode("utf-8", errors="replace").rstrip("\r\n")
