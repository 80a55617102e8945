"""A campaign, and a program that reports its events."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from panel import db
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.campaigns.service import Campaign, Details
from tests.support.world import World

SPRING = Details(name="Spring", company_name="Acme Coffee", referral_url="https://acme.example/r/")

R = {"email": "robin@example.com", "first_name": "Robin"}
F = {"email": "fi@example.com", "first_name": "Fi", "last_name": "Fo"}

JOINED = {"type": "referrer.joined", "campaign": "spring", "referrer": R}
CREATED = {"type": "referral.created", "campaign": "spring", "referrer": R, "friend": F}
QUALIFIED = {"type": "referral.qualified", "campaign": "spring", "referrer": R, "friend": F}
DENIED = {"type": "referral.denied", "campaign": "spring", "friend": F, "denial": {"reason": "A customer already."}}
REWARD = {"id": "rw-1", "name": "Free coffee", "value": "5 EUR", "code": "ABC", "expires_on": "2027-01-31"}
ISSUED = {"type": "reward.issued", "campaign": "spring", "referrer": R, "reward": {**REWARD, "to": "referrer"}}


class Api:
    """Calls the API with a key."""

    def __init__(self, client: FlaskClient, key: str | None) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def post(self, path: str, **options: Any) -> TestResponse:
        headers = {**self._headers, **options.pop("headers", {})}
        return self._client.post(f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str) -> TestResponse:
        return self._client.get(f"/api/v1{path}", headers=self._headers)

    def report(self, event: Any, *, key: str | None = None) -> TestResponse:
        return self.post("/events", json=event, headers={"Idempotency-Key": key} if key else {})

    def taken(self, event: Any, *, status: int = 202) -> dict[str, Any]:
        """Reports the event, which must be taken, and returns the answer."""
        answer = self.report(event)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return dict(answer.get_json())


def new_key(account_id: Any) -> str:
    with db.account_scope(account_id):
        return accounts.add_api_key("tests")


@pytest.fixture
def spring(world: World) -> Campaign:
    """Acme's campaign."""
    with world.app.app_context(), world.acme_scope():
        return campaigns.create(SPRING)


@pytest.fixture
def api(world: World, spring: Campaign) -> Api:
    """A program of Acme's."""
    return Api(world.app.test_client(), new_key(world.acme.id))


@pytest.fixture
def stranger_api(world: World) -> Api:
    """A program of the other account's."""
    return Api(world.app.test_client(), new_key(world.other.id))
