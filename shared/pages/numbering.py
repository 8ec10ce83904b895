"""The numbers of findings, in the order in which a page tells them."""

from shared.pages.contents import Finding


class Numbering:
    """Gives each finding the next number, from 1."""

    def __init__(self) -> None:
        self._last = 0

    def finding(self, text: str) -> Finding:
        """Return ``text`` as the next finding."""
        self._last += 1
        return Finding(self._last, text)
