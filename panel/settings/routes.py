"""Settings: the account itself; and, brought in here, its people, its API keys and signing up."""

from __future__ import annotations

from flask import Response, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from panel.accounts import service as accounts
from panel.settings import account as settings
from panel.settings import keypages, peoplepages, signuppages
from panel.settings.blueprint import blueprint, by
from panel.settings.forms import AccountForm
from panel.web import access

__all__ = ["blueprint", "keypages", "peoplepages", "signuppages"]


@blueprint.get("/settings/account")
def account() -> str:
    """Name, time zone, postal address; for members, what they are."""
    return _page(_form())


@blueprint.post("/settings/account")
@access.owner
def change_account() -> Response | BaseResponse:
    """Saves them."""
    form = _form()
    if not form.validate():
        return Response(_page(form), 422)
    told = {name: form[name].data for name in ("name", "time_zone", "postal_address")}
    try:
        settings.change(**told, by=by())
    except accounts.AlreadyThere as problem:
        form.name.errors = [str(problem)]
        return Response(_page(form), 422)
    flash("Saved.", "success")
    return redirect(url_for("settings.account"), 303)


def _form() -> AccountForm:
    present = accounts.current()
    form = AccountForm(obj=present)
    form.offer(present.time_zone)
    return form


def _page(form: AccountForm) -> str:
    return render_template("settings/account.html", form=form, account=accounts.current())
