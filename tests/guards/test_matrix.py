"""Every route, asked by everyone: owner, member, another account's owner, nobody; and the API by every kind of key.

Read off the URL map: a new route joins by itself, and a new kind of id by an example in `one_of_everything`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, cycle
from typing import Any

import pytest
from sqlalchemy import inspect, select, update
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from panel import db, live
from panel.accounts import service as accounts
from panel.accounts.models import Account, ApiKey
from panel.blasts import progress
from panel.data import routes as data
from panel.mark import Installation
from panel.testsend import service as testsend
from panel.web import access
from tests.guards.source import modules
from tests.guards.test_foreign_ids import NO_ROWS, one_of_everything
from tests.support.world import Browser, World

pytestmark = pytest.mark.timeout(400)

# What an owner's request without a single field may come to: done, shown, led elsewhere, or refused with words.
FINE = {200, 202, 204, 302, 303, 409, 422, 429}
# What must be said for there to be such a page.
FIELDS = {
    "deliveries.many": {"what": "resend", "state": "failed"},
    "deliveries.do_many": {"what": "resend", "state": "failed", "action": str(uuid.uuid4()), "seen": 0, "last": 0},
}
# A letter that has not left has no octets yet.
UNSENT = {"deliveries.source"}
# What belongs to one person of the account, and is not there for the others.
PERSONAL = {"passkey_id", "sign_in"}
SECRET = "their-own-words"


@dataclass(frozen=True)
class Call:
    """One way to call a route."""

    rule: Rule
    method: str

    def __str__(self) -> str:
        return f"{self.method} {self.rule.endpoint}"

    @property
    def rows(self) -> set[str]:
        """The names of the ids of rows in its address."""
        return set(self.rule.arguments) - NO_ROWS

    @property
    def fine(self) -> set[int]:
        """What may come of it for whoever may call it."""
        may_be_missing = set(self.rule.arguments) & (NO_ROWS | PERSONAL) or self.rule.endpoint in UNSENT
        return FINE | ({404} if may_be_missing else set())


@pytest.fixture
def world(world: World, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    """With every blueprint that there can be, and nobody else's export under way."""
    monkeypatch.setattr(data, "_exports", threading.BoundedSemaphore(2))
    world.reconfigure(OWNPOST_MAILBOX_DIR=str(tmp_path), OWNPOST_LIMIT_TESTS="1000/minute")
    return world


def calls(world: World, *kinds: str) -> Iterator[Call]:
    """Every call of the routes that ask one of these of their caller; Flask-Security's own pages are not among them."""
    for rule in world.app.url_map.iter_rules():
        if access.of(world.app, rule.endpoint) in kinds and not rule.endpoint.startswith(("static", "security.")):
            yield from (Call(rule, method) for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))


def address(world: World, call: Call, ids: dict[str, Any]) -> str:
    """The call's address with these ids."""
    values = {name: ids.get(name, "made-up") for name in call.rule.arguments}
    with world.app.test_request_context():
        return world.app.url_for(call.rule.endpoint, **values)


