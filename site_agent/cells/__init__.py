"""The only wing that sees cells: reading, quality, mapping, building an atlas."""
