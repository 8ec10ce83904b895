"""The numbers of findings, as `shared.pages.numbering` gives them."""

from shared.pages.numbering import Numbering

__all__ = ["Numbering"]
