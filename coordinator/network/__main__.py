"""``python -m coordinator.network``: the network's commands alone."""

from coordinator.network.commands import COMMANDS
from shared.runtime.console import CommandGroup

if __name__ == "__main__":
    CommandGroup("crosslot-coordinator", commands=list(COMMANDS))()
