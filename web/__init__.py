"""The front ends: pages, API and command line. Nothing here imports torch."""
