"""Settings, API keys."""

from __future__ import annotations

import uuid

from flask import Response, flash, redirect, render_template, url_for
from werkzeug.wrappers import Response as BaseResponse

from panel.settings import keys
from panel.settings.blueprint import blueprint, by
from panel.settings.forms import KeyForm
from panel.web import access


@blueprint.get("/settings/api-keys")
@access.owner
def api_keys() -> str:
    """The keys, and a form that makes one."""
    return _page(KeyForm(formdata=None))


@blueprint.post("/settings/api-keys")
@access.owner
@access.sensitive
def make_api_key() -> Response:
    """Makes a key; this answer is the only page that ever shows it."""
    form = KeyForm()
    if not form.validate():
        return Response(_page(form), 422)
    made = keys.make(form.label.data, form.scopes.data, by())
    return Response(_page(KeyForm(formdata=None), made=made, scopes=form.scopes.data))


@blueprint.post("/settings/api-keys/<uuid:key_id>/revoke")
@access.owner
@access.sensitive
def revoke_api_key(key_id: uuid.UUID) -> BaseResponse:
    """Ends a key at once."""
    keys.revoke(key_id, by())
    flash("Revoked. Programs that use this key are refused from now on.", "success")
    return redirect(url_for("settings.api_keys"), 303)


def _page(form: KeyForm, *, made: str | None = None, scopes: object = ()) -> str:
    return render_template("settings/api_keys.html", form=form, keys=keys.all_keys(), made=made, scopes=scopes)
