"""A person's webhooks, and the log of what each was told."""

from __future__ import annotations

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from pydantic import ValidationError

from shared.errors import Conflict, InvalidInput
from shared.webhooks import hooks
from shared.webhooks.hooks import WebhookSpec
from web import auth
from web.pages import paging
from web.pages.forms import FormFault
from web.pages.local import local_target
from web.services import services

LOG_SHOWN = 25


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    one = "/account/webhooks/<webhook_id>"
    blueprint.add_url_rule("/account/webhooks", view_func=webhooks)
    blueprint.add_url_rule("/account/webhooks", view_func=make_webhook, methods=["POST"])
    blueprint.add_url_rule(one, view_func=webhook)
    blueprint.add_url_rule(f"{one}/test", view_func=ping_webhook, methods=["POST"])
    blueprint.add_url_rule(f"{one}/delete", view_func=delete_webhook, methods=["POST"])
    blueprint.add_url_rule(f"{one}/events/<event_id>/resend", view_func=send_again, methods=["POST"])


def webhooks() -> str:
    """The person's webhooks, and the form for another."""
    return _page()


def _page(errors: list[FormFault] | None = None, secret: str | None = None) -> str:
    with services().database.read() as session:
        found = hooks.list_webhooks(session, auth.current_person().id)
    form = request.form if errors else {}
    return render_template("webhooks.html", webhooks=found, errors=errors or [], secret=secret, form=form)


def make_webhook() -> ResponseReturnValue:
    """Make a webhook and show its secret, this once."""
    fields = {name: request.form.get(name, "") for name in WebhookSpec.model_fields}
    allowed = services().settings.webhook_networks_allowed
    try:
        spec = WebhookSpec.model_validate({name: value for name, value in fields.items() if value.strip()})
        with services().database.write() as session:
            secret = hooks.make_webhook(session, spec, auth.current_person().id, allowed).secret
    except ValidationError as error:
        return _page([_fault(str(item["loc"][0])) for item in error.errors()]), 422
    except (InvalidInput, Conflict) as error:
        return _page([FormFault("url", error.message)]), error.status
    return _page(secret=secret)


def _fault(field: str) -> FormFault:
    words = {"url": "Give the address, https://HOST/PATH.", "label": "Use at most 80 characters."}
    return FormFault(field, words.get(field, "Choose your own jobs or all."))


def webhook(webhook_id: str) -> str:
    """One webhook: what it was told, and how that went."""
    with services().database.read() as session:
        found = hooks.find_webhook(session, webhook_id, auth.current_person().id)
        deliveries, cursor = hooks.list_deliveries(session, found, paging.whole("before"), LOG_SHOWN)
    return render_template("webhook.html", webhook=found, deliveries=deliveries, cursor=cursor)


def ping_webhook(webhook_id: str) -> ResponseReturnValue:
    """Send a test event."""
    with services().database.write() as session:
        hooks.ping_webhook(session, webhook_id, auth.current_person().id)
    flash("A test is on its way. Reload the page in a few seconds to see how it went.")
    return redirect(url_for("pages.webhook", webhook_id=webhook_id), 303)


def delete_webhook(webhook_id: str) -> ResponseReturnValue:
    """Tell it nothing more."""
    with services().database.write() as session:
        hooks.delete_webhook(session, webhook_id, auth.current_person().id)
    flash("The webhook is deleted; it is told nothing more.")
    return redirect(url_for("pages.webhooks"), 303)


def send_again(webhook_id: str, event_id: str) -> ResponseReturnValue:
    """Send an event again; afterwards back to the page that asked."""
    person_id = auth.current_person().id
    with services().database.write() as session:
        found = hooks.find_webhook(session, webhook_id, person_id)
        hooks.send_again(session, found, event_id, person_id)
    flash("The event is sent again.")
    return redirect(local_target(request.form.get("next")), 303)
