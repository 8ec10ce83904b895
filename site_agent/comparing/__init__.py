"""Lots before and after a change of process, compared wholly at the site: nothing is sent."""
