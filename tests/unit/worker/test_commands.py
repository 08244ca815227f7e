from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shared.manifest import Row, read_manifest
from worker.commands import generate

SMALL_SET = ("--writers", "2", "--genuine", "4", "--forged", "3")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(generate, arguments)


def files(directory: Path) -> dict[str, bytes]:
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*.*")}


def manifest(directory: Path) -> list[Row]:
    return list(read_manifest(BytesIO((directory / "manifest.csv").read_bytes()), 10))


def test_writes_a_data_set_and_says_so(tmp_path: Path) -> None:
    result = run(str(tmp_path / "set"), *SMALL_SET)
    assert result.exit_code == 0
    assert "8 genuine signatures of 2 writers and 6 forgeries, seed 1" in result.stdout
    assert Counter(name.split("/")[1] for name in files(tmp_path / "set")) == {"genuine": 8, "forged": 6}


def test_json_is_the_only_thing_printed(tmp_path: Path) -> None:
    result = run(str(tmp_path), *SMALL_SET, "--seed", "9", "--json")
    assert json.loads(result.stdout) == {
        "directory": str(tmp_path), "writers": 2, "genuine": 8, "forged": 6, "seed": 9, "comparisons": 0,
    }  # fmt: skip
    assert result.stderr == ""


def test_the_seed_decides_the_images(tmp_path: Path) -> None:
    for name, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert run(str(tmp_path / name), *SMALL_SET, "--seed", seed).exit_code == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert not set(files(tmp_path / "one").values()) & set(files(tmp_path / "three").values())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    result = run(str(tmp_path), *SMALL_SET)
    assert result.exit_code == 1
    assert "is not empty" in result.stderr
    assert "--force" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_force_writes_beside_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    assert run(str(tmp_path), *SMALL_SET, "--force").exit_code == 0
    assert (tmp_path / "letter.txt").read_text() == "mine"
    assert len(files(tmp_path)) == 15


def test_pairs_are_a_manifest_that_verification_reads(tmp_path: Path) -> None:
    result = run(str(tmp_path), *SMALL_SET, "--pairs", "--json")
    rows = manifest(tmp_path)
    assert json.loads(result.stdout)["comparisons"] == len(rows) == 2 * (2 + 3)
    assert not [row.fault for row in rows if row.fault]
    last = rows[-1]
    assert last.external_id == "writer_0002-forged-03"
    assert last.questioned is not None
    assert last.questioned.entry == "writer_0002/forged/03.png"
    assert [image.entry for image in last.references] == ["writer_0002/genuine/01.png", "writer_0002/genuine/02.png"]
    named = {image.entry for row in rows for image in (row.questioned, *row.references) if image}
    assert named == set(files(tmp_path)) - {"manifest.csv"}


def test_no_signature_is_compared_with_itself(tmp_path: Path) -> None:
    run(str(tmp_path), "--writers", "1", "--genuine", "12", "--forged", "0", "--pairs")
    rows = manifest(tmp_path)
    assert len(rows) == 8
    assert all(row.questioned not in row.references for row in rows)


def test_pairs_need_a_reference_and_something_to_compare(tmp_path: Path) -> None:
    result = run(str(tmp_path / "set"), "--genuine", "1", "--pairs")
    assert result.exit_code == 2
    assert "at least 2" in result.stderr
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("option", ["--writers=0", "--forged=-1", "--seed=-1"])
def test_numbers_out_of_range_are_refused(tmp_path: Path, option: str) -> None:
    assert run(str(tmp_path / "set"), option).exit_code == 2


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(str(tmp_path / "file" / "set"), *SMALL_SET)
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


def test_the_command_does_without_torch() -> None:
    code = "import sys, worker.commands; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
