"""Sign-in & security: password, authenticator app, passkeys, recovery codes; and the second step of a sign-in."""

from __future__ import annotations

import uuid

import segno
from flask import Response, current_app, flash, jsonify, redirect, render_template, request, session, url_for
from flask.blueprints import BlueprintSetupState
from flask_login import current_user
from flask_wtf.csrf import generate_csrf
from werkzeug.exceptions import NotFound, TooManyRequests
from werkzeug.wrappers import Response as BaseResponse

from panel import db
from panel.accounts.service import User
from panel.config import Settings
from panel.signin import challenges, gate, passkeys, service, signins
from panel.signin.forms import CodeForm, PasskeyForm, PasskeyNameForm, RecoveryForm
from panel.web import access, limits, sessions, throttle

blueprint = access.blueprint("signin", __name__)

_BASE = "/settings/security"
_PREPARED = "authenticator"  # in the session: the id of the key that this sign-in has made for an app


@blueprint.record_once
def _stand_at_the_gate(state: BlueprintSetupState) -> None:
    state.app.extensions["security"].two_factor_plugins = gate.Gate()


@blueprint.route("/login/second", methods=["GET", "POST"])
@access.public
def second() -> Response | BaseResponse:
    """The second step: a code, a recovery code or a passkey."""
    user = gate.waiting()
    if user is None:
        return redirect(url_for("security.login"), 303)
    with db.account_scope(user.account_id):
        if request.method == "POST":
            return _try(user)
        return _ask(user)


@blueprint.get("/login/state")
@access.public
def state() -> Response:
    """Who is signed in, and the token of their forms: what a page asks before it sends what was typed."""
    return jsonify(person=str(current_user.id) if current_user.is_authenticated else "", csrf=generate_csrf())


@blueprint.get(_BASE)
def show() -> str:
    """What is set up."""
    return _page(PasskeyNameForm(formdata=None))


@blueprint.post(f"{_BASE}/authenticator")
@access.sensitive
def prepare_authenticator() -> BaseResponse:
    """Makes a key for an app."""
    session[_PREPARED] = service.prepare_authenticator(_user())
    return redirect(url_for("signin.authenticator"), 303)


@blueprint.get(f"{_BASE}/authenticator")
def authenticator() -> Response | BaseResponse:
    """The key as a picture, until a code has proved that the app has it."""
    # A link cannot ask for the password: where it was given a while ago, the way leads over the button that does.
    if not sessions.is_recent():
        return _begin_again()
    return _set_up(CodeForm(formdata=None))


@blueprint.post(f"{_BASE}/authenticator/confirm")
@access.sensitive
def confirm_authenticator() -> Response | BaseResponse:
    """Turns the app on."""
    form = CodeForm()
    if not form.validate():
        return _set_up(form, 422)
    if not service.confirm_authenticator(_by(), session.get(_PREPARED), form.code.data):
        form.code.errors = [_WRONG_CODE]
        return _set_up(form, 422)
    return _done("Your authenticator app is set up. From now on a sign-in asks for its code.")


@blueprint.post(f"{_BASE}/authenticator/remove")
@access.sensitive
def remove_authenticator() -> BaseResponse:
    """Takes the app away."""
    service.remove_authenticator(_by())
    gate.sign_out_elsewhere(_user())
    flash("The authenticator app is removed. You are signed out everywhere else.", "success")
    return redirect(url_for("signin.show"), 303)


@blueprint.post(f"{_BASE}/recovery-codes")
@access.sensitive
def make_recovery_codes() -> BaseResponse | str:
    """New codes in place of the old ones."""
    if not service.factors(_user().id).on:
        return redirect(url_for("signin.show"), 303)
    return render_template("signin/codes.html", codes=service.make_recovery_codes(_by()), notice=None)


@blueprint.post(f"{_BASE}/passkeys/new")
@access.sensitive
def new_passkey() -> Response | BaseResponse:
    """Has the browser make one."""
    form = PasskeyNameForm()
    if not form.validate():
        return Response(_page(form), 422)
    asked = passkeys.ask_for_new(_user(), _site())
    challenges.put("new", asked.challenge)
    answer = PasskeyForm(formdata=None, data={"name": form.name.data})
    return Response(render_template("signin/passkey.html", options=asked.options, form=answer))


@blueprint.post(f"{_BASE}/passkeys")
@access.sensitive
def add_passkey() -> BaseResponse | Response:
    """Keeps what the browser made."""
    form, challenge = PasskeyForm(), challenges.take("new")
    name, answer = form.name.data or "Passkey", form.credential.data or ""
    if challenge and passkeys.add(_by(), _site(), challenge=challenge.text, answer=answer, name=name):
        return _done("The passkey is added. From now on a sign-in asks for it.")
    flash("The browser’s answer could not be used, or that passkey is here already. Try again.", "error")
    return redirect(url_for("signin.show"), 303)


