"""The only wing of the site that knows Flower and gRPC."""
