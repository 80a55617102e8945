"""Help has a part for every reason why a connection fails, and every link into it leads somewhere."""

import re
from pathlib import Path

from panel.smtp.outcome import FailureCode

ROOT = Path(__file__).resolve().parents[2]
HELP = ROOT / "templates" / "help"
# Nobody needs help with having pressed Cancel.
EXPLAINED = set(FailureCode) - {FailureCode.CANCELED}
ANCHOR = re.compile(r"(?:\bid=|failure\()\"([a-z_-]+)\"")


def anchors(*names: str) -> set[str]:
    return {anchor for name in names for anchor in ANCHOR.findall((HELP / name).read_text())}


PAGES = {
    "help.index": anchors("index.html", "_words.html", "_failures.html"),
    "help.gmail": anchors("gmail.html"),
    "help.outlook": anchors("outlook.html"),
}
PATHS = {"/help": "help.index", "/help/gmail": "help.gmail", "/help/outlook": "help.outlook"}


def test_it_explains_every_failure_code() -> None:
    assert {code.value for code in EXPLAINED} - PAGES["help.index"] == set()


def test_it_leads_somewhere_from_every_template() -> None:
    link = re.compile(r"url_for\(\s*['\"](help\.\w+)['\"],\s*_anchor=['\"]([^'\"]+)['\"]")
    found = {pair for t in (ROOT / "templates").rglob("*.html") for pair in link.findall(t.read_text())}
    assert found
    assert [(page, anchor) for page, anchor in sorted(found) if anchor not in PAGES[page]] == []


def test_it_leads_somewhere_within_a_page() -> None:
    for endpoint, anchored in PAGES.items():
        page = (HELP / f"{endpoint.removeprefix('help.')}.html").read_text()
        assert set(re.findall(r"href=\"#([^\"]+)\"", page)) - anchored == set()


def test_it_leads_somewhere_from_every_explanation() -> None:
    link = re.compile(r"['\"](/help(?:/gmail|/outlook)?)#([a-z_-]+)['\"]")
    sources = (ROOT / "panel").rglob("*.py")
    found = {pair for path in sources for pair in link.findall(path.read_text())}
    assert [(path, anchor) for path, anchor in sorted(found) if anchor not in PAGES[PATHS[path]]] == []
