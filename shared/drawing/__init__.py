"""What pages of any floor are drawn with: SVG as escaped text, scales, and the rules of one self-contained file."""
