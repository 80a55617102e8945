"""Routes and jobs call services; services call models and engines; engines call nobody.

The layer is in the file's name and the subject in the folder's, so both can be read off the imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from .source import FEATURES, Module, module, modules

ENGINES = ("panel.smtp", "panel.message", "panel.crypto")
FRAMEWORKS = ("flask", "wtforms", "sqlalchemy", "redis", "rq", "alembic", "limits", "click", "werkzeug", "jinja2")

# Features on one line may use each other in pages only; in services each may use those before it.
TIERS = (
    ("accounts",),
    ("outbox",),
    ("signin",),
    ("addresses", "servers", "settings"),
    ("campaigns",),
    ("participants", "suppressions"),
    ("deliveries",),
    ("blasts", "testsend", "events", "stats"),
    ("help", "mailbox", "audit", "data"),
)
# Tables of plain words, free of any framework, which others read beside the feature's service.
VOCABULARY = ("panel.outbox.states", "panel.campaigns.kinds")
# What is at hand without being about requests: the settings, the making of letters with their links, the form of a
# problem. Whoever takes more from Flask or panel.web is a page.
NOT_OF_PAGES = ("flask.Flask", "flask.current_app", "flask.url_for", "flask.render_template", "panel.web.problems")
# Put everything together, so may import everything.
WIRING = ("panel", "panel.models", "panel.cli", "panel.up", "panel.server", "panel.doctor", "panel.migrations.env")
WIRING += ("panel.clikit", "panel.cli_keys", "panel.cli_data")
# What panel.web takes from features: Flask-Security wants the user model, sends letters and changes passwords; who
# signed in is audited.
WEB_MAY = {
    "panel.web.security": ("panel.accounts.models", "panel.accounts.service", "panel.outbox.service"),
    "panel.web.signins": ("panel.accounts.service",),
}


def tier(feature: str) -> int:
    return next(number for number, row in enumerate(TIERS) if feature in row)


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def is_page(one: Module) -> bool:
    """Whether it deals with requests and their answers, or builds forms."""
    return any(
        name.split(".")[0] in ("flask", "flask_wtf", "wtforms", "flask_login", "flask_htmx") or below(name, "panel.web")
        for _, name in one.imports
        if name not in NOT_OF_PAGES
    )


def problems(some: Iterable[Module], known: dict[str, Module]) -> list[str]:
    return [f"{one.name}:{line}: {words}" for one in some for line, words in _problems(one, known)]


def _problems(one: Module, known: dict[str, Module]) -> Iterator[tuple[int, str]]:
    for line, name in one.imports:
        found = next(
            (
                words
                for rule in (_engine, _feature, _page, _service, _web, _job)
                if (words := rule(one, _target(name, known), known))
            ),
            None,
        )
        if found:
            yield line, found


def _target(name: str, known: dict[str, Module]) -> str:
    """The module that an imported name comes from: the longest known beginning of it."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in known:
            return ".".join(parts[:length])
    return name


def _feature_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "panel" and len(parts) > 1 and parts[1] in FEATURES else None


def _engine(one: Module, name: str, _known: dict[str, Module]) -> str | None:
    if not any(below(one.name, engine) for engine in ENGINES):
        return None
    top = name.split(".")[0]
    if top in FRAMEWORKS or top.startswith("flask"):
        return f"an engine imports the framework {name}"
    if top == "panel" and not any(below(name, engine) for engine in ENGINES):
        return f"an engine imports {name}"
    return None


def _feature(one: Module, name: str, _known: dict[str, Module]) -> str | None:
    other = _feature_of(name)
    if one.feature is None or other is None or other == one.feature:
        return None
    if name not in (f"panel.{other}.service", *VOCABULARY):
        return f"takes {name} from another feature, of which only its service is for others"
    here, there = tier(one.feature), tier(other)
    sideways = here == there and (is_page(one) or FEATURES.index(other) < FEATURES.index(one.feature))
    return None if there < here or sideways else f"imports upward: {one.feature} must not know {other}"


def _page(one: Module, name: str, _known: dict[str, Module]) -> str | None:
    if one.feature is None or not is_page(one):
        return None
    if name.endswith(".models"):
        return f"a page imports {name}; its service hands out what it needs"
    return f"a page imports {name}; queries belong to the service" if below(name, "sqlalchemy") else None


def _service(one: Module, name: str, known: dict[str, Module]) -> str | None:
    if one.feature is None:
        return None
    if one.last == "service" and (below(name, "panel.web") or name.startswith(("flask_", "wtforms"))):
        return f"a service imports {name}"
    if not is_page(one) and _feature_of(name) == one.feature and name in known and is_page(known[name]):
        return f"a service imports the page module {name}"
    return None


def _web(one: Module, name: str, _known: dict[str, Module]) -> str | None:
    shared = one.feature is None and below(one.name, "panel") and one.name not in WIRING
    if shared and _feature_of(name) and name not in WEB_MAY.get(one.name, ()):
        return f"what all features share imports the feature {name}"
    return None


def _job(one: Module, name: str, _known: dict[str, Module]) -> str | None:
    if not below(one.name, "jobs"):
        return None
    if name.split(".")[-1] in ("models", "routes", "forms"):
        return f"a job imports {name}; it calls services"
    queries = below(name, "sqlalchemy") and not below(name, "sqlalchemy.exc")
    return f"a job imports {name}; queries belong to a service" if queries else None


def test_it_holds_the_layers():
    known = modules("panel", "jobs")
    assert problems(known.values(), known) == []


def test_it_knows_every_feature_and_its_place():
    assert sorted(FEATURES) == sorted(feature for row in TIERS for feature in row)
    packages = {
        one.name.split(".")[1] for one in modules("panel").values() if one.name.endswith((".routes", ".service"))
    }
    assert packages <= set(FEATURES)


def test_it_keeps_what_others_read_free_of_frameworks():
    for one in modules("panel").values():
        if one.name in VOCABULARY:
            tops = {name.split(".")[0] for _, name in one.imports}
            assert not tops & set(FRAMEWORKS), one.name


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("panel.smtp.session", "import flask", "an engine imports the framework"),
        ("panel.message.letter", "from sqlalchemy import select", "an engine imports the framework"),
        ("panel.crypto", "from panel import db", "an engine imports panel.db"),
        ("panel.servers.service", "from panel.accounts.models import User", "only its service is for others"),
        ("panel.servers.service", "from panel.accounts import models", "only its service is for others"),
        ("panel.servers.service", "def f():\n    from panel.deliveries import service", "imports upward"),
        ("panel.addresses.service", "from panel.servers import service", "imports upward"),
        (
            "panel.events.routes",
            "from panel.web import access\nfrom panel.events.models import Event",
            "a page imports",
        ),
        ("panel.stats.routes", "from panel.web import access\nfrom sqlalchemy import select", "queries belong"),
        ("panel.stats.service", "from panel.web import access", "a service imports panel.web"),
        ("panel.stats.numbers", "from panel.stats import routes", "a service imports the page module"),
        ("panel.web.errors", "from panel.accounts import service", "what all features share"),
        ("panel.queue", "from panel.outbox import service", "what all features share"),
        ("jobs.delivery", "from panel.outbox.models import Delivery", "a job imports"),
        ("jobs.delivery", "from sqlalchemy import select", "a job imports"),
    ],
)
def test_it_would_notice(name: str, text: str, words: str):
    made_up = module("panel.stats.routes", "from flask import request")
    bad = module(name, text)
    known = {**modules("panel", "jobs"), made_up.name: made_up, bad.name: bad}
    assert any(words in found for found in problems([bad], known))
