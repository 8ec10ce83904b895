"""Pure statistics: arrays in, arrays out; no clock, no files, no cryptography."""
