"""A campaign's notifications and their versions. Others reach this through `campaigns.service`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from sqlalchemy import func, select

from panel import db
from panel.accounts import service as accounts
from panel.campaigns.kinds import KINDS, NotificationKind
from panel.campaigns.models import Campaign, Notification, NotificationVersion
from panel.message import template
from panel.message.template import CompiledVersion, Prepared

_FIRST = 1


@dataclass(frozen=True, slots=True)
class Listed:
    """A notification as the overview shows it."""

    notification: Notification
    kind: NotificationKind
    subject: str


@cache
def _default(kind: str) -> Prepared:
    # The default words never change while the process runs; cleaning their HTML costs milliseconds each.
    words = KINDS[kind]
    return template.prepare(
        subject=words.subject, preheader=words.preheader, html=words.html, text=None, allowed=words.tags
    )


def add_all(campaign_id: uuid.UUID) -> None:
    """Gives a new campaign every notification in its default words. In a transaction."""
    pairs = [_new(campaign_id, kind) for kind in KINDS.values()]
    session = db.session()
    session.add_all(notification for notification, _ in pairs)
    session.flush()
    session.add_all(version for _, version in pairs)


def _new(campaign_id: uuid.UUID, kind: NotificationKind) -> tuple[Notification, NotificationVersion]:
    notification = Notification(id=uuid.uuid4(), campaign_id=campaign_id, kind=kind.key, enabled=kind.default_on)
    version = _version(notification.id, _FIRST, _default(kind.key), text_is_own=False, made_by=None)
    notification.current_version_id = version.id
    return notification, version


def _version(
    notification_id: uuid.UUID, number: int, words: Prepared, *, text_is_own: bool, made_by: uuid.UUID | None
) -> NotificationVersion:
    return NotificationVersion(
        id=uuid.uuid4(),
        notification_id=notification_id,
        number=number,
        subject=words.subject,
        preheader=words.preheader,
        html_source=words.html_source,
        html=words.html,
        text=words.text,
        text_is_own=text_is_own,
        tags_used=sorted(words.tags_used),
        made_by=made_by,
    )


def notifications(campaign_id: uuid.UUID) -> list[Notification]:
    """A campaign's notifications, in the order of KINDS."""
    found = db.session().scalars(select(Notification).where(Notification.campaign_id == campaign_id))
    return _in_order(found.all())


def _in_order(found: Sequence[Notification]) -> list[Notification]:
    places = {key: place for place, key in enumerate(KINDS)}
    return sorted((each for each in found if each.kind in places), key=lambda each: places[each.kind])


def overview(campaign_id: uuid.UUID) -> list[Listed]:
    """A campaign's notifications with their subjects, in the order of KINDS."""
    joined = (
        select(Notification, NotificationVersion.subject)
        .join(NotificationVersion, NotificationVersion.id == Notification.current_version_id)
        .where(Notification.campaign_id == campaign_id)
    )
    subjects = dict(db.session().execute(joined).all())
    return [Listed(each, KINDS[each.kind], subjects[each]) for each in _in_order(list(subjects))]


def listed(notification: Notification) -> Listed:
    """One line of the overview."""
    return Listed(notification, KINDS[notification.kind], current_version(notification).subject)


