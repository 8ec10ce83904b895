"""What the coordinator computes for each study module: data and plan in, that module's results out."""
