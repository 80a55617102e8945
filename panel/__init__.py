"""Ownpost: campaign mail through the account's own mail server."""

from __future__ import annotations

import importlib

from flask import Flask
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from panel import db, mark, models, queue
from panel.config import Settings
from panel.signin import signins
from panel.web import access, assets, errors, formats, headers, links, security, sessions, uploads

__all__ = ["create_app", "models"]

_FEATURES = (
    "addresses",
    "audit",
    "blasts",
    "campaigns",
    "data",
    "deliveries",
    "events",
    "help",
    "participants",
    "servers",
    "signin",
    "settings",
    "stats",
    "suppressions",
    "testsend",
)


def create_app(settings: Settings | None = None) -> Flask:
    """Wires the app together. `settings` come from the environment unless given."""
    settings = settings or Settings.from_env()
    app = links.App(
        "panel", template_folder=str(assets.folder("templates")), static_folder=str(assets.folder("static"))
    )
    app.extensions["ownpost"] = settings
    db.connect(settings.database_url)
    queue.configure(settings.redis_url)
    mark.configure(settings)
    _configure(app, settings)
    uploads.install(app)
    CSRFProtect(app)
    sessions.install(app, signins)
    access.install(app)
    errors.install(app)
    headers.install(app)
    assets.install(app)
    formats.install(app)
    security.install(app, settings)
    features = (*_FEATURES, "mailbox") if settings.mailbox_dir else _FEATURES
    for feature in features:
        app.register_blueprint(importlib.import_module(f"panel.{feature}.routes").blueprint)
    app.register_blueprint(importlib.import_module("panel.stats.health").blueprint)
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def _configure(app: Flask, settings: Settings) -> None:
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME=f"{settings.cookie_prefix}ownpost",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.secure_cookies,
        PERMANENT_SESSION_LIFETIME=sessions.KEPT,
        WTF_CSRF_TIME_LIMIT=None,
        MAX_CONTENT_LENGTH=2 * 1024 * 1024,
        MAX_FORM_MEMORY_SIZE=2 * 1024 * 1024,
        SIGNUP_OPEN=settings.signup_open,
        SUPPORT_EMAIL=settings.support_email,
        SUPPORT_URL=settings.support_url,
        MAILBOX_ENABLED=settings.mailbox_dir is not None,
        PLATFORM_FROM=settings.platform_from,
        PUBLIC_URL=settings.public_url,
    )
