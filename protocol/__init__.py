"""What crosses between parties, and its rules. The only floor that imports cryptography."""
