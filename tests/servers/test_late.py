"""A connection test ends in time also where a server keeps its session from looking at the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from panel.smtp.connection import Connection
from tests.servers.conftest import Mail
from tests.servers.test_connection_test import ask, ended, stall_after_greeting


def test_it_is_ended_when_it_does_not_end_by_itself(
    mail: Mail, scripted: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call to OpenSSL takes as long as a flood of session tickets lasts.
    monkeypatch.setattr(Connection, "deadline", lambda _self, _seconds: time.monotonic() + 60)
    with scripted(stall_after_greeting) as server:
        mail.world.reconfigure(OWNPOST_TEST_DEADLINE_SECONDS="1.2", OWNPOST_SMTP_ALLOW=f"127.0.0.1:{server.port}")
        mail.browser = mail.world.client(mail.world.owner)
        task = ask(mail, server.port)
        began = time.monotonic()
        mail.work()
    assert time.monotonic() - began < 30
    data = ended(mail, task)
    assert data["result"] == "failed"
    assert [step["code"] for step in data["steps"] if step["state"] == "failed"] == ["timed_out"]
