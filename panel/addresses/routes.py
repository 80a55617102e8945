"""Settings, Email: the outbound addresses, and the link that confirms one."""

from __future__ import annotations

import uuid
from typing import Final

from flask import Response, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts import service as accounts
from panel.addresses import service
from panel.addresses.forms import AddressForm, ConfirmForm, NameForm
from panel.servers import service as servers
from panel.web import access, limits

blueprint = access.blueprint("addresses", __name__)

_OFTEN: Final = "That was a little too often. Try again in {wait}."


@blueprint.get("/settings/email")
def index() -> str:
    """The outbound addresses; without any, the page is about adding one."""
    return _index(_empty_form())


@blueprint.post("/settings/email")
@access.owner
@access.sensitive
def add() -> Response | BaseResponse:
    """Adds an address and mails its link."""
    form = AddressForm()
    if not form.validate():
        return Response(_index(form), 422)
    try:
        _limit(form.email.data)
        address = service.add(email=form.email.data, display_name=form.display_name.data or "", by=_by())
    except TooManyRequests as often:
        return limits.at_field(form.email, often, lambda: _index(form))
    except service.AddressTaken as problem:
        form.email.errors = [str(problem)]
        return Response(_index(form), 422)
    flash(f"Added. We have mailed a link to {address.email}: open it to confirm the address.", "success")
    return _back()


@blueprint.post("/settings/email/<uuid:address_id>/name")
@access.owner
def rename(address_id: uuid.UUID) -> Response | BaseResponse:
    """Changes the name beside an address."""
    service.get(address_id)
    form = NameForm()
    if not form.validate():
        flash(" ".join(form.display_name.errors or ["That did not work. Try again."]), "error")
        return Response(_index(_empty_form()), 422)
    service.rename(address_id, form.display_name.data or "", by=_by())
    flash("Saved.", "success")
    return _back()


@blueprint.post("/settings/email/<uuid:address_id>/link")
@access.owner
def resend_link(address_id: uuid.UUID) -> BaseResponse:
    """Mails the link again."""
    address = service.get(address_id)
    _limit(address.email)
    service.send_link_again(address, by=_by())
    flash(f"We have mailed another link to {address.email}.", "success")
    return _back()


@blueprint.post("/settings/email/<uuid:address_id>/default")
@access.owner
@access.sensitive
def make_default(address_id: uuid.UUID) -> BaseResponse:
    """Makes it the address of campaigns that name none."""
    service.make_default(address_id, by=_by())
    flash("Campaigns that name no address now send from this one.", "success")
    return _back()


@blueprint.post("/settings/email/<uuid:address_id>/remove")
@access.owner
@access.sensitive
def remove(address_id: uuid.UUID) -> BaseResponse:
    """Removes an address with its mail server, unless something needs it."""
    try:
        service.remove(address_id, by=_by())
        flash("Removed.", "success")
    except service.AddressInUse as problem:
        flash(str(problem), "error")
    return _back()


@blueprint.route("/settings/email/confirm/<token>", methods=["GET", "POST"])
@access.public
def confirm(token: str) -> Response:
    """What the link leads to. GET only asks, as programs that look through letters open links too; POST confirms."""
    form = ConfirmForm()
    try:
        account_id, address_id, email = service.read_link(token)
        with db.account_scope(account_id):
            address = service.of_link(address_id, email)
            if request.method == "POST" and form.validate():
                service.confirm(address, way="link")
            words = {"address": address, "account": accounts.current(), "form": form}
            return Response(render_template("addresses/confirm.html", **words))
    except service.BadLink as problem:
        return Response(render_template("addresses/bad_link.html", problem=problem), 404)


def _index(form: AddressForm) -> str:
    rows = [(address, servers.for_address(address.id)) for address in service.all_addresses()]
    return render_template("addresses/index.html", rows=rows, form=form)


def _empty_form() -> AddressForm:
    return AddressForm(formdata=None, data={"display_name": accounts.current().name})


def _by() -> service.By:
    return service.By(user_id=current_user.id, ip=request.remote_addr or "")


def _limit(email: str) -> None:
    limits.require_mail(limits.hit_tests, _OFTEN, to=email, about="address", suspended=accounts.is_suspended())


def _back() -> BaseResponse:
    return redirect(url_for("addresses.index"), 303)
