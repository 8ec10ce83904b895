"""New lots held against a signed specification, and charted over time, at the site; nothing here sends."""
