"""The learning itself: images in, distances out. No queue and no database; usable from a notebook."""
