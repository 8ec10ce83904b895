"""Whether this process sees no network but its own: what opens sockets on every address is started there only.

Ray's processes listen on every address of the machine, even when told loopback, and they take code from whoever
connects. In a network namespace that has loopback and nothing else nobody else can.
"""

import fcntl
import socket
import struct
from typing import Final

from shared.errors import RefusedError

COMMAND: Final = "unshare -rn sh -c 'ip link set lo up && COMMAND'"
"""How a command is given a network of its own on Linux, by any user."""

_LOOPBACK: Final = "lo"
_GET_FLAGS: Final = 0x8913  # SIOCGIFFLAGS of <linux/sockios.h>
_UP: Final = 0x1  # IFF_UP of <linux/if.h>
_REQUEST: Final = "16sH14x"  # struct ifreq: a name, then the flags


def interfaces_up() -> frozenset[str]:
    """Return the names of this process's network interfaces that are up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        return frozenset(name for _, name in socket.if_nameindex() if _is_up(asked, name))


def require_private_network(up: frozenset[str], what: str) -> None:
    """Return if loopback, and nothing else, is up.

    Raises
    ------
    RefusedError
        Another interface is up, or loopback is not.
    """
    hint = f"give it a network of its own: {COMMAND.replace('COMMAND', 'crosslot-simulate ...')}"
    if others := sorted(up - {_LOOPBACK}):
        raise RefusedError(
            f"{what} listens on every address of this machine: expected a network with loopback only, found "
            f"{', '.join(others)}",
            hint=f"{hint}; or, behind a firewall of your own, --allow-open-sockets",
        )
    if _LOOPBACK not in up:
        raise RefusedError(f"{what} needs loopback: expected the interface lo up, found it down", hint=hint)


def _is_up(asked: socket.socket, name: str) -> bool:
    try:
        reply = fcntl.ioctl(asked, _GET_FLAGS, struct.pack(_REQUEST, name.encode(), 0))
    except OSError:  # it went away between the two looks
        return False
    flags: int = struct.unpack(_REQUEST, reply)[1]
    return bool(flags & _UP)
