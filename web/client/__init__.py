"""Clients of the API, for programs that wait and for those that await. The command line uses the first."""

from shared.webhooks.signing import verify_webhook
from web.client.asynchronous import AsyncClient
from web.client.common import ApiError, Document, Files, ended, find_server
from web.client.sync import Client

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "Document",
    "Files",
    "ended",
    "find_server",
    "verify_webhook",  # for programs that receive webhooks
]