def kinds_of(notification_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The kinds of these notifications, by id."""
    wanted = select(Notification.id, Notification.kind).where(Notification.id.in_(notification_ids))
    return {row.id: row.kind for row in db.session().execute(wanted)}


def subjects_of(version_ids: Collection[uuid.UUID | None]) -> dict[uuid.UUID, str]:
    """The subjects of these versions, by id."""
    wanted = select(NotificationVersion.id, NotificationVersion.subject).where(NotificationVersion.id.in_(version_ids))
    return {row.id: row.subject for row in db.session().execute(wanted)}


def get_notification(notification_id: uuid.UUID, *, campaign_id: uuid.UUID | None = None) -> Notification:
    """One notification of this account and, if one is given, of that campaign. Raises NotFound."""
    notification = db.owned(Notification, notification_id)
    if campaign_id is not None and notification.campaign_id != campaign_id:
        raise db.NotFound("no such Notification in this campaign")
    return notification


def notification_of(campaign_id: uuid.UUID, kind: str) -> Notification:
    """The campaign's notification of that kind, on or off. Raises NotFound."""
    wanted = select(Notification).where(Notification.campaign_id == campaign_id, Notification.kind == kind)
    found = db.session().scalar(wanted)
    if found is None:
        raise db.NotFound(f"this campaign has no notification {kind}")
    return found


def switch(notification_id: uuid.UUID, *, enabled: bool) -> Notification:
    """Switches a notification on or off, from the next event on. Raises NotFound."""
    with db.transaction():
        notification = db.owned(Notification, notification_id)
        notification.enabled = enabled
        action = "notification.switched_on" if enabled else "notification.switched_off"
        accounts.audit(action, subject=_label(notification))
    return notification


def _label(notification: Notification) -> str:
    """How the audit log calls it."""
    campaign = db.owned(Campaign, notification.campaign_id)
    return f"{KINDS[notification.kind].title} ({campaign.name})"


def versions(notification_id: uuid.UUID) -> list[NotificationVersion]:
    """Every version of a notification, newest first."""
    wanted = select(NotificationVersion).where(NotificationVersion.notification_id == notification_id)
    return list(db.session().scalars(wanted.order_by(NotificationVersion.number.desc())))


def get_version(version_id: uuid.UUID) -> NotificationVersion:
    """One version. Raises NotFound."""
    return db.owned(NotificationVersion, version_id)


def current_version(notification: Notification) -> NotificationVersion:
    """What the notification says now."""
    if notification.current_version_id is None:
        raise db.NotFound("a notification without a version")
    return db.owned(NotificationVersion, notification.current_version_id)


def save_version(
    notification_id: uuid.UUID,
    *,
    subject: str,
    preheader: str,
    html: str,
    text: str | None,
    made_by: uuid.UUID | None = None,
) -> NotificationVersion:
    """Saves new words as the next version and makes it the current one.

    `text` None: the text part is made from the HTML. Words that are those of the current version make no new one.
    Raises TemplateProblems, and then saves nothing.
    """
    kind = KINDS[get_notification(notification_id).kind]
    words = template.prepare(subject=subject, preheader=preheader, html=html, text=text, allowed=kind.tags)
    with db.transaction() as session:
        # Locked, so that two people who save at once get two numbers.
        notification = session.scalars(
            select(Notification).where(Notification.id == notification_id).with_for_update()
        ).one()
        current = current_version(notification)
        if _same(current, words, text_is_own=text is not None):
            return current
        newest = session.scalar(
            select(func.max(NotificationVersion.number)).where(NotificationVersion.notification_id == notification_id)
        )
        version = _version(notification_id, (newest or 0) + 1, words, text_is_own=text is not None, made_by=made_by)
        session.add(version)
        notification.current_version_id = version.id
        label = _label(notification)
        accounts.audit("notification.saved", subject=label, user_id=made_by, version=version.number)
    return version


def _same(version: NotificationVersion, words: Prepared, *, text_is_own: bool) -> bool:
    return (version.subject, version.preheader, version.html_source, version.text, version.text_is_own) == (
        words.subject,
        words.preheader,
        words.html_source,
        words.text,
        text_is_own,
    )


def restore(notification_id: uuid.UUID, version_id: uuid.UUID, *, made_by: uuid.UUID | None) -> NotificationVersion:
    """Makes a new version that says what an older one said. Raises NotFound, and TemplateProblems."""
    old = get_version(version_id)
    if old.notification_id != notification_id:
        raise db.NotFound("no such version of this notification")
    return save_version(
        notification_id,
        subject=old.subject,
        preheader=old.preheader,
        html=old.html_source,
        text=old.text if old.text_is_own else None,
        made_by=made_by,
    )


def compiled(version_id: uuid.UUID) -> CompiledVersion:
    """A version, parsed once for this process: versions never change. Raises NotFound."""
    return _compiled(db.account_id(), version_id)


@lru_cache(maxsize=1_000)
def _compiled(_account_id: uuid.UUID, version_id: uuid.UUID) -> CompiledVersion:
    # The account is part of the key, so that what one account has parsed is not handed to another.
    version = get_version(version_id)
    return template.compile_version(
        subject=version.subject, preheader=version.preheader, html=version.html, text=version.text
    )
