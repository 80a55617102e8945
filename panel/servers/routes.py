"""Manage Email: an outbound address's mail server, and its connection tests."""

from __future__ import annotations

import uuid

from flask import Response, abort, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.exceptions import NotFound, ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service as addresses
from panel.servers import page, service, testing, tries
from panel.servers.forms import FIELDS, TOUCHES, ServerForm
from panel.web import access, limits, steps

blueprint = access.blueprint("servers", __name__)

_BASE = "/settings/email/<uuid:address_id>/server"


@blueprint.app_template_global("server_troubles")
def server_troubles() -> list[service.Trouble]:
    """The account's servers that rest, for the banner of every page."""
    if not current_user.is_authenticated:
        return []
    if "scopes" in g:
        return service.troubles()
    with db.account_scope(current_user.account_id):  # a page for anybody, such as Help, has no scope of its own
        return service.troubles()


@blueprint.get(_BASE)
def edit(address_id: uuid.UUID) -> Response:
    """The form; for members, what is set."""
    return page.show(address_id)


@blueprint.post(_BASE)
@access.owner
@access.sensitive_if(lambda: request.form.get("action") in ("save", "draft"))  # a test changes nothing
def submit(address_id: uuid.UUID) -> Response | BaseResponse:
    """Test connection, Save, or Save as draft."""
    form = ServerForm()
    entry = form.entry(address_id)
    if entry is None:
        return page.show(address_id, form, status=422)
    action = request.form.get("action")
    if action == "draft":
        service.save_draft(address_id, entry, _by())
        return page.saved(address_id, "Kept as a draft. It is not used: mail goes out through the platform server.")
    if action == "save" and service.is_tested(address_id, entry):
        service.save(address_id, entry, _by())
        return page.saved(address_id, "Saved and on. Mail from this address goes out through your server.")
    return page.testing(address_id, _start(address_id, entry, save=action == "save"))


@blueprint.get(f"{_BASE}/usage")
def show_usage(address_id: uuid.UUID) -> str:
    """How much of the server's limits is used by now."""
    address = addresses.get(address_id)
    return render_template("servers/_usage.html", address=address, usage=page.usage(address_id))


@blueprint.post(f"{_BASE}/check/<name>")
@access.owner
def check(address_id: uuid.UUID, name: str) -> str:
    """A field that was left: what is wrong with it, and what looks like a slip."""
    if name not in FIELDS:
        raise NotFound
    form = ServerForm()
    form.entry(address_id)
    return page.fields(addresses.get(address_id), form, name, TOUCHES.get(name, ()))


@blueprint.post(f"{_BASE}/disable")
@access.owner
@access.sensitive
def disable(address_id: uuid.UUID) -> BaseResponse:
    """Turns the server off."""
    service.disable(address_id, _by())
    flash("Turned off. Mail from this address goes out through the platform server.", "success")
    return redirect(url_for("servers.edit", address_id=address_id), 303)


@blueprint.post(f"{_BASE}/remove")
@access.owner
@access.sensitive
def remove(address_id: uuid.UUID) -> BaseResponse:
    """Deletes the settings and the stored password."""
    service.remove(address_id, _by())
    flash("Removed, with its password. Mail from this address goes out through the platform server.", "success")
    return redirect(url_for("servers.edit", address_id=address_id), 303)


@blueprint.post(f"{_BASE}/fallback")
@access.owner
@access.sensitive
def fallback(address_id: uuid.UUID) -> BaseResponse:
    """Chooses what happens to letters while the server fails."""
    service.choose_fallback(address_id, fallback="fallback" in request.form, by=_by())
    return redirect(url_for("servers.edit", address_id=address_id), 303)


@blueprint.get(f"{_BASE}/tests/<task>")
def test(address_id: uuid.UUID, task: str) -> Response | BaseResponse:
    """The page with a test in it, as far as it is by now."""
    snapshot = testing.look(address_id, task)
    if snapshot is None:
        return redirect(url_for("servers.edit", address_id=address_id), 303)
    testing.come_back(task)
    return page.show(address_id, ServerForm.typed(snapshot.data["context"]), test=(task, snapshot.data))


@blueprint.get(f"{_BASE}/tests/<task>/stream")
def test_stream(address_id: uuid.UUID, task: str) -> Response:
    """A test's steps as they happen."""
    if testing.look(address_id, task) is None:
        raise NotFound
    testing.come_back(task)
    return steps.stream(db.account_id(), task, template="servers/_live.html", **page.test_urls(address_id, task))


@blueprint.post(f"{_BASE}/tests/<task>/cancel")
@access.owner
def cancel_test(address_id: uuid.UUID, task: str) -> Response | BaseResponse:
    """Stops a test, by its button or because its page was left."""
    if testing.look(address_id, task) is None:
        raise NotFound
    if "left" in request.form:
        testing.leave(task)
    else:
        testing.cancel(task)
    if request.headers.get("HX-Request"):
        return Response(status=204)
    return redirect(url_for("servers.test", address_id=address_id, task=task), 303)


def _start(address_id: uuid.UUID, entry: service.Entry, *, save: bool) -> str:
    if accounts.is_suspended():
        abort(403, limits.SUSPENDED)
    if wait := limits.hit_tests(db.account_id()):
        words = f"You have tested a lot in a short time. Test again in {limits.in_words(wait)}."
        raise TooManyRequests(words, retry_after=wait)
    if wait := tries.count_test(entry):
        words = (
            "This server has been tested a lot with this user name, or has not taken this password again and again. "
            f"Check the password, or test again in {limits.in_words(wait)}."
        )
        raise TooManyRequests(words, retry_after=wait)
    recipient = current_user.email
    try:
        return testing.start(testing.Test(address_id=address_id, entry=entry, recipient=recipient, save=save, by=_by()))
    except testing.CannotTest:
        raise ServiceUnavailable(
            "The machines that send mail cannot be reached right now, so nothing was tested or saved. Try again soon."
        ) from None


def _by() -> service.By:
    return service.By(user_id=current_user.id, ip=request.remote_addr or "")
