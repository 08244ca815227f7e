"""What an evaluation leaves behind for people: plots as SVG, a self-contained page, and CSV tables."""
