"""Comparability after a change of process: from units of two arms to findings, their sentences and their figures."""
