"""What is in an atlas, how well it transfers and what it may reveal: for the terminal, as a page, as JSON."""
