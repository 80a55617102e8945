"""Blasts: one email to many participants of a campaign. Written here; sent by `sending`, counted by `progress`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, Final

from flask import current_app
from sqlalchemy import delete, select, update

from panel import db
from panel.accounts import service as accounts
from panel.blasts import rows
from panel.blasts.audience import Audience
from panel.blasts.firstwords import HTML, PREHEADER, SUBJECT
from panel.blasts.models import Blast
from panel.blasts.rows import Reach
from panel.blasts.sending import (
    NotNow,
    ask_about_due,
    asking,
    cancel,
    forget_in_audiences,
    is_any_scheduled,
    note,
    pause,
    resume,
    schedule,
    send,
    tick,
    to_draft,
)
from panel.campaigns import service as campaigns
from panel.campaigns.service import NotificationVersion
from panel.config import Settings
from panel.deliveries import service as deliveries
from panel.message import drafting
from panel.message.drafting import Words
from panel.message.template import CompiledVersion, Footer, Prepared, Rendered

__all__ = [
    "Audience",
    "Blast",
    "NotNow",
    "Reach",
    "ask_about_due",
    "asking",
    "cancel",
    "forget_in_audiences",
    "is_any_scheduled",
    "pause",
    "resume",
    "schedule",
    "send",
    "tick",
    "to_draft",
]

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Listed:
    """A blast in the list, and its subject as a made-up participant would read it."""

    blast: Blast
    subject: str


def get(blast_id: uuid.UUID, *, campaign_id: uuid.UUID | None = None) -> Blast:
    """One blast of this account and, if one is given, of that campaign. Raises NotFound."""
    blast = db.owned(Blast, blast_id)
    if campaign_id is not None and blast.campaign_id != campaign_id:
        raise db.NotFound("no such Blast in this campaign")
    return blast


def of_campaign(campaign_id: uuid.UUID) -> list[Listed]:
    """The campaign's newest blasts, newest first."""
    wanted = (
        select(Blast, NotificationVersion.subject)
        .join(NotificationVersion, NotificationVersion.id == Blast.version_id)
        .where(Blast.campaign_id == campaign_id)
        .order_by(Blast.made_at.desc(), Blast.id)
        .limit(PAGE)
    )
    values = campaigns.sample(campaigns.get(campaign_id))
    return [Listed(blast, drafting.line(subject, values)) for blast, subject in db.session().execute(wanted)]


def words_of(blast: Blast) -> NotificationVersion:
    """What it says."""
    return campaigns.get_version(blast.version_id)


def audience_of(blast: Blast) -> Audience:
    """Whom it is for."""
    return Audience.of(blast.audience)


def reach(blast: Blast) -> Reach:
    """How many it would go to now."""
    return rows.reach(blast.campaign_id, audience_of(blast))


def create(campaign_id: uuid.UUID, *, made_by: uuid.UUID | None = None) -> Blast:
    """A new draft, in words that show what a blast may hold."""
    audience = Audience(who="referrers")
    words = Words(subject=SUBJECT, preheader=PREHEADER, html=HTML, text="")
    prepared = drafting.prepare(words, text=None, allowed=audience.tags)
    with db.transaction() as session:
        version = campaigns.keep_words(prepared, text_is_own=False, made_by=made_by)
        blast = Blast(
            id=uuid.uuid4(), campaign_id=campaign_id, version_id=version.id, audience=audience.data(), made_by=made_by
        )
        session.add(blast)
        session.flush()
        note("blast.added", blast.id, user_id=made_by)
    return blast


def save(blast_id: uuid.UUID, words: Words, audience: Audience, *, made_by: uuid.UUID | None = None) -> Blast:
    """Changes a draft. Raises TemplateProblems, and NotNow for one that is a draft no more."""
    blast = get(blast_id)
    text = own_text(blast, words, audience)
    prepared = drafting.prepare(words, text=text, allowed=audience.tags)
    with db.transaction() as session:
        version = words_of(blast)
        if not _same(version, prepared, text_is_own=text is not None):
            version = campaigns.keep_words(prepared, text_is_own=text is not None, made_by=made_by)
        saved = session.execute(
            update(Blast)
            .where(Blast.id == blast_id, Blast.state == "draft")
            .values(version_id=version.id, audience=audience.data())
            .returning(Blast.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if saved is None:
            raise NotNow("Only a draft can be changed, and this blast is one no more.")
        session.refresh(blast)
        note("blast.saved", blast_id, user_id=made_by)
    return blast


def _same(version: NotificationVersion, words: Prepared, *, text_is_own: bool) -> bool:
    return (version.subject, version.preheader, version.html_source, version.text, version.text_is_own) == (
        words.subject,
        words.preheader,
        words.html_source,
        words.text,
        text_is_own,
    )


def duplicate(blast_id: uuid.UUID, *, made_by: uuid.UUID | None = None) -> Blast:
    """A new draft that says the same to the same audience."""
    old = get(blast_id)
    with db.transaction() as session:
        copy = Blast(
            id=uuid.uuid4(),
            campaign_id=old.campaign_id,
            version_id=old.version_id,
            audience=old.audience,
            made_by=made_by,
        )
        session.add(copy)
        session.flush()
        note("blast.added", copy.id, user_id=made_by, copy_of=str(blast_id))
    return copy


def remove(blast_id: uuid.UUID) -> None:
    """Throws a draft away. Raises NotNow for anything else. Its words stay: test letters may have been made of them."""
    get(blast_id)
    with db.transaction() as session:
        note("blast.removed", blast_id)
        gone = session.execute(
            delete(Blast)
            .where(Blast.id == blast_id, Blast.state == "draft")
            .returning(Blast.id)
            .execution_options(synchronize_session=False)
        ).scalar()
        if gone is None:
            raise NotNow("Only a draft can be thrown away, and this blast is one no more.")


def own_text(blast: Blast, words: Words, audience: Audience) -> str | None:
    """The text part if a person wrote it; None if it is the one made from the HTML."""
    shown = words_of(blast)
    return drafting.own_text(words, shown=shown.text, shown_is_own=shown.text_is_own, allowed=audience.tags)


def sample_values(campaign: campaigns.Campaign) -> dict[str, Any]:
    """What a letter to a made-up participant is made of: for previews and test sends."""
    settings: Settings = current_app.extensions["ownpost"]
    # The sample person has nothing to unsubscribe from; the page behind this link says so.
    unsubscribe = f"{settings.public_url}/u/test-email"
    tags = campaigns.sample(campaign) | {
        "unsubscribe_url": unsubscribe,
        "preferences_url": f"{settings.public_url}/p/test-email",
    }
    return deliveries.letter_values(
        tags,
        company_name=campaign.company_name,
        postal_address=accounts.current().postal_address,
        unsubscribe_url=unsubscribe,
    )


def rendered(campaign: campaigns.Campaign, version: CompiledVersion) -> Rendered:
    """The letter for a made-up participant."""
    values = sample_values(campaign)
    return version.render(values["tags"], footer=Footer(**values["footer"]))


def line(campaign: campaigns.Campaign, source: str) -> str:
    """One line of words, for a made-up participant."""
    return drafting.line(source, campaigns.sample(campaign))
