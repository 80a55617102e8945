"""Words that nobody has saved yet: how they would look, and whose the text part is."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import redis
import structlog

from panel import db, queue
from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import NotificationKind
from panel.campaigns.service import Campaign, NotificationVersion
from panel.message import template
from panel.message.template import CompiledVersion, Footer, Prepared, Problem, Rendered, TemplateProblems

log = structlog.get_logger(__name__)

_KEEP: Final = 900  # seconds that a previewed letter waits for its frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What stands in the editor's fields."""

    subject: str
    preheader: str
    html: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How words would arrive, or what is wrong with them."""

    letter: Rendered | None
    preheader: str = ""
    made_text: str = ""
    problems: Sequence[Problem] = ()


def preview(campaign: Campaign, kind: NotificationKind, words: Words, based_on: NotificationVersion) -> Preview:
    """Checks and renders words for a sample participant, saving nothing."""
    try:
        prepared = _prepare(kind, words, text=own_text(kind, words, based_on))
    except TemplateProblems as error:
        return Preview(letter=None, problems=error.problems)
    return Preview(
        letter=render(campaign, kind, _compiled(prepared)),
        preheader=_preheader(campaign, prepared.preheader),
        made_text=prepared.text,
    )


def preview_version(campaign: Campaign, kind: NotificationKind, version: NotificationVersion) -> Preview:
    """A saved version for a sample participant."""
    return Preview(
        letter=render(campaign, kind, campaigns.compiled(version.id)),
        preheader=_preheader(campaign, version.preheader),
        made_text=version.text,
    )


def render(campaign: Campaign, kind: NotificationKind, version: CompiledVersion) -> Rendered:
    """The letter for a sample participant, with the footer that real ones get."""
    values = campaigns.sample(campaign)
    footer = None
    if kind.recipient != "owner":
        footer = Footer(
            company_name=campaign.company_name,
            postal_address=accounts.current().postal_address,
            unsubscribe_url=values["unsubscribe_url"],
        )
    return version.render(values, footer=footer)


def own_text(kind: NotificationKind, words: Words, based_on: NotificationVersion) -> str | None:
    """The text part if a person wrote it; None if it is the one made from the HTML, whose next making replaces it.

    It is made when the field is empty, when it still shows what was made for the version that the editor began with,
    or when it is what these very words would make.
    """
    typed = _plain(words.text)
    if not typed or (not based_on.text_is_own and typed == _plain(based_on.text)):
        return None
    try:
        made = _prepare(kind, words, text=None).text
    except TemplateProblems:
        return words.text
    return None if typed == _plain(made) else words.text


def made_text(kind: NotificationKind, words: Words) -> str:
    """The text part that these words would make. Raises TemplateProblems."""
    return _prepare(kind, words, text=None).text


def _prepare(kind: NotificationKind, words: Words, *, text: str | None) -> Prepared:
    return template.prepare(
        subject=words.subject, preheader=words.preheader, html=words.html, text=text, allowed=kind.tags
    )


def _compiled(words: Prepared) -> CompiledVersion:
    return template.compile_version(subject=words.subject, preheader=words.preheader, html=words.html, text=words.text)


def _preheader(campaign: Campaign, source: str) -> str:
    line = template.compile_version(subject=source, preheader="", html="", text="")
    return line.render(campaigns.sample(campaign)).subject


def _plain(text: str) -> str:
    # A browser sends CRLF for every line break of a field, whatever it was given.
    return "\n".join(line.rstrip() for line in text.replace("\r\n", "\n").split("\n")).strip()


def _key(account_id: uuid.UUID, token: str) -> str:
    return f"ownpost:preview:{account_id}:{token}"


def keep(html: str) -> str | None:
    """Keeps a previewed letter for its frame and returns its token; None when Redis is away."""
    token = secrets.token_urlsafe(12)
    try:
        queue.connection().set(_key(db.account_id(), token), html, ex=_KEEP)
    except redis.RedisError as error:
        log.warning("preview not kept", error=type(error).__name__)
        return None
    return token


def kept(token: str) -> str | None:
    """A letter that was kept for this account; None when it is forgotten."""
    try:
        found = queue.connection().get(_key(db.account_id(), token))
    except redis.RedisError:
        return None
    return found.decode() if isinstance(found, bytes) else None
