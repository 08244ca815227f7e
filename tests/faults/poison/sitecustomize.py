"""Fault injection: a PNG that carries the mark kills the process that decodes it, as a bug in a decoder's C code does.

Python imports this module at start where its folder is on PYTHONPATH. It uses Pillow's own registry of formats.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from PIL import Image, PngImagePlugin

MARK = b"a decoder dies of this"


class DeadlyPng(PngImagePlugin.PngImageFile):
    """PNG, and sudden death at the mark."""

    def __init__(self, file: Any, name: str | bytes | None = None) -> None:
        if MARK in file.getvalue():
            os.kill(os.getpid(), signal.SIGSEGV)
        super().__init__(file, name)


if __name__ == "sitecustomize":  # not where a test imports it to have the mark: its own process must read PNGs
    Image.register_open("PNG", DeadlyPng, PngImagePlugin._accept)
