"""Telling other programs that a job has ended: what is told, to whom, signed how, and when it is tried again."""
