"""A letter in a real browser: its frame runs nothing, asks nobody but for images, and leads nowhere.

What cleaning leaves is looked at as Chromium reads it; and what it would never leave is put into the frame all the
same, so that the frame holds by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route
from werkzeug.serving import make_server

from panel import previews
from panel.campaigns import service as campaigns
from panel.message.allowed import SCHEMES
from panel.message.tags import TAGS
from panel.message.template import TemplateProblems, compile_version, prepare
from tests.support import hostilehtml
from tests.support.world import PASSWORD, World

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("flows"),
]


@dataclass
class Seen:
    """What a browser did that a letter may not make it do."""

    own: str
    context: BrowserContext
    asked: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.route("**/*", self._route)
        self.context.on("page", self._page)

    def _route(self, route: Route) -> None:
        # Here come requests that would leave the browser, not those that a policy stops. None leaves the machine.
        if route.request.url.startswith(self.own):
            route.continue_()
            return
        (self.images if route.request.resource_type == "image" else self.asked).append(route.request.url)
        route.abort()

    def _page(self, page: Page) -> None:
        page.on("dialog", lambda dialog: (self.told.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("popup", lambda popup: self.told.append(f"window {popup.url}"))
        page.on(
            "framenavigated", lambda frame: self.told.append(f"moved {frame.url}") if self._is_away(frame.url) else None
        )

    def _is_away(self, url: str) -> bool:
        return not url.startswith((self.own, "about:blank", "about:srcdoc", "chrome-error:"))


@pytest.fixture
def address(world: World) -> Iterator[str]:
    """The panel on a socket."""
    server = make_server("127.0.0.1", 0, world.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture
def seen(browser: Browser, address: str) -> Iterator[Seen]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(40_000)
    yield Seen(f"{address}/", context)
    context.close()


@pytest.fixture
def tab(seen: Seen, address: str) -> Page:
    """Signed in."""
    page = seen.context.new_page()
    page.goto(f"{address}/login")
    page.get_by_label("Email").first.fill("owner@acme.test")
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in").first.click()
    page.wait_for_url(f"{address}/")
    return page


@pytest.fixture
def editor(world: World) -> str:
    """The path of a notification's editor."""
    with world.acme_scope():
        details = campaigns.Details(name="Spring", company_name="Acme", referral_url="https://acme.test/r/")
        campaign = campaigns.create(details)
        return f"/campaigns/{campaign.id}/notifications/{campaigns.notifications(campaign.id)[0].id}"


WITHOUT_CLEANING = [*hostilehtml.ACTING, *hostilehtml.ASKING, *hostilehtml.COVERING]
AT_ONCE = 20  # previews that are kept of an account
FRAMES = """([urls, sandboxed]) => Promise.all(urls.map(url => new Promise(done => {
    const frame = document.createElement('iframe');
    if (sandboxed) frame.setAttribute('sandbox', '');
    frame.onload = () => done(true);
    frame.src = url;
    document.body.append(frame);
})))"""


def test_a_frame_runs_nothing_and_asks_nobody_whatever_is_in_it(
    world: World, editor: str, address: str, tab: Page, seen: Seen
) -> None:
    tab.goto(f"{address}{editor}")
    sandbox = tab.locator("iframe").first.get_attribute("sandbox")
    assert sandbox is not None
    assert "allow-scripts" not in sandbox
    assert "allow-same-origin" not in sandbox
    # As if cleaning had let them pass: in frames like the page's own, and in frames held by their answer alone.
    pages = [f"<!DOCTYPE html><html><head></head><body>{html}</body></html>" for html in WITHOUT_CLEANING]
    for start in range(0, len(pages), AT_ONCE):
        with world.acme_scope():
            tokens = [previews.keep(page) for page in pages[start : start + AT_ONCE]]
        urls = [f"{address}{editor}/preview/{token}" for token in tokens]
        for sandboxed in (True, False):
            tab.evaluate(FRAMES, [urls, sandboxed])
    answer = seen.context.request.get(urls[0])
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert tab.title() != hostilehtml.SIGN
    assert tab.url == f"{address}{editor}"
    assert seen.told == []
    assert seen.asked == []
    assert seen.images
    assert all(url.startswith("https://") for url in seen.images)


def test_what_cleaning_leaves_is_harmless_as_chromium_reads_it(seen: Seen) -> None:
    page = seen.context.new_page()
    for html in hostilehtml.ALL:
        try:
            one = prepare(subject="x", preheader="", html=html, text=None, allowed=frozenset(TAGS))
        except TemplateProblems:
            continue
        letter = compile_version(subject="x", preheader="", html=one.html, text=one.text).render({}).html
        # With scripts, without a policy and without a frame: only cleaning stands between the letter and the browser.
        page.set_content(letter, wait_until="load")
        found = page.evaluate(
            """() => ({
                acting: [...document.body.querySelectorAll('*')].flatMap(element => [...element.attributes].map(
                    attribute => attribute.name)).filter(name => name.startsWith('on')),
                links: [...document.querySelectorAll('a[href], area[href]')].map(link => link.protocol),
                foreign: [...document.querySelectorAll('*')].filter(
                    element => element.namespaceURI !== 'http://www.w3.org/1999/xhtml').length,
                placed: [...document.body.querySelectorAll('*')].filter(
                    element => getComputedStyle(element).position !== 'static').length,
            })"""
        )
        allowed_links = {f"{scheme}:" for scheme in SCHEMES} | {"about:"}  # a link that goes nowhere is "#"
        assert found["acting"] == [], html
        assert set(found["links"]) <= allowed_links, html
        assert (found["foreign"], found["placed"]) == (0, 0), html
        assert page.title() != hostilehtml.SIGN, html
    assert seen.told == []
    assert [url for url in seen.asked if not url.startswith("about:")] == []
    assert not [url for url in seen.images if hostilehtml.EVIL in url]


def test_the_browser_would_notice(seen: Seen) -> None:
    """Without cleaning and without a frame, the same HTML does run and does ask."""
    page = seen.context.new_page()
    ran = 0
    for html in hostilehtml.ACTING:
        page.set_content(f"<!DOCTYPE html><html><head><title>x</title></head><body>{html}</body></html>")
        ran += page.title() == hostilehtml.SIGN
    page.set_content(f'<link rel=stylesheet href="https://{hostilehtml.EVIL}/x.css"><p>x</p>')
    assert ran > 5
    assert any("dialog" in told for told in seen.told)
    assert any(hostilehtml.EVIL in url for url in seen.asked)
