"""The clients' calls about webhooks, for both kinds of client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Any

Document = dict[str, Any]
PAGE = 100  # entries of the log that are fetched at a time


class WebhookCalls(ABC):
    """What :class:`web.client.Client` can do about webhooks; ``web.client.verify_webhook`` is for their receivers."""

    @abstractmethod
    def _call(self, method: str, path: str, **options: Any) -> Document:
        """The answer to one request."""

    def webhooks(self) -> list[Document]:
        """The webhooks of the key's owner, newest first."""
        found: list[Document] = self._call("GET", "/webhooks")["webhooks"]
        return found

    def add_webhook(self, url: str, label: str = "", scope: str = "own") -> Document:
        """Have ``url`` told when jobs end; of ``scope`` "all", also other people's. The answer alone has ``secret``."""
        return self._call("POST", "/webhooks", json={"url": url, "label": label, "scope": scope})

    def delete_webhook(self, webhook_id: str) -> None:
        self._call("DELETE", f"/webhooks/{webhook_id}")

    def test_webhook(self, webhook_id: str) -> Document:
        """Send it a test event; the answer is the delivery."""
        return self._call("POST", f"/webhooks/{webhook_id}/test")

    def deliveries(self, webhook_id: str, **filters: str) -> Iterator[Document]:
        """What it was sent, newest first, fetched a page at a time; ``state`` and ``job`` choose some."""
        query: dict[str, Any] = filters | {"limit": PAGE}
        while True:
            page = self._call("GET", f"/webhooks/{webhook_id}/deliveries", params=query)
            yield from page["deliveries"]
            if page["next"] is None:
                return
            query["before"] = page["next"]

    def delivery(self, webhook_id: str, event_id: str) -> Document:
        return self._call("GET", f"/webhooks/{webhook_id}/deliveries/{event_id}")

    def resend(self, webhook_id: str, event_id: str) -> Document:
        """Send an event again, under the id it has."""
        return self._call("POST", f"/webhooks/{webhook_id}/deliveries/{event_id}/resend")


class AsyncWebhookCalls(ABC):
    """The same to await."""

    @abstractmethod
    async def _call(self, method: str, path: str, **options: Any) -> Document:
        """The answer to one request."""

    async def webhooks(self) -> list[Document]:
        found: list[Document] = (await self._call("GET", "/webhooks"))["webhooks"]
        return found

    async def add_webhook(self, url: str, label: str = "", scope: str = "own") -> Document:
        return await self._call("POST", "/webhooks", json={"url": url, "label": label, "scope": scope})

    async def delete_webhook(self, webhook_id: str) -> None:
        await self._call("DELETE", f"/webhooks/{webhook_id}")

    async def test_webhook(self, webhook_id: str) -> Document:
        return await self._call("POST", f"/webhooks/{webhook_id}/test")

    async def deliveries(self, webhook_id: str, **filters: str) -> AsyncIterator[Document]:
        query: dict[str, Any] = filters | {"limit": PAGE}
        while True:
            page = await self._call("GET", f"/webhooks/{webhook_id}/deliveries", params=query)
            for delivery in page["deliveries"]:
                yield delivery
            if page["next"] is None:
                return
            query["before"] = page["next"]

    async def delivery(self, webhook_id: str, event_id: str) -> Document:
        return await self._call("GET", f"/webhooks/{webhook_id}/deliveries/{event_id}")

    async def resend(self, webhook_id: str, event_id: str) -> Document:
        return await self._call("POST", f"/webhooks/{webhook_id}/deliveries/{event_id}/resend")
