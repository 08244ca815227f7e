"""An image that crashes the decoder: it costs its own rows, never its neighbours', nor the worker its life for ever."""

from __future__ import annotations

from io import BytesIO

import pytest
import sqlalchemy as sa
from PIL.PngImagePlugin import PngInfo

from shared.tables import Region
from tests.factories import drawing, png
from tests.faults.night import Night, night_batch
from tests.faults.poison.sitecustomize import MARK


def deadly_png() -> bytes:
    """A sound picture for everybody but the stack's decoders, which die of its comment."""
    note, out = PngInfo(), BytesIO()
    note.add_text("Comment", MARK.decode())
    drawing(7).save(out, "PNG", pnginfo=note)
    return out.getvalue()


@pytest.mark.long
def test_a_poison_image_costs_its_own_rows(night: Night) -> None:
    """The specimen it is compared with, and the rows around it that use that specimen too, are scored."""
    extra = [("before", "7.png", "new.png"), ("poison", "poison.png", "new.png"), ("after", "new.png", "7.png")]
    job = night.submit(night_batch(extra, {"poison.png": deadly_png(), "new.png": png(4711)}))
    ended = night.stack.ended(job["id"])
    assert ended["state"] == "succeeded"
    answers = {answer[0]: answer for answer in night.answers(job)}
    assert answers["poison"][1:3] == ("unscorable", "crashed")
    assert [answers[name][1] in ("accept", "reject") for name in ("before", "after")] == [True, True]
    assert answers["before"][3] == pytest.approx(answers["after"][3])
    night.same([answer for answer in night.answers(job) if answer[0] not in ("before", "poison", "after")])
    night.nothing_lost_or_twice(job, len(night.expected) + len(extra))
    log = (night.stack.home / "logs" / "score.log").read_text()
    assert "SIGSEGV" in log, "no worker died of it"
    with night.database.read() as session:
        blamed = session.scalars(sa.select(Region.entry).where(Region.code == "crashed")).all()
    assert blamed == ["poison.png"]
