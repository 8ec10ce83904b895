"""The reference atlas: its format, the kernel that maps cells with it, and the fit that makes it."""
