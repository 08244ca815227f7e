from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from worker.demo import demo, write_manifest


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "countersign.db").write_text("a bank's results")
    done = CliRunner().invoke(demo, ["--home", str(tmp_path)])
    assert done.exit_code == 1
    assert "not empty" in done.output
    assert (tmp_path / "countersign.db").read_text() == "a bank's results"


def test_the_manifest_pairs_each_writer_with_itself_only(tmp_path: Path) -> None:
    for writer in ("anna", "berta"):
        for kind in ("genuine", "forged"):
            folder = tmp_path / writer / kind
            folder.mkdir(parents=True)
            for number in range(12):
                (folder / f"{number}.png").touch()
    write_manifest(tmp_path)
    rows = (tmp_path / "manifest.csv").read_text().splitlines()[1:]
    pairs = [row.split(",") for row in rows]
    assert len({pair[0] for pair in pairs}) == len(pairs)
    for name, questioned, reference in pairs:
        assert questioned != reference
        assert questioned.split("/")[0] == reference.split("/")[0] == name.split("-")[0]
        assert reference.split("/")[1] == "genuine"
        assert questioned.split("/")[1] == name.rsplit("-", 1)[1]
