"""The only wing of the coordinator that knows Flower and gRPC."""
