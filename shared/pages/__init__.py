"""What pages are made of, whoever shows them: tables, findings, module sections, their style sheet and macros."""
