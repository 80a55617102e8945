"""What the pages about notifications show beside the words themselves."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from panel.accounts import service as accounts
from panel.campaigns.kinds import NotificationKind
from panel.campaigns.service import Listed, Notification, NotificationVersion
from panel.campaigns.service import versions as versions_of

_GROUPS: Final = {"referrer": "To the referrer", "friend": "To the friend", "owner": "To you"}


@dataclass(frozen=True, slots=True)
class Group:
    """The notifications of one kind of recipient."""

    title: str
    listed: list[Listed]


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version and who made it."""

    version: NotificationVersion
    author: str
    is_current: bool


def groups(listed: Iterable[Listed]) -> list[Group]:
    """The overview, by recipient."""
    found = list(listed)
    return [
        Group(title, [each for each in found if each.kind.recipient == recipient])
        for recipient, title in _GROUPS.items()
    ]


def recipient_words(kind: NotificationKind) -> str:
    """Who gets it, as a heading says it."""
    return _GROUPS[kind.recipient]


def version_lines(notification: Notification) -> list[VersionLine]:
    """The notification's versions, newest first, with who made each."""
    names = {user.id: user.name or user.email for user in accounts.users()}
    return [
        VersionLine(each, _author(each, names), each.id == notification.current_version_id)
        for each in versions_of(notification.id)
    ]


def _author(version: NotificationVersion, names: dict[uuid.UUID, str]) -> str:
    if version.made_by is None:
        return "Ownpost’s default words" if version.number == 1 else "Ownpost"
    return names.get(version.made_by, "somebody who has left")