def ask(browser: Browser, method: str, url: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
    """Asks; of a stream it takes the beginning."""
    if method == "GET":
        answer = browser.get(url, query_string=data, **options)
    else:
        answer = browser.post(url, data, method=method, **options)
    if answer.mimetype == "application/zip":
        answer.get_data()
    if answer.mimetype in ("text/event-stream", "application/zip"):
        answer.close()  # they hold a place for as long as they are open
    return answer


def digest(account_id: uuid.UUID) -> dict[str, str]:
    """All rows of an account, by table."""
    found = {}
    with db.system_scope("tests") as session:
        for mapper in db.Base.registry.mappers:
            model: Any = mapper.class_
            if model is Installation:
                continue  # of the whole installation
            mine = model.account_id == account_id if issubclass(model, db.AccountOwned) else model.id == account_id
            columns = [getattr(model, attribute.key) for attribute in inspect(model).column_attrs]
            rows = session.execute(select(*columns).where(mine).order_by(*mapper.primary_key)).all()
            found[mapper.local_table.name] = hashlib.sha256(repr(rows).encode()).hexdigest()
    return found


def changed(account_id: uuid.UUID, do: Callable[[], object]) -> list[str]:
    """The tables in which an account's rows are others after this."""
    before = digest(account_id)
    do()
    after = digest(account_id)
    return [table for table in before if before[table] != after[table]]


SIGNED_IN = (access.SIGNED_IN, access.OWNER)


def test_it_lets_owners_do_everything(world: World) -> None:
    browser, wrong = world.client(world.owner), {}
    kept = one_of_everything(world, world.owner)
    for number, call in enumerate(calls(world, *SIGNED_IN), 2):
        # What is changed may be gone afterwards.
        ids = kept if call.method == "GET" else one_of_everything(world, world.owner, number)
        fields = FIELDS.get(call.rule.endpoint)
        status = ask(browser, call.method, address(world, call, ids), fields).status_code
        if status not in call.fine:
            wrong[str(call)] = status
    assert wrong == {}


def test_it_lets_members_do_what_is_not_for_owners(world: World) -> None:
    ids = one_of_everything(world, world.owner)
    browser, wrong = world.client(world.member), {}

    def all_for_owners() -> None:
        for call in calls(world, access.OWNER):
            if (status := ask(browser, call.method, address(world, call, ids)).status_code) != 403:
                wrong[str(call)] = status

    assert changed(world.acme.id, all_for_owners) == []
    for number, call in enumerate(calls(world, access.SIGNED_IN), 2):
        fresh = ids if call.method == "GET" else one_of_everything(world, world.owner, number)
        status = ask(browser, call.method, address(world, call, fresh)).status_code
        if status not in call.fine:
            wrong[str(call)] = status
    assert wrong == {}


def test_it_shows_and_does_nothing_to_another_account(world: World) -> None:
    theirs, mine = one_of_everything(world, world.owner), one_of_everything(world, world.stranger)
    browser, wrong = world.client(world.stranger), {}

    def all_with_their_ids() -> None:
        for call in calls(world, *SIGNED_IN):
            for count in range(1, len(call.rows) + 1):
                # In each place one of theirs, beside those of one's own.
                for names in combinations(sorted(call.rows), count):
                    url = address(world, call, mine | {name: theirs[name] for name in names})
                    if (status := ask(browser, call.method, url).status_code) != 404:
                        wrong[f"{call} with their {', '.join(names)}"] = status

    assert changed(world.acme.id, all_with_their_ids) == []
    assert wrong == {}


def test_it_takes_no_id_of_another_account_in_a_form_or_a_query(world: World) -> None:
    theirs, browser = one_of_everything(world, world.owner, 777), world.client(world.stranger)
    given = {name: str(value) for name, value in theirs.items()}
    given |= {name.removesuffix("_id"): value for name, value in given.items()}
    given |= {"older_than": given["participant_id"], "newer_than": given["participant_id"]}
    given |= {"action": given["action_id"], "seen": "1", "last": "1", "test": given["delivery_id"]}
    given |= {"what": "resend", "name": "Taken", "before": str(theirs["delivery_id"] + 1), "when": "now", "who": "all"}
    wrong = {}

    def everything() -> None:
        kept = one_of_everything(world, world.stranger)
        for number, call in enumerate(calls(world, *SIGNED_IN, access.PUBLIC), 2):
            mine = kept if call.method == "GET" else one_of_everything(world, world.stranger, number)
            answer = ask(browser, call.method, address(world, call, mine), given)
            if answer.status_code == 500:
                wrong[str(call)] = answer.status
            if answer.mimetype != "text/event-stream" and (b"777@" in answer.data or b"Spring 777" in answer.data):
                wrong[str(call)] = "shows what is theirs"

    assert changed(world.acme.id, everything) == []
    assert wrong == {}


def test_it_leads_nobody_anywhere_but_to_the_sign_in(world: World) -> None:
    ids = one_of_everything(world, world.owner)
    browser, wrong = world.client(), {}

    def everything() -> None:
        for call in calls(world, *SIGNED_IN):
            url = address(world, call, ids)
            plain = ask(browser, call.method, url)
            htmx = ask(browser, call.method, url, headers={"HX-Request": "true"})
            stream = ask(browser, call.method, url, headers={"Accept": "text/event-stream"})
            told = (
                plain.status_code in (302, 303) and plain.location.startswith("/login"),
                htmx.status_code == 401 and htmx.headers["HX-Redirect"].startswith("/login"),
                stream.status_code == 401,
            )
            if told != (True, True, True):
                wrong[str(call)] = (plain.status, htmx.status, stream.status)
        for call in calls(world, access.PUBLIC):
            if (status := ask(browser, call.method, address(world, call, ids)).status_code) == 500:
                wrong[str(call)] = status

    assert changed(world.acme.id, everything) == []
    assert wrong == {}


# -- what people type ------------------------------------------------------------------------------------------------

# Typed into every field at once; the last ones into one field each, by turns.
EVERYWHERE = ["a\0b", "9" * 30, "9999-12-31T23:59"]
BY_TURNS = ["-1", "x" * 4000, "{{ x }}", "0001-01-01", str(uuid.UUID(int=0)), "\u2028🎉", ""]
ENDING = ("remove", "cancel", "disable", "delete", "revoke", "leave")


def names_in_use(world: World, browser: Browser, ids: dict[str, Any]) -> set[str]:
    """The names of queries and fields: those that code asks for, and those that pages have."""
    asked = re.compile(r"""(?:args|form|given)\.get\(\s*"(\w+)\"""")
    names = {name for one in modules("panel").values() for name in asked.findall(one.text)}
    for call in calls(world, *SIGNED_IN, access.PUBLIC):
        if call.method == "GET":
            answer = ask(browser, "GET", address(world, call, ids))
            if answer.mimetype == "text/html":
                names |= set(re.findall(r'<(?:input|select|textarea)[^>]* name="([^"]+)"', answer.text))
    assert {"q", "to", "older_than", "display_name", "subject", "host", "password", "email"} <= names
    return names - {"csrf_token"}


def test_it_breaks_on_nothing_that_is_typed(world: World) -> None:
    ids = one_of_everything(world, world.owner)
    browser, wrong = world.client(world.owner), {}
    names = names_in_use(world, browser, ids)
    ordered = sorted(calls(world, *SIGNED_IN, access.PUBLIC), key=lambda call: call.rule.endpoint.endswith(ENDING))
    typed = [dict.fromkeys(names, one) for one in EVERYWHERE]
    typed += [dict(zip(sorted(names), cycle(BY_TURNS), strict=False))]
    for call in ordered:
        url = address(world, call, ids)
        for fields in typed:
            status = ask(browser, call.method, url, fields).status_code
            if status == 500:
                wrong[f"{call} with {next(iter(fields.values()))[:20]!r}"] = status
    assert wrong == {}


def test_it_breaks_on_no_address(world: World) -> None:
    browser, wrong = world.client(world.owner), {}
    ids = one_of_everything(world, world.owner)
    for call in calls(world, *SIGNED_IN, access.PUBLIC, access.API):
        numbers = [name for name, one in call.rule._converters.items() if type(one).__name__ == "IntegerConverter"]
        words = [name for name, one in call.rule._converters.items() if type(one).__name__ == "UnicodeConverter"]
        values = {name: ids.get(name, "made-up") for name in call.rule.arguments}
        with world.app.test_request_context():
            template = world.app.url_for(
                call.rule.endpoint, **values | dict.fromkeys(numbers, 7) | dict.fromkeys(words, "word")
            )
        for number in ("0", "9" * 18, "9223372036854775807", "9223372036854775808", "9" * 40):
            for name in numbers:
                status = ask(browser, call.method, template.replace("/7", f"/{number}")).status_code
                if status == 500:
                    wrong[f"{call} with {name}={number}"] = status
        for word in ("%00", "x%00y", "..%2F..%2Fetc", "%F0%9F%8E%89", "x" * 3000, "%0d%0aSet-Cookie:%20x"):
            for name in words:
                status = ask(browser, call.method, template.replace("/word", f"/{word}")).status_code
                if status == 500:
                    wrong[f"{call} with {name}={word[:20]}"] = status
    assert wrong == {}


# -- the API ---------------------------------------------------------------------------------------------------------


def key_of(account_id: uuid.UUID, *, revoked: bool = False) -> str:
    with db.account_scope(account_id):
        key = accounts.add_api_key("a key")
        if revoked:
            with db.transaction() as session:
                session.execute(update(ApiKey).values(revoked_at=db.now()))
    return key


def test_it_asks_for_a_right_key_at_the_api(world: World) -> None:
    theirs, mine = one_of_everything(world, world.owner), one_of_everything(world, world.stranger)
    with world.app.app_context():
        revoked, right, other = key_of(world.acme.id, revoked=True), key_of(world.acme.id), key_of(world.other.id)
    client, wrong = world.app.test_client(), {}
    event = {"type": "referral.created", "campaign": "spring-1", "referrer": {"email": "kim@x.test"}}
    event |= {"friend": {"email": "lee@x.test"}}

    def status_of(call: Call, ids: dict[str, Any], key: str | None) -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"json": {"events": [event], **event}} if call.method != "GET" else {}
        return client.open(address(world, call, ids), method=call.method, headers=headers, **body).status_code

    def expect(call: Call, allowed: set[int], key: str | None, whose: str, ids: dict[str, Any]) -> None:
        if (status := status_of(call, ids, key)) not in allowed:
            wrong[f"{call} with {whose}"] = status

    def with_other_keys() -> None:
        for call in calls(world, access.API):
            for key, whose in ((None, "no key"), (revoked, "a revoked key"), ("x" * 40, "a made-up key")):
                expect(call, {401}, key, whose, theirs)
            expect(call, {404} if call.rows else {200, 202, 400, 422}, other, "another account's key", theirs)

    assert changed(world.acme.id, with_other_keys) == []
    for call in calls(world, access.API):
        expect(call, {200, 202, 400, 422}, right, "the right key", theirs)
        expect(call, {404} if call.rows else {200, 202, 400, 422}, right, "the right key", mine)
    assert wrong == {}


