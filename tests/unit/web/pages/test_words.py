from __future__ import annotations

import pytest

from web.pages.words import fixed, in_a_hundred, lasting, number, percent, plural, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),
        (0.25, "0.2 s"),
        (9.96, "10.0 s"),
        (59, "59 s"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_in_their_two_largest_units(seconds: float | None, words: str) -> None:
    assert lasting(seconds).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("count", "words"), [(999, "999 bytes"), (1500, "1.5 KB"), (250_000_000, "250 MB"), (2e13, "20,000 GB")]
)
def test_sizes(count: int, words: str) -> None:
    assert size(count) == words


def test_numbers() -> None:
    assert number(1234567) == "1,234,567"
    assert number(None) == "–"
    assert fixed(0.25) == "0.2500"
    assert percent(0.1234) == "12.3\u00a0%"
    assert percent(None) == "–"
    assert (plural(1, "epoch"), plural(2000, "epoch")) == ("1 epoch", "2,000 epochs")


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.35, "about 35 in 100"),
        (0.02, "about 2 in 100"),
        (0.01, "about 1 in 100"),
        (0.005, "about 1 in 200"),
        (0.0, "hardly any"),
    ],
)
def test_shares_are_counted_as_people_do(share: float, words: str) -> None:
    assert in_a_hundred(share) == words
