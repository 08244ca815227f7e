"""Measurements of speed: always two things in one run, alternating, as a ratio with its spread."""
