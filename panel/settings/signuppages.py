"""Opening an account, where the operator lets everybody do so."""

from __future__ import annotations

from flask import Response, abort, current_app, render_template
from werkzeug.exceptions import TooManyRequests

from panel.settings import signup
from panel.settings.blueprint import blueprint
from panel.settings.forms import SignUpForm
from panel.web import access, limits
from panel.web.evenly import evenly


@blueprint.get("/signup")
@access.public
def sign_up() -> str:
    """The form."""
    _must_be_open()
    return render_template("settings/sign_up.html", form=SignUpForm())


@blueprint.post("/signup")
@access.public
@evenly
def send_sign_up() -> Response:
    """Mails a link, or word that the address has a login; the answer is the same for both."""
    _must_be_open()
    form = SignUpForm()
    if not form.validate():
        return Response(render_template("settings/sign_up.html", form=form), 422)
    wait = limits.hit_sign_up()
    if wait is not None:
        raise TooManyRequests(f"That was a little too often. Go on in {limits.in_words(wait)}.", retry_after=wait)
    # Somebody's inbox is not filled by whoever knows their address; and nobody is told how often it was tried.
    if limits.hit_letters_to(form.email.data, about="sign-up") is None:
        signup.ask(form.email.data, form.account_name.data)
    return Response(render_template("settings/signed_up.html", email=form.email.data))


def _must_be_open() -> None:
    if not current_app.extensions["ownpost"].signup_open:
        abort(404, "Nobody can sign up here by themselves. Ask the person who runs this Ownpost for an account.")
