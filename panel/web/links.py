"""Links that leave the browser, in letters above all."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.wrappers import Request
from werkzeug.routing import MapAdapter


def is_local(target: str) -> bool:
    """Whether a browser that is sent to `target` stays on this panel.

    Browsers read a backslash as a slash, and drop tabs, line breaks and what blank comes first.
    """
    return target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()


class App(Flask):
    """Flask, but for one thing: a whole URL begins with OWNPOST_PUBLIC_URL.

    Flask takes scheme and host from the request. A caller who asks for somebody's password reset with a Host header of
    their own would have the link, and with it the token, point to them.
    """

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Flask's; and outside of a request one for paths, which need no host, so that jobs can make links too."""
        return super().create_url_adapter(request) or self.url_map.bind("localhost")

    def url_for(self, /, endpoint: str, *, _external: bool | None = None, **values: Any) -> str:
        """Flask's, with `_external=True` meaning the public URL."""
        path = super().url_for(endpoint, _external=False, **values)
        public: str = self.config["PUBLIC_URL"]
        return f"{public}{path}" if _external else path
