from __future__ import annotations

import pytest

from shared.categories import Probe, read_folders
from shared.errors import InvalidInput

GOOD = ["categories/b/1.png", "categories/a/2.JPG", "categories/a/1.png", "test/x.png"]


@pytest.mark.parametrize("outer", ["", "set/", "deep/er/", "test/", "./"])
def test_folders_may_lie_within_others(outer: str) -> None:
    found = read_folders(outer + name for name in GOOD)
    assert found.categories == {
        "a": (f"{outer}categories/a/1.png", f"{outer}categories/a/2.JPG"),
        "b": (f"{outer}categories/b/1.png",),
    }
    assert found.tests == (Probe(f"{outer}test/x.png", None),)
    assert found.skipped == ()


def test_a_folder_below_test_is_the_label() -> None:
    found = read_folders([*GOOD, "test/a/1.png", "test/stranger/monday/1.png"])
    assert [(probe.entry, probe.truth) for probe in found.tests] == [
        ("test/a/1.png", "a"),
        ("test/stranger/monday/1.png", "stranger"),
        ("test/x.png", None),
    ]


def test_backslashes_and_capitals_are_read_as_well() -> None:
    found = read_folders(["Categories\\a\\1.png", "TEST\\a\\1.png"])
    assert found.categories == {"a": ("Categories\\a\\1.png",)}
    assert found.tests == (Probe("TEST\\a\\1.png", "a"),)


def test_a_category_may_be_called_like_a_folder() -> None:
    found = read_folders(["categories/categories/1.png", "categories/test/1.png", "test/categories/1.png"])
    assert list(found.categories) == ["categories", "test"]
    assert found.tests == (Probe("test/categories/1.png", "categories"),)


def test_what_is_left_out_is_listed_with_its_reason() -> None:
    odd = {
        "categories/loose.png": "no_category",
        "elsewhere/1.png": "misplaced",
        "readme.txt": "not_an_image",
        "test/notes.txt": "not_an_image",
        "__MACOSX/test/1.png": "not_an_image",
        "test/.1.png": "not_an_image",
        "test/Thumbs.db": "not_an_image",
        f"test/{'n' * 256}/1.png": "name_too_long",
        f"test/{'n/' * 500}1.png": "name_too_long",
    }
    found = read_folders([*GOOD, "categories/", "test/empty/", *odd])
    assert {fault.where: fault.code for fault in found.skipped} == {name[:255]: code for name, code in odd.items()}
    assert all(fault.message for fault in found.skipped)
    assert len(found.tests) == 1


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([], "no_categories"),
        (["a.png", "test/1.png"], "no_categories"),
        (["categories/1.png", "test/1.png"], "no_categories"),
        (["categories/a/1.txt", "test/1.png"], "no_categories"),
        (["categories/a/1.png"], "no_test_images"),
        (["categories/a/1.png", "test/1.txt", "other/test/1.png"], "no_test_images"),
    ],
)
def test_what_cannot_be_identified_says_what_is_expected(names: list[str], code: str) -> None:
    with pytest.raises(InvalidInput, match=r"categories/anna/1\.png") as caught:
        read_folders(names)
    assert caught.value.code == code
