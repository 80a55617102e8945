"""Choosing and importing files of people, as a person does it in a browser."""

from __future__ import annotations

import io
import re

from werkzeug.test import TestResponse

from panel.campaigns.service import Campaign
from panel.participants import service as participants
from tests.support.world import Browser, World


def choose(browser: Browser, path: str, content: bytes | str, name: str = "people.csv") -> TestResponse:
    octets = content.encode() if isinstance(content, str) else content
    return browser.post(path, {"file": (io.BytesIO(octets), name)})


def carry_out(browser: Browser, path: str, content: bytes | str, existing: str = "leave") -> str:
    """Chooses a file and imports it; the page that then tells of it."""
    chosen = choose(browser, path, content)
    assert chosen.status_code == 303, chosen.text
    done = browser.submit(chosen.location, existing=existing)
    assert (done.status_code, done.location) == (303, chosen.location)
    return browser.get(done.location).text


def people(world: World, campaign: Campaign) -> list[tuple[str, str, str]]:
    """As the list shows them, turned round."""
    with world.acme_scope():
        return [
            (line.person.email, line.person.first_name, line.person.last_name)
            for line in participants.page(campaign.id).lines
        ]


def fact(page: str, term: str) -> str | None:
    found = re.search(rf"<dt>{term}</dt><dd>(.*?)</dd>", page, re.DOTALL)
    return found[1] if found else None


def refusal(answer: TestResponse) -> str:
    assert answer.status_code == 422, answer.status_code
    found = re.search(r'id="file-error">.*?</svg>(.*?)</p>', answer.text, re.DOTALL)
    assert found is not None
    return found[1].strip()
