"""The compiled loops of the house, in C, and the one library that setup.py builds of them."""
