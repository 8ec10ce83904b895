"""Who reads a report, and so what it may contain. Every other module of this package asks here.

The rules. The coordinator's edition holds every lot. A site's edition holds its own lots and aggregates. The public
edition holds aggregates only and names no site. What an edition may not hold is never put into its model, so neither a
title nor a table nor the source of the page can show it. An average over lots is an aggregate only if enough lots of
enough sites stand behind the part that the reader does not know already.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

FEWEST_UNSEEN_LOTS = 5
FEWEST_UNSEEN_SITES = 2


class EditionKind(StrEnum):
    """For whom a report is made."""

    COORDINATOR = "coordinator"
    SITE = "site"
    PUBLIC = "public"


@dataclass(frozen=True)
class Edition:
    """One edition of a report; make it by :meth:`coordinator`, :meth:`of_site` or :meth:`public`."""

    kind: EditionKind
    site: str | None = None

    @classmethod
    def coordinator(cls) -> Self:
        """Return the edition that holds every lot."""
        return cls(EditionKind.COORDINATOR)

    @classmethod
    def of_site(cls, site: str) -> Self:
        """Return the edition of one site: its own lots, and aggregates."""
        return cls(EditionKind.SITE, site)

    @classmethod
    def public(cls) -> Self:
        """Return the edition that holds aggregates only."""
        return cls(EditionKind.PUBLIC)

    @property
    def names_sites(self) -> bool:
        """Whether the sites of the study may be named: they know each other by the plan, the public does not."""
        return self.kind is not EditionKind.PUBLIC

    def shows_lots_of(self, site: str) -> bool:
        """Return whether lots of ``site`` may stand in this edition."""
        match self.kind:
            case EditionKind.COORDINATOR:
                return True
            case EditionKind.SITE:
                return site == self.site
            case EditionKind.PUBLIC:
                return False

    def may_average(self, sites: Sequence[str]) -> bool:
        """Return whether an average over lots of these sites (one entry a lot) may stand in this edition.

        The reader can take the own lots out of an average, so what counts is how many others remain.
        """
        unseen = [site for site in sites if not self.shows_lots_of(site)]
        if not unseen:
            return bool(sites)
        return len(unseen) >= FEWEST_UNSEEN_LOTS and len(set(unseen)) >= FEWEST_UNSEEN_SITES


def names_one_of(text: str, names: Iterable[str]) -> bool:
    """Return whether ``text`` names one of ``names`` as a whole word.

    >>> names_one_of("lot A-7 has few cells", ["A-7"]), names_one_of("lot A-71 has few cells", ["A-7"])
    (True, False)
    """
    return any(re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None for name in names if name)
