"""Words that belong to no notification: those of a blast. Others reach this through `campaigns.service`."""

from __future__ import annotations

import uuid
from typing import Final

from panel import db
from panel.campaigns.models import NotificationVersion
from panel.message.template import Prepared

_ONLY: Final = 1


def keep_words(words: Prepared, *, text_is_own: bool, made_by: uuid.UUID | None) -> NotificationVersion:
    """Keeps words as a version of their own, so that a letter made of them can be made again. In a transaction."""
    version = NotificationVersion(
        id=uuid.uuid4(),
        notification_id=None,
        number=_ONLY,
        subject=words.subject,
        preheader=words.preheader,
        html_source=words.html_source,
        html=words.html,
        text=words.text,
        text_is_own=text_is_own,
        tags_used=sorted(words.tags_used),
        made_by=made_by,
    )
    session = db.session()
    session.add(version)
    session.flush()
    return version
