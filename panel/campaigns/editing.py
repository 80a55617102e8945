"""The pages of the notification editor."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from panel import db, previews
from panel.accounts import service as accounts
from panel.campaigns import drafts, pages
from panel.campaigns import service as campaigns
from panel.campaigns.drafts import Preview
from panel.campaigns.service import Notification, NotificationVersion
from panel.message import drafting, tags
from panel.message.drafting import problem_words
from panel.message.template import TemplateProblems
from panel.web import frames
from panel.web.words import WordsForm

_BASE = "/campaigns/<uuid:campaign_id>/notifications/<uuid:notification_id>"

Answer = str | BaseResponse | tuple[str, int]


def add_to(blueprint: Blueprint) -> None:
    """Registers the editor's routes."""
    blueprint.add_url_rule(_BASE, view_func=notification, methods=["GET", "POST"])
    blueprint.add_url_rule(f"{_BASE}/preview", view_func=preview, methods=["POST"])
    blueprint.add_url_rule(f"{_BASE}/preview/<token>", view_func=preview_letter)
    blueprint.add_url_rule(f"{_BASE}/text", view_func=make_text, methods=["POST"])
    blueprint.add_url_rule(f"{_BASE}/versions/<uuid:version_id>", view_func=version_letter)
    blueprint.add_url_rule(f"{_BASE}/versions/<uuid:version_id>/restore", view_func=restore, methods=["POST"])


