from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.errors import Conflict, NotFound, StorageFull, Unavailable
from shared.storage import STALE_SECONDS, FolderStore, open_store, pieces_of


def files_in(store: FolderStore) -> list[str]:
    return sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to write files over ``size`` bytes, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails instead of ending the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_is_put_is_there(store: FolderStore) -> None:
    stored = store.put("uploads/one", [b"ab", b"", b"c"])
    assert stored.digest == f"sha256:{hashlib.sha256(b'abc').hexdigest()}"
    assert stored.size == 3
    assert store.exists("uploads/one")
    with store.open("uploads/one") as file:
        assert file.read() == b"abc"
        file.seek(1)
        assert file.read() == b"bc"
    assert files_in(store) == ["uploads/one"]


def test_putting_again_replaces(store: FolderStore) -> None:
    store.put("views/1-sent.png", [b"old"])
    store.put("views/1-sent.png", [b"new"])
    with store.open("views/1-sent.png") as file:
        assert file.read() == b"new"


def test_a_source_that_breaks_leaves_nothing(store: FolderStore) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"first half"
        raise ConnectionError("the sender is gone")

    with pytest.raises(ConnectionError):
        store.put("uploads/one", breaking())
    assert files_in(store) == []


def test_several_are_put_at_a_time(store: FolderStore) -> None:
    stored = store.put_all([("uploads/a", [b"one", b" and"]), ("uploads/b", [b"two"]), ("views/c", [])])
    assert [(each.key, each.size) for each in stored] == [("uploads/a", 7), ("uploads/b", 3), ("views/c", 0)]
    for each, content in zip(stored, (b"one and", b"two", b""), strict=True):
        with store.open(each.key) as file:
            assert file.read() == content
        assert each.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert list(store.root.glob("staging/*")) == []


def test_of_several_none_is_put_where_a_source_breaks(store: FolderStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.EIO, "the sender is gone")

    with pytest.raises(OSError, match="gone"):
        store.put_all([("uploads/a", [b"one"]), ("uploads/b", broken())])
    assert not store.exists("uploads/a")
    assert list(store.root.glob("staging/*")) == []


def test_a_source_that_breaks_leaves_the_old_blob(store: FolderStore) -> None:
    store.put("uploads/one", [b"old"])

    def breaking() -> Iterator[bytes]:
        yield b"new"
        raise ConnectionError("the sender is gone")

    with pytest.raises(ConnectionError):
        store.put("uploads/one", breaking())
    assert files_in(store) == ["uploads/one"]
    with store.open("uploads/one") as file:
        assert file.read() == b"old"


