"""Letters to people who have no login yet, or have one already. They take the platform server."""

from __future__ import annotations

from flask import current_app, render_template, url_for

from panel.config import Settings
from panel.outbox import service as outbox


def send(name: str, *, to_address: str, subject: str, token: str | None = None, **words: object) -> None:
    """Queues one of the letters in `templates/settings/email`; `token`: an invitation’s. In an account scope."""
    settings: Settings = current_app.extensions["ownpost"]
    link = url_for("settings.invitation", token=token, _external=True) if token else None
    words = {**words, "link": link, "email": to_address}
    outbox.put_system_letter(
        to_address=to_address,
        subject=subject,
        text=render_template(f"settings/email/{name}.txt", **words),
        html=render_template(f"settings/email/{name}.html", **words),
        from_domain=settings.platform_from.address.rpartition("@")[2],
    )
