"""Everything that may see a cell. It lives at a site; only what its release wing lets through leaves."""
