"""The only way out: summaries, the disclosure rules, the gate, the airlock, the ledger."""