def test_a_full_disk_leaves_nothing(store: FolderStore) -> None:
    with largest_file(64 * 1024), pytest.raises(StorageFull) as caught:
        store.put("uploads/big", [bytes(2**20)])
    assert caught.value.code == "storage_full"
    assert files_in(store) == []
    store.put("uploads/small", [b"fits"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_other_signs_of_a_full_disk(store: FolderStore, number: int) -> None:
    def full() -> Iterator[bytes]:
        yield b"x"
        raise OSError(number, "no room")

    with pytest.raises(StorageFull):
        store.put("uploads/one", full())


def test_other_faults_of_the_disk_are_not_taken_for_a_full_one(store: FolderStore) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        store.put("uploads/one", broken())


def test_absent_blobs(store: FolderStore) -> None:
    assert not store.exists("uploads/none")
    store.delete("uploads/none")
    with pytest.raises(NotFound) as caught:
        store.open("uploads/none")
    assert caught.value.code == "blob_missing"


def test_a_folder_that_is_away_is_no_empty_one(store: FolderStore) -> None:
    """It is not mounted, say: what it holds is not gone, and nothing may be written in its place."""
    store.put("uploads/one", [b"x"])
    away = store.root.rename(store.root.with_name("away"))
    store.root.mkdir()
    for act in (
        lambda: store.open("uploads/one"),
        lambda: store.length("uploads/one"),
        lambda: store.put("uploads/two", [b"y"]),
        lambda: store.extend("partial/one", 0, b"y"),
        lambda: store.move("uploads/one", "uploads/two"),
        lambda: store.loosen("uploads/two"),
    ):
        with pytest.raises(Unavailable) as caught:
            act()
        assert caught.value.code == "storage_unavailable"
    assert list(store.root.iterdir()) == []
    store.root.rmdir()
    away.rename(store.root)
    assert store.length("uploads/one") == 1


def test_delete(store: FolderStore) -> None:
    store.put("uploads/one", [b"x"])
    store.delete("uploads/one")
    assert files_in(store) == []


@pytest.mark.parametrize(
    "key", ["../etc/passwd", "uploads/../x", "uploads/..", "uploads/.", "/etc/passwd", "uploads/", "a/b/c", "a/b\n", ""]
)
def test_keys_never_lead_elsewhere(store: FolderStore, key: str) -> None:
    with pytest.raises(ValueError, match="not a blob key"):
        store.put(key, [b"x"])
    with pytest.raises(ValueError, match="not a blob key"):
        store.open(key)


def test_open_store(tmp_path: Path) -> None:
    for url in (str(tmp_path / "a"), f"file://{tmp_path / 'b'}"):
        store = open_store(url)
        store.put("uploads/one", [b"x"])
    assert (tmp_path / "b" / "uploads" / "one").exists()
    with pytest.raises(ValueError, match="s3"):
        open_store("s3://bucket")


def test_pieces_of_a_stream() -> None:
    data = bytes(range(256)) * 10_000
    pieces = list(pieces_of(io.BytesIO(data)))
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == 2**20


def test_what_a_killed_process_left_half_written_goes_after_a_day(tmp_path: Path) -> None:
    FolderStore(tmp_path)
    old, fresh = tmp_path / "staging" / "old", tmp_path / "staging" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (0, time.time() - STALE_SECONDS - 60))
    FolderStore(tmp_path)
    assert list((tmp_path / "staging").iterdir()) == [fresh]


def test_a_blob_is_long_loose_a_day_after_it_was_loosened_and_written(store: FolderStore) -> None:
    ages = {"uploads/old": (2, 2), "uploads/slow": (2, 0), "partial/new": (0, 2), "uploads/none": (2, None)}
    for key, (loosened, written) in {**ages, "uploads/fast.2": (2, 2)}.items():
        store.loosen(key)
        if written is not None:
            store.put(key, [b"x"])
            aged(store.root / key, written)
        aged(store.root / "loose" / key.replace("/", ".", 1), loosened)
    store.fasten("uploads/fast.2")
    assert sorted(store.long_loose()) == ["uploads/none", "uploads/old"]
    store.delete("uploads/old")
    assert store.long_loose() == ["uploads/none"]
    with pytest.raises(ValueError, match="not a blob key"):
        store.loosen("../elsewhere")


def aged(path: Path, days: float) -> None:
    """Have a file look as if it was written so many days and a minute ago."""
    os.utime(path, (0, time.time() - STALE_SECONDS * days - 60))


def test_a_blob_grows_at_its_end_only(store: FolderStore) -> None:
    assert store.length("partial/one") == 0
    store.extend("partial/one", 0, b"ab")
    for wrong in (0, 1, 3):
        with pytest.raises(Conflict) as caught:
            store.extend("partial/one", wrong, b"x")
        assert caught.value.code == "upload_offset"
    store.extend("partial/one", 2, b"c")
    assert store.length("partial/one") == 3
    store.move("partial/one", "uploads/one")
    assert files_in(store) == ["uploads/one"]
    with store.open("uploads/one") as file:
        assert file.read() == b"abc"
    with pytest.raises(NotFound):
        store.move("partial/one", "uploads/two")


def test_what_finds_room_in_a_growing_blob_is_kept(store: FolderStore) -> None:
    content = bytes(range(250)) * 8
    with largest_file(1000), pytest.raises(StorageFull):
        store.extend("partial/one", 0, content)
    assert store.length("partial/one") == 1000
    store.extend("partial/one", 1000, content[1000:])
    with store.open("partial/one") as file:
        assert file.read() == content


def test_what_was_drawn_long_ago_goes(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert store.expire("views", 60) == 0  # nobody has looked at anything yet
    for key in ("views/old.png", "views/new.png", "uploads/old"):
        store.put(key, [b"x"])
    for key in ("views/old.png", "uploads/old"):
        os.utime(tmp_path / key, (0, time.time() - 90))
    assert store.expire("views", 60) == 1
    assert [store.exists(key) for key in ("views/old.png", "views/new.png", "uploads/old")] == [False, True, True]
