"""The steward's review: what waits, what each rule says of it, and the decisions."""
