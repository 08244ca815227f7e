"""How the reader writes numbers, by the language that their browser asks for first, and where their days begin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from flask import has_request_context, request

ZONE_COOKIE = "zone"  # set by countersign.js


@dataclass(frozen=True, slots=True)
class Marks:
    """What stands between thousands, and before the decimals."""

    group: str = ","
    point: str = "."


_SPACE, _NARROW = "\u00a0", "\u202f"
# Unicode's CLDR; languages that are not here write as English does.
_BY_MARKS = {
    Marks(".", ","): "de es it nl da id tr el ro hr sl sr bs mk vi is ca gl pt",
    Marks(_SPACE, ","): "cs sk ru uk be pl fi sv nb nn no hu bg et lv lt de-AT pt-PT",
    Marks(_NARROW, ","): "fr fr-CH",
    Marks("\u2019", "."): "de-CH it-CH",
    Marks(): "es-MX es-US es-GT es-PA es-PE",
}
_MARKS = {tag: marks for marks, tags in _BY_MARKS.items() for tag in tags.split()}
_ENGLISH = re.compile("[,.]")
_DECIMAL = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.IGNORECASE)
_PLAIN = re.compile(r"[-+]?\d*\.\d+(e[-+]?\d+)?", re.IGNORECASE)
# Numbers of a sentence, but none that is a part of a name, a version, an address or a negative exponent.
_IN_WORDS = re.compile(r"(?<![\w.,:/@-])(\d{1,3}(,\d{3})+(\.\d+)?|\d+\.\d+)(?![.,/-]?\w)")


def marks() -> Marks:
    """Those of the reader; English ones where nobody reads."""
    best = request.accept_languages.best if has_request_context() else None
    language, _, rest = (best or "en").replace("_", "-").partition("-")
    region = rest.rpartition("-")[2].upper()
    return _MARKS.get(f"{language.lower()}-{region}") or _MARKS.get(language.lower()) or Marks()


def written(english: str) -> str:
    """A number as Python writes it with ``,`` and ``.``, in the reader's way."""
    own = marks()
    return _ENGLISH.sub(lambda mark: own.group if mark[0] == "," else own.point, english)


def told(sentence: str) -> str:
    """A sentence that a worker wrote for everybody, its numbers in the reader's way."""
    return _IN_WORDS.sub(lambda number: written(number[0]), sentence)


def shown(text: str) -> str:
    """A setting in a form's field: a plain decimal with the reader's mark, all else as it is."""
    return text.replace(".", marks().point) if _PLAIN.fullmatch(text) else text


def read(text: str) -> str:
    """What the reader typed into a field of a number: ``0,5`` is ``0.5`` where that is how they write it."""
    return text.replace(",", ".") if marks().point == "," and _DECIMAL.fullmatch(text) else text


def zone() -> ZoneInfo | None:
    """The reader's time zone, as their browser's script told it; None where there is no script, or no such zone."""
    name = request.cookies.get(ZONE_COOKIE, "")
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, LookupError):  # a path, a folder, a name that nobody knows
        return None
