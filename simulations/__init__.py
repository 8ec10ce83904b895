"""Lots with known truth and real agents in one process."""
