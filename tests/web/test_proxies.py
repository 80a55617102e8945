"""Proxies are believed as far as OWNPOST_TRUSTED_PROXIES says, and by the real server too."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys

import pytest

from panel.accounts.models import User
from tests.support.ports import free_port
from tests.support.wait import wait_for
from tests.support.world import PASSWORD, World

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

LIES = {
    "X-Forwarded-For": "203.0.113.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Port": "6666",
    "Forwarded": "for=203.0.113.66;host=evil.example;proto=https",
    "X-Real-IP": "203.0.113.66",
}


def seen(world: World, headers: dict[str, str]) -> dict[str, str | None]:
    """What the app takes a request for."""
    found: dict[str, str | None] = {}

    @world.app.after_request
    def note(answer):
        from flask import request

        found.update(address=request.remote_addr, scheme=request.scheme, host=request.host, root=request.script_root)
        return answer

    world.app.test_client().get("/healthz", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    return found


def test_it_believes_nobody_unless_told_to(world: World):
    assert seen(world, LIES) == {"address": "192.0.2.1", "scheme": "http", "host": "localhost", "root": ""}


def test_it_believes_one_proxy(world: World):
    world.reconfigure(OWNPOST_TRUSTED_PROXIES="1")
    told = {**LIES, "X-Forwarded-For": "198.51.100.5, 203.0.113.66"}
    found = seen(world, told)
    # The last word is the proxy's; what stands before it came from outside.
    assert (found["address"], found["scheme"], found["host"]) == ("203.0.113.66", "https", "evil.example")
    assert found["root"] == ""


def test_it_believes_as_many_as_there_are(world: World):
    world.reconfigure(OWNPOST_TRUSTED_PROXIES="2")
    found = seen(world, {"X-Forwarded-For": "1.1.1.1, 198.51.100.5, 203.0.113.66"})
    assert found["address"] == "198.51.100.5"


def test_it_notes_where_a_sign_in_came_from(world: World):
    world.client().submit("/login", email=world.owner.email, password=PASSWORD)
    browser = world.client()
    browser.get("/login")
    browser.post("/login", {"email": world.owner.email, "password": PASSWORD}, headers=LIES)
    with world.acme_scope() as session:
        assert session.get(User, world.owner.id).current_login_ip == "127.0.0.1"


def test_it_redirects_by_path_whatever_host_was_asked_for(world: World):
    answer = world.app.test_client().get("/deliveries", headers={**LIES, "Host": "evil.example"})
    assert answer.location == "/login?next=/deliveries"


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def ask(port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_server_believes_nobody_either(world: World):
    """gunicorn would take the scheme from whoever connects on loopback."""
    code = """
import sys
from panel import server
from panel.config import Settings
from flask import request
made = server.create_app
def create_app(settings):
    app = made(settings)
    @app.after_request
    def tell(answer):
        answer.headers["X-Seen"] = f"{request.scheme} {request.remote_addr}"
        return answer
    return app
server.create_app = create_app
server.run(Settings.from_env(), host="127.0.0.1", port=int(sys.argv[1]), processes=1)
"""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", code, str(port)], env={**os.environ, **world.environ})
    try:
        wait_for(lambda: _answers(port), 60, what="the web server")
        assert ask(port, "/login", LIES).headers["X-Seen"] == "http 127.0.0.1"
    finally:
        process.terminate()
        process.wait(60)
