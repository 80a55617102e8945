"""Settings, People: who signs in to the account, and the invitations by which they come."""

from __future__ import annotations

import uuid
from typing import Final

from flask import Response, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response as BaseResponse

from panel.accounts import service as accounts
from panel.settings import invitations, service
from panel.settings.blueprint import blueprint, by
from panel.settings.forms import AcceptForm, InviteForm
from panel.web import access, limits, passwords

_OFTEN: Final = "You have invited a lot of people in a short time. Go on in {wait}."


@blueprint.get("/settings/users")
def users() -> str:
    """The account's people; for owners, the invitations too."""
    return _page(InviteForm(formdata=None))


@blueprint.post("/settings/users")
@access.owner
@access.sensitive
def invite_user() -> Response | BaseResponse:
    """Invites somebody by a letter."""
    form = InviteForm()
    if not form.validate():
        return Response(_page(form), 422)
    try:
        _limit(form.email.data)
        service.invite(form.email.data, form.role.data, by())
    except TooManyRequests as often:
        return limits.at_field(form.email, often, lambda: _page(form))
    except service.AlreadyHere as problem:
        form.email.errors = [str(problem)]
        return Response(_page(form), 422)
    flash(f"Invited. A letter with a link is on its way to {form.email.data}.", "success")
    return _back()


@blueprint.post("/settings/users/invitations/<uuid:invitation_id>/resend")
@access.owner
@access.sensitive
def resend_invitation(invitation_id: uuid.UUID) -> BaseResponse:
    """Mails another link."""
    _limit(service.invitation(invitation_id).email)
    email = service.invite_again(invitation_id, by())
    flash(f"Another link is on its way to {email}. The one before no longer works.", "success")
    return _back()


@blueprint.post("/settings/users/invitations/<uuid:invitation_id>/withdraw")
@access.owner
@access.sensitive
def withdraw_invitation(invitation_id: uuid.UUID) -> BaseResponse:
    """Takes an invitation back."""
    service.withdraw(invitation_id, by())
    flash("Withdrawn. Its link no longer works.", "success")
    return _back()


@blueprint.post("/settings/users/<uuid:user_id>/role")
@access.owner
@access.sensitive
def change_role(user_id: uuid.UUID) -> Response | BaseResponse:
    """Makes an owner a member, or the other way round."""
    try:
        user = service.change_role(user_id, request.form.get("role", ""), by())
    except (service.LastOwner, service.NoSuchRole) as problem:
        return Response(_page(InviteForm(formdata=None), problem=str(problem)), 422)
    flash(f"{user.email} is now {'an owner' if user.is_owner else 'a member'}.", "success")
    return _back()


@blueprint.post("/settings/users/<uuid:user_id>/remove")
@access.owner
@access.sensitive
def remove_user(user_id: uuid.UUID) -> Response | BaseResponse:
    """Removes a person; what they are signed in with ends at once."""
    try:
        user = service.remove(user_id, by())
    except service.LastOwner as problem:
        return Response(_page(InviteForm(formdata=None), problem=str(problem)), 422)
    flash(f"{user.email} is removed and signed out everywhere.", "success")
    return _back()


@blueprint.route("/invitation/<token>", methods=["GET", "POST"])
@access.public
def invitation(token: str) -> Response | BaseResponse:
    """What the link in an invitation leads to: a login is made by choosing name and password."""
    form = AcceptForm()
    try:
        asked = invitations.read(token)
        if not (request.method == "POST" and form.validate()):
            status = 422 if form.errors else 200
            return Response(render_template("settings/invitation.html", asked=asked, form=form), status)
        hashed = passwords.hashed(form.password.data)
        invitations.accept(token, name=form.name.data, password_hash=hashed, ip=request.remote_addr or "")
    except invitations.BadLink as problem:
        return Response(render_template("settings/bad_link.html", problem=problem), 404)
    return _joined(asked.email)


def _joined(email: str) -> BaseResponse:
    if current_user.is_authenticated:
        # The way to the sign-in form would end on Home, as whoever is signed in here.
        words = f"The login of {email} is ready. Here {current_user.email} is signed in: sign out to use it."
        flash(words, "success")
        return redirect("/", 303)
    flash("Your login is ready. Sign in with it.", "success")
    return redirect(url_for("security.login"), 303)


def _page(form: InviteForm, *, problem: str | None = None) -> str:
    words = {"people": service.people(), "invitations": service.invitations(), "days": invitations.DAYS}
    return render_template("settings/users.html", form=form, problem=problem, me=current_user.id, **words)


def _limit(email: str) -> None:
    limits.require_mail(limits.hit_invitations, _OFTEN, to=email, about="invitation", suspended=accounts.is_suspended())


def _back() -> BaseResponse:
    return redirect(url_for("settings.users"), 303)
