"""How a site looks, as `shared.pages.marks` draws it."""

from shared.pages.marks import SITE_COLOURS, site_mark

__all__ = ["SITE_COLOURS", "site_mark"]
