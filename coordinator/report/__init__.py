"""The study report: the model first, rendering apart."""
