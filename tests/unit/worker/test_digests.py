from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.storage import FolderStore
from shared.tables import ModelVersion
from worker.digests import LEAKS_NAMED, keep, load, pack, refuse_seen, summary_of

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def model(summary: dict[str, object]) -> ModelVersion:
    return ModelVersion(name="m", version=1, digest=f"sha256:{'12' * 32}", summary=summary)


def test_a_list_is_short_sorted_and_holds_each_image_once() -> None:
    packed = pack([B, A, B])
    assert packed == bytes.fromhex("a" * 32 + "b" * 32)
    assert summary_of(packed)["count"] == 2
    assert pack([C], packed) == pack([A, B, C])


def test_a_list_comes_back_only_as_it_was_told(store: FolderStore) -> None:
    packed = pack([A, B])
    told = model({"images_seen": summary_of(packed)})
    assert load(store, told) is None
    keep(store, told.digest, packed)
    assert load(store, told) == packed
    assert load(store, model({})) is None
    assert load(store, model({"images_seen": summary_of(pack([A]))})) is None


def test_a_model_made_without_images_of_people_needs_no_list(store: FolderStore) -> None:
    assert load(store, model({"images_seen": summary_of(b"")})) == b""


def test_an_image_seen_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"1 of 2 images .* m@1, the first is b.png") as told:
        refuse_seen(pack([B, C]), ["a.png", "b.png"], [A, B], "m@1")
    assert told.value.code == "leak"
    assert [fault.where for fault in told.value.faults] == ["b.png"]
    refuse_seen(pack([B, C]), ["a.png"], [A], "m@1")


def test_many_leaks_are_counted_and_some_are_named() -> None:
    many = [A] * (LEAKS_NAMED + 5)
    with pytest.raises(InvalidInput, match=f"{len(many)} of {len(many)} images") as told:
        refuse_seen(pack([A]), [f"{number}.png" for number in range(len(many))], many, "m@1")
    assert len(told.value.faults) == LEAKS_NAMED
