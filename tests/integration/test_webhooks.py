"""From a job submitted to the receiver that is told of its end, through every process of the stack."""

from __future__ import annotations

from pathlib import Path

from tests.factories import png, write_files
from tests.servers import Receiver, Stack, wait_for
from web.client import Document, verify_webhook


def test_the_end_of_a_job_reaches_its_receiver(stack: Stack, tmp_path: Path) -> None:
    write_files(tmp_path, {"q.png": png(1), "r.png": png(2)})
    with stack.client() as client, Receiver().running() as receiver:
        webhook = client.add_webhook(receiver.url)
        job = stack.json("submit", "verify", tmp_path / "q.png", tmp_path / "r.png", "--wait")

        def of_it() -> list[Document]:
            """What arrived of this job; jobs of other tests may end as well."""
            events = [verify_webhook(webhook["secret"], headers, body) for _, headers, body in receiver.got]
            return [event for event in events if event["data"]["id"] == job["id"]]

        assert wait_for(of_it, "the event", 30)[0]["type"] == "job.succeeded"

        def told() -> bool:
            (delivery,) = client.deliveries(webhook["id"], job=job["id"])
            return str(delivery["state"]) == "delivered"

        wait_for(told, "the log to say so", 10)
        client.delete_webhook(webhook["id"])