@blueprint.post(f"{_BASE}/passkeys/<uuid:passkey_id>/remove")
@access.sensitive
def remove_passkey(passkey_id: uuid.UUID) -> BaseResponse:
    """Takes a passkey away."""
    passkeys.remove(_by(), passkey_id)
    gate.sign_out_elsewhere(_user())
    flash("The passkey is removed. You are signed out everywhere else.", "success")
    return redirect(url_for("signin.show"), 303)


@blueprint.post(f"{_BASE}/sign-out-elsewhere")
@access.sensitive
def sign_out_elsewhere() -> BaseResponse:
    """Ends every other session."""
    gate.sign_out_elsewhere(_user())
    flash("You are signed out everywhere else.", "success")
    return redirect(url_for("signin.show"), 303)


@blueprint.post(f"{_BASE}/sign-ins/<sign_in>/end")
@access.sensitive
def end_sign_in(sign_in: str) -> BaseResponse:
    """Ends one other session."""
    signins.end_own(_user().id, sign_in)
    flash("That browser is signed out.", "success")
    return redirect(url_for("signin.show"), 303)


_WRONG_CODE = (
    "That code is not right, or was used already. Wait for the next one; if that is wrong too, set your phone’s clock."
)


def _try(user: User) -> Response | BaseResponse:
    wait = throttle.hit_code(user)
    if wait is not None:
        words = f"That was a lot of wrong codes in a short time. Try again in {limits.in_words(wait)}."
        raise TooManyRequests(words, retry_after=wait)
    by = service.By(user, request.remote_addr or "")
    code, recovery, answer = CodeForm(), RecoveryForm(), PasskeyForm()
    if answer.credential.data:
        challenge, where = challenges.take("second"), passkeys.site(_settings().public_url)
        if challenge and where and passkeys.takes(user.id, where, challenge=challenge, answer=answer.credential.data):
            return gate.enter(user, "passkey")
        return _ask(user, problem="That passkey was not accepted. Try again, or use another way.")
    if "recovery_code" in request.form:
        if recovery.validate() and service.takes_recovery_code(by, recovery.recovery_code.data):
            return gate.enter(user, "recovery code")
        recovery.recovery_code.errors = recovery.recovery_code.errors or ["That code is not right, or was used."]
        return _ask(user, recovery=recovery)
    if code.validate() and service.takes_code(user.id, code.code.data):
        return gate.enter(user, "authenticator")
    code.code.errors = code.code.errors or [_WRONG_CODE]
    return _ask(user, code=code)


def _ask(
    user: User, *, code: CodeForm | None = None, recovery: RecoveryForm | None = None, problem: str | None = None
) -> Response:
    found, where, options = service.factors(user.id), passkeys.site(_settings().public_url), None
    if found.passkeys and where:
        asked = passkeys.ask_for_one(user.id, where)
        challenges.put("second", asked.challenge)
        options = asked.options
    words = {
        "factors": found,
        "code": code or CodeForm(formdata=None),
        "recovery": recovery or RecoveryForm(formdata=None),
        "passkey": PasskeyForm(formdata=None),
        "options": options,
        "problem": problem,
    }
    return Response(render_template("signin/second.html", **words), 422 if code or recovery or problem else 200)


def _page(form: PasskeyNameForm) -> str:
    words = {
        "factors": service.factors(_user().id),
        "form": form,
        "site": passkeys.site(_settings().public_url),
        "sign_ins": signins.of(_user().id),
        "here": sessions.sign_in_id(),
    }
    return render_template("signin/show.html", **words)


def _set_up(form: CodeForm, status: int = 200) -> Response | BaseResponse:
    found = service.prepared(_user(), session.get(_PREPARED))
    if found is None:
        return _begin_again()
    picture = segno.make(found.uri, micro=False).svg_data_uri(scale=5, border=4, light="white")
    return Response(render_template("signin/authenticator.html", setup=found, picture=picture, form=form), status)


def _begin_again() -> BaseResponse:
    if service.factors(_user().id).authenticator is None:
        flash("The key for an app is shown for ten minutes, where it was asked for. Set up an app once more.", "info")
    return redirect(url_for("signin.show"), 303)


def _done(notice: str) -> BaseResponse | Response:
    """A factor was added: the codes to keep, if they are the first."""
    codes = service.first_recovery_codes(_by())
    gate.sign_out_elsewhere(_user())
    notice = f"{notice} You are signed out everywhere else."
    if codes:
        return Response(render_template("signin/codes.html", codes=codes, notice=notice))
    flash(notice, "success")
    return redirect(url_for("signin.show"), 303)


def _site() -> passkeys.Site:
    found = passkeys.site(_settings().public_url)
    if found is None:
        raise NotFound("Browsers take passkeys only from a panel that has a name and TLS.")
    return found


def _user() -> User:
    user: User = current_user._get_current_object()
    return user


def _by() -> service.By:
    return service.By(_user(), request.remote_addr or "")


def _settings() -> Settings:
    settings: Settings = current_app.extensions["ownpost"]
    return settings
