"""Numbers as the reader writes them, on the pages and in their fields."""

from __future__ import annotations

import io

import pytest
from flask import Flask

from tests.factories import png, zip_of
from tests.unit.web.pages.conftest import Browser
from web.locales import read, shown, told, written
from web.pages.words import fixed, number, percent, signed, size

WEB = Flask(__name__)


@pytest.mark.parametrize(
    ("languages", "number"),
    [
        ("", "1,234,567.8"),
        ("en-GB,de;q=0.5", "1,234,567.8"),
        ("de", "1.234.567,8"),
        ("de-CH, de;q=0.9", "1\u2019234\u2019567.8"),
        ("fr-FR", "1\u202f234\u202f567,8"),
        ("pl;q=0.3, sv", "1\u00a0234\u00a0567,8"),
        ("es-MX", "1,234,567.8"),
        ("zh-Hant-TW", "1,234,567.8"),
    ],
)
def test_marks_of_the_language_that_is_preferred(languages: str, number: str) -> None:
    with WEB.test_request_context(headers={"Accept-Language": languages} if languages else {}):
        assert written("1,234,567.8") == number


def test_words_and_fields_of_a_german_reader() -> None:
    with WEB.test_request_context(headers={"Accept-Language": "de"}):
        words = [number(12345), fixed(0.25), percent(0.014), signed(-1.5), size(1500)]
        assert words == ["12.345", "0,2500", "1,4\u00a0%", "\u22121,50", "1,5 KB"]
        assert (shown("0.001"), shown("grey-ink"), shown("writer.1")) == ("0,001", "grey-ink", "writer.1")
        assert (read("0,5"), read("0.5"), read("1,5e-3"), read("1,2,3")) == ("0.5", "0.5", "1.5e-3", "1,2,3")


@pytest.mark.parametrize(
    ("stored", "german"),
    [
        ("It has 12,000 bytes; at most 1,234,567.5 are read.", "It has 12.000 bytes; at most 1.234.567,5 are read."),
        (
            "They cost more (Cllr above 1; 1.03). At 0.25, 3 of 4.",
            "They cost more (Cllr above 1; 1,03). At 0,25, 3 of 4.",
        ),
        (
            "scan-1.5.png, a_2.5, v0.1.0, 10.0.0.1, 1.5e-3, x1,000",
            "scan-1.5.png, a_2.5, v0.1.0, 10.0.0.1, 1.5e-3, x1,000",
        ),
        ("writers 1,2,3 and 1.2/3", "writers 1,2,3 and 1.2/3"),
    ],
)
def test_numbers_of_a_stored_sentence_are_the_readers_and_names_stay(stored: str, german: str) -> None:
    with WEB.test_request_context(headers={"Accept-Language": "de"}):
        assert told(stored) == german
    with WEB.test_request_context(headers={"Accept-Language": "en"}):
        assert told(stored) == stored


def test_an_english_reader_has_no_decimal_comma() -> None:
    assert read("0,5") == "0,5"


def test_a_form_takes_a_decimal_comma_and_gives_it_back(browser: Browser) -> None:
    browser.client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "de-DE,de;q=0.9"
    assert 'name="learning_rate" type="text" value="0,001"' in browser.text("/train")
    archive = (io.BytesIO(zip_of({"anna/1.png": png(1)})), "own.zip")
    refused = browser.post("/train", archive=archive, learning_rate="0,02", epochs="many")
    assert 'value="0,02"' in refused.text
    assert "Epochs must be a whole number." in refused.text
    assert "Learning rate must" not in refused.text
