"""Who may reach a route. Signing in is the rule; what differs says so with a decorator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, current_app, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import actor, db
from panel.actor import Actor
from panel.web import identity, reauth

F = TypeVar("F", bound=Callable[..., Any])

PUBLIC = "public"
SIGNED_IN = "signed in"
OWNER = "owner"
API = "api"


def public(view: F) -> F:
    """Anyone may come; the view opens whatever scope it needs."""
    return _mark(view, PUBLIC)


def owner(view: F) -> F:
    """Only an account owner; a member gets a 403."""
    return _mark(view, OWNER)


def api(scope: str) -> Callable[[F], F]:
    """Called with an API key that has the scope: the API's blueprint checks it. No cookie, hence no CSRF token."""

    def mark(view: F) -> F:
        view.__dict__["scope"] = scope
        return _mark(view, API)

    return mark


def sensitive(view: F) -> F:
    """A POST that asks for the password again when it was last given more than 15 minutes ago (`reauth.py`)."""
    return sensitive_if(lambda: True)(view)


def sensitive_if(condition: Callable[[], bool]) -> Callable[[F], F]:
    """As `sensitive`, for a form of which only some buttons change something."""

    def mark(view: F) -> F:
        view.__dict__["sensitive"] = condition
        return view

    return mark


def is_sensitive(app: Flask, endpoint: str) -> bool:
    """Whether what the endpoint does may have to wait for the password."""
    return "sensitive" in getattr(app.view_functions[endpoint], "__dict__", {})


def _mark(view: F, kind: str) -> F:
    view.__dict__["access"] = kind
    return view


def of(app: Flask, endpoint: str) -> str:
    """What the endpoint asks of its caller."""
    if endpoint == "static" or endpoint.startswith("security."):
        return PUBLIC  # Flask-Security guards its own pages
    kind = getattr(app.view_functions[endpoint], "access", SIGNED_IN)
    assert isinstance(kind, str)
    return kind


def scope_of(app: Flask, endpoint: str) -> str:
    """Which scope a route of the API asks of a key."""
    scope = app.view_functions[endpoint].__dict__["scope"]
    assert isinstance(scope, str)
    return scope


def install(app: Flask) -> None:
    """Guards every route of the app."""
    app.before_request(_enforce)
    app.teardown_request(_close)
    # A global, so that macros have it too: `current_user` is known to pages only.
    app.jinja_env.globals["is_owner"] = lambda: current_user.is_authenticated and current_user.is_owner


def _enforce() -> BaseResponse | None:
    if request.endpoint is None or of(current_app, request.endpoint) in (PUBLIC, API):
        _act(Actor(kind=actor.VISITOR, ip=request.remote_addr or ""))
        return None
    if not current_user.is_authenticated:
        return unauthenticated()
    account_id = current_user.account_id
    if of(current_app, request.endpoint) == OWNER and not current_user.is_owner:
        abort(403, "Only an owner of the account may do this. Ask one of them.")
    identity.release()
    _act(Actor(kind=actor.USER, name=current_user.email, user_id=current_user.id, ip=request.remote_addr or ""))
    g.scopes = ExitStack()
    g.scopes.enter_context(db.account_scope(account_id))
    if request.method == "POST" and is_sensitive(current_app, request.endpoint):
        return reauth.check(wanted=current_app.view_functions[request.endpoint].__dict__["sensitive"]())
    return None


def _act(who: Actor) -> None:
    """From here on it is they who change something, as the audit log will say."""
    g.acting = ExitStack()
    g.acting.enter_context(actor.acting(who))


def _close(_error: BaseException | None = None) -> None:
    for name in ("scopes", "acting"):
        opened = g.pop(name, None)
        if opened is not None:
            opened.close()


def unauthenticated(*_: Any, **__: Any) -> BaseResponse:
    """A page goes to the sign-in form and comes back; htmx is told to go there; a stream simply ends."""
    # htmx first: it names event streams among what it accepts in every request.
    if request.headers.get("HX-Request"):
        login = url_for("security.login", next=_page_around())
        return Response("Please sign in again.", status=401, mimetype="text/plain", headers={"HX-Redirect": login})
    if "text/event-stream" in request.headers.get("Accept", ""):
        return Response("Please sign in again.", status=401, mimetype="text/plain")
    if request.method != "GET":
        return redirect(url_for("security.login"), 303)
    return redirect(url_for("security.login", next=request.full_path.rstrip("?")))


def _page_around() -> str | None:
    """The page that an htmx request came from, without its host: a sign-in leads back to this panel only."""
    page = urlsplit(request.headers.get("HX-Current-URL", ""))
    return f"{page.path}?{page.query}".rstrip("?") or None


def blueprint(name: str, import_name: str, **options: Any) -> Blueprint:
    """A feature's blueprint; its templates live in `templates/<name>/`."""
    return Blueprint(name, import_name, **options)