def notification(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Answer:
    """The editor; a POST saves."""
    found = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    form = WordsForm()
    if not form.is_submitted():
        form.fill(campaigns.current_version(found))
        return _editor(found, form)
    based_on = _based_on(found, form)
    try:
        saved = _save(found, form, based_on)
    except TemplateProblems as error:
        form.add_problems(error.problems)
        return _editor(found, form), 422
    flash(_saved_words(saved, based_on), "success")
    return redirect(_editor_url(found), 303)


def _save(found: Notification, form: WordsForm, based_on: NotificationVersion) -> NotificationVersion:
    words = form.words()
    text = drafts.own_text(campaigns.KINDS[found.kind], words, based_on)
    return campaigns.save_version(
        found.id, subject=words.subject, preheader=words.preheader, html=words.html, text=text, made_by=current_user.id
    )


def _saved_words(saved: NotificationVersion, based_on: NotificationVersion) -> str:
    if saved.id == based_on.id:
        return "Nothing had changed."
    if saved.number > based_on.number + 1:
        return (
            f"Saved as version {saved.number}. Somebody saved version {saved.number - 1} while you were writing: "
            "look whether something of it should be in yours."
        )
    return f"Saved as version {saved.number}. Letters say this from the next event on."


def preview(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Answer:
    """How the words in the form would look: for htmx beside the editor, else as the frame's whole content."""
    found = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    form = WordsForm()
    kind = campaigns.KINDS[found.kind]
    shown = drafts.preview(campaigns.get(campaign_id), kind, form.words(), _based_on(found, form))
    if request.headers.get("HX-Request"):
        # While the words cannot be rendered, the letter that is in the frame stays there.
        token = previews.keep(shown.letter.html) if shown.letter else request.form.get("shown")
        return render_template("campaigns/_preview.html", **_preview_context(found, shown, token))
    if shown.letter is None:
        return frames.note("It cannot be sent like this:", _lines(shown), 422)
    return frames.letter(shown.letter.html)


def preview_letter(campaign_id: uuid.UUID, notification_id: uuid.UUID, token: str) -> Answer:
    """The letter of a preview, for its frame."""
    campaigns.get_notification(notification_id, campaign_id=campaign_id)
    html = previews.kept(token)
    if html is None:
        return frames.note("This preview has been forgotten. Change something in the words to make it again.", [], 404)
    return frames.letter(html)


def make_text(campaign_id: uuid.UUID, notification_id: uuid.UUID) -> Answer:
    """Replaces the text part in the form by one made from its HTML, saving nothing."""
    found = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    form = WordsForm()
    status = 200
    try:
        form.text.data = drafting.made_text(form.words(), allowed=campaigns.KINDS[found.kind].tags)
    except TemplateProblems as error:
        form.add_problems(error.problems)
        status = 422
    if request.headers.get("HX-Request"):
        return render_template("campaigns/_fields.html", form=form, tag_menu=_tag_menu(found)), status
    return _editor(found, form), status


def version_letter(campaign_id: uuid.UUID, notification_id: uuid.UUID, version_id: uuid.UUID) -> Answer:
    """A saved version as a letter, for a frame or a tab of its own."""
    found = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    version = _version_of(found, version_id)
    kind = campaigns.KINDS[found.kind]
    return frames.letter(drafts.render(campaigns.get(campaign_id), kind, campaigns.compiled(version.id)).html)


def restore(campaign_id: uuid.UUID, notification_id: uuid.UUID, version_id: uuid.UUID) -> Answer:
    """Makes an older version's words a new version."""
    found = campaigns.get_notification(notification_id, campaign_id=campaign_id)
    old = _version_of(found, version_id)
    try:
        saved = campaigns.restore(found.id, old.id, made_by=current_user.id)
        flash(f"Version {saved.number} says again what version {old.number} said.", "success")
    except TemplateProblems as error:
        flash(f"Version {old.number} cannot be used any more: {problem_words(error.problems[0])}", "error")
    return redirect(_editor_url(found), 303)


def _version_of(found: Notification, version_id: uuid.UUID) -> NotificationVersion:
    version = campaigns.get_version(version_id)
    if version.notification_id != found.id:
        raise db.NotFound("no such version of this notification")
    return version


def _based_on(found: Notification, form: WordsForm) -> NotificationVersion:
    """The version whose words the form was filled with; the current one for a form that does not say."""
    try:
        return _version_of(found, uuid.UUID(form.based_on.data or ""))
    except (ValueError, db.NotFound):
        return campaigns.current_version(found)


def _editor_url(found: Notification) -> str:
    return url_for("campaigns.notification", campaign_id=found.campaign_id, notification_id=found.id)


def _editor(found: Notification, form: WordsForm) -> str:
    campaign = campaigns.get(found.campaign_id)
    kind = campaigns.KINDS[found.kind]
    token = None
    if form.is_submitted():
        shown = drafts.preview(campaign, kind, form.words(), _based_on(found, form))
        token = previews.keep(shown.letter.html) if shown.letter else None
    else:
        shown = drafts.preview_version(campaign, kind, campaigns.current_version(found))
    return render_template(
        "campaigns/notification.html",
        campaign=campaign,
        kind=kind,
        form=form,
        recipient_words=pages.recipient_words(kind),
        versions=pages.version_lines(found),
        test_addresses=accounts.confirmed_addresses(),
        tag_menu=_tag_menu(found),
        **_preview_context(found, shown, token),
    )


def _tag_menu(found: Notification) -> list[tuple[str, list[tags.MergeTag]]]:
    return tags.menu(campaigns.KINDS[found.kind].tags)


def _preview_context(found: Notification, shown: Preview, token: str | None) -> dict[str, Any]:
    """`token` names the letter in the frame; without one it is the saved version."""
    here: dict[str, Any] = {"campaign_id": found.campaign_id, "notification_id": found.id}
    version = url_for("campaigns.version_letter", version_id=found.current_version_id, **here)
    return {
        "notification": found,
        "preview_url": url_for("campaigns.preview", **here),
        "frame_url": url_for("campaigns.preview_letter", token=token, **here) if token else version,
        "senders": campaigns.senders(campaigns.get(found.campaign_id)),
        "preview": shown,
        "preview_problems": _lines(shown),
        "token": token,
    }


def _lines(shown: Preview) -> list[str]:
    return [problem_words(each) for each in shown.problems]
