"""Login and logout, the password, and API keys."""

from __future__ import annotations

import sqlalchemy as sa
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from shared import audit
from shared.db import utcnow
from shared.errors import InvalidInput, NotAuthorised, NotFound
from shared.tables import ApiKey
from web import auth, people
from web.pages.forms import FormFault
from web.pages.local import local_target
from web.services import services


def register(blueprint: Blueprint) -> None:
    """Add the routes."""
    blueprint.add_url_rule("/login", view_func=login, methods=["GET", "POST"])
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    blueprint.add_url_rule("/account", view_func=account)
    blueprint.add_url_rule("/account/password", view_func=change_password, methods=["POST"])
    blueprint.add_url_rule("/account/keys", view_func=create_key, methods=["POST"])
    blueprint.add_url_rule("/account/keys/<int:key_id>/revoke", view_func=revoke_key, methods=["POST"])


def login() -> ResponseReturnValue:
    """The login form; afterwards the page that was asked for."""
    wanted = local_target(request.values.get("next"))
    if request.method == "GET":
        return redirect(wanted, 303) if auth.session_person() else _login_form(wanted)
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    given = {"name": name, "password": password}
    missing = [FormFault(field, f"Enter your {field}.") for field, value in given.items() if not value]
    if missing:
        return _login_form(wanted, missing), 422
    try:
        person = auth.check_password(name, password)
    except NotAuthorised as error:
        return _login_form(wanted, [FormFault("name", error.message)]), error.status
    auth.log_in(person)
    return redirect(wanted, 303)


def _login_form(wanted: str, errors: list[FormFault] | None = None) -> str:
    name = request.form.get("name", "")
    untouched = people.is_untouched(services().database)
    return render_template("login.html", wanted=wanted, name=name, errors=errors or [], untouched=untouched)


def logout() -> ResponseReturnValue:
    auth.log_out()
    flash("You are logged out.")
    return redirect(url_for("pages.login"), 303)


def account() -> str:
    """The person's own page: password and API keys."""
    return _account_page()


def _account_page(errors: list[FormFault] | None = None, new_key: str | None = None) -> str:
    query = sa.select(ApiKey).where(ApiKey.person_id == auth.current_person().id).order_by(ApiKey.id.desc())
    with services().database.read() as session:
        keys = session.scalars(query).all()
    return render_template(
        "account.html", keys=keys, errors=errors or [], new_key=new_key, least=auth.MIN_PASSWORD, form=request.form
    )


def change_password() -> ResponseReturnValue:
    """A new password; the browser that set it stays logged in, all others must log in again."""
    old, new, again = (request.form.get(name, "") for name in ("old_password", "new_password", "new_password_again"))
    if new != again:
        fault = FormFault("new_password_again", "The two new passwords differ. Type the same one twice.")
        return _account_page([fault]), 422
    try:
        person = auth.change_password(auth.current_person().id, old, new)
    except NotAuthorised:
        return _account_page([FormFault("old_password", "The present password is wrong.")]), 422
    except InvalidInput as error:
        return _account_page([FormFault("new_password", error.message)]), error.status
    auth.log_in(person)
    flash("Your password is changed. Other browsers have to log in again.")
    return redirect(url_for("pages.account"), 303)


def create_key() -> ResponseReturnValue:
    """Make an API key and show it, this once."""
    label = request.form.get("label", "").strip()
    if not label:
        return _account_page([FormFault("label", "Say what the key is for.")]), 422
    with services().database.write() as session:
        key = people.create_key(session, auth.current_person().id, label)
    return _account_page(new_key=key)


def revoke_key(key_id: int) -> ResponseReturnValue:
    """Make a key of this person's useless."""
    person = auth.current_person()
    statement = (
        sa.update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.person_id == person.id, ApiKey.revoked_at.is_(None))
        .values(revoked_at=utcnow())
        .returning(ApiKey.prefix)
    )
    with services().database.write() as session:
        prefix = session.scalar(statement)
        if prefix is None:
            raise NotFound("key_unknown", "You have no such key that is in use.")
        audit.note(session, person.id, "key.revoke", prefix)
    flash(f"The key {prefix}… is revoked.")
    return redirect(url_for("pages.account"), 303)
