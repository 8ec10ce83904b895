"""The neutral third party: sees envelopes only, never a cell; runs without anndata and scanpy."""