# -- live pages ------------------------------------------------------------------------------------------------------


def test_a_stream_tells_nothing_of_another_account(world: World) -> None:
    """Tasks are known by ids that a page may be asked for with ids of one's own around them."""
    theirs, mine = one_of_everything(world, world.owner), one_of_everything(world, world.stranger)
    tasks = {live.new_id(), progress.task_of(theirs["blast_id"]), testsend.task_of(theirs["delivery_id"])}
    with world.app.app_context():
        for task in tasks:
            live.publish(world.acme.id, task, {"context": {}, "steps": [], "words": SECRET}, over=True)
    browser = world.client(world.stranger)
    for call in calls(world, *SIGNED_IN):
        if call.method != "GET" or "task" not in call.rule.arguments:
            continue
        for task in tasks:
            answer = ask(browser, "GET", address(world, call, mine | {"task": task}))
            assert answer.status_code in (303, 404), (str(call), answer.status_code)
            assert SECRET not in answer.text


def test_it_would_notice(world: World) -> None:
    """A route that finds rows without a scope, one that changes them, and one whose owner's mark was forgotten."""
    app = world.app

    def leak(campaign_id: uuid.UUID) -> str:
        with db.system_scope("a mistake"), db.transaction() as session:
            session.execute(update(Account).where(Account.name == "Acme").values(postal_address="Taken"))
        return json.dumps(str(campaign_id))

    app.add_url_rule("/leak/<uuid:campaign_id>", endpoint="stats.leak", view_func=leak)
    theirs, browser = one_of_everything(world, world.owner), world.client(world.stranger)
    [call] = [call for call in calls(world, *SIGNED_IN) if call.rule.endpoint == "stats.leak"]
    answers = []
    assert changed(
        world.acme.id, lambda: answers.append(ask(browser, "GET", address(world, call, theirs)).status_code)
    ) == ["accounts"]
    assert answers == [200]
