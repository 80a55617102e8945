"""The web server: gunicorn with threads, since pages and open streams wait more than they compute."""

from __future__ import annotations

import gc
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from panel import create_app, db, process
from panel.config import Settings

THREADS = 64


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, app: Flask, options: dict[str, Any]) -> None:
        self._app = app
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app


def _after_fork(server: Any, _worker: Any) -> None:
    process.die_with_parent(server.pid)
    # A connection must not be shared with the parent; and what start-up made lives for ever, so that the collector need
    # not walk it again and again while somebody waits for a page. A page leaves about a thousand objects to it: three
    # pages' worth take it two milliseconds, where fifty pages' would take one of them thirty. What a page in the making
    # had kept by then is left for the next round up: after five such, since after fifty it took one page twenty.
    db.engine().dispose(close=False)
    gc.freeze()
    gc.set_threshold(3_000, 5, 50)


def run(settings: Settings, *, host: str, port: int, processes: int) -> None:
    """Serves until SIGTERM; open streams get 5 s to end."""
    app = create_app(settings)
    _Server(
        app,
        {
            "bind": f"{host}:{port}",
            "workers": processes,
            "worker_class": "gthread",
            "threads": THREADS,
            "graceful_timeout": 5,
            "control_socket_disable": True,
            # By itself gunicorn takes X-Forwarded-Proto from whoever connects on loopback; whom to believe is said by
            # OWNPOST_TRUSTED_PROXIES alone.
            "forwarded_allow_ips": "",
            "keepalive": 30,
            "post_fork": _after_fork,
            "accesslog": None,
            "loglevel": "warning",
        },
    ).run()
