"""What the pages about blasts show besides the blast itself."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from flask import url_for

from panel.accounts import service as accounts
from panel.blasts import progress, service
from panel.blasts.audience import Audience
from panel.blasts.progress import Progress
from panel.blasts.service import Blast
from panel.campaigns import service as campaigns
from panel.message import drafting, tags
from panel.message.drafting import Words, problem_words
from panel.message.template import Rendered, TemplateProblems
from panel.servers import service as servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How words would arrive, or what is wrong with them."""

    letter: Rendered | None
    preheader: str = ""
    problems: tuple[str, ...] = ()


def here(blast: Blast) -> dict[str, Any]:
    """What a blast's addresses are made of."""
    return {"campaign_id": blast.campaign_id, "blast_id": blast.id}


def preview(blast: Blast, words: Words, audience: Audience) -> Preview:
    """Checks and renders words for a made-up participant, saving nothing."""
    try:
        prepared = drafting.prepare(words, text=service.own_text(blast, words, audience), allowed=audience.tags)
    except TemplateProblems as error:
        return Preview(letter=None, problems=tuple(map(problem_words, error.problems)))
    campaign = campaigns.get(blast.campaign_id)
    letter = service.rendered(campaign, drafting.compiled(prepared))
    return Preview(letter=letter, preheader=service.line(campaign, prepared.preheader))


def saved(blast: Blast) -> Preview:
    """What is saved, for a made-up participant."""
    preheader = service.line(campaigns.get(blast.campaign_id), service.words_of(blast).preheader)
    return Preview(letter=_letter(blast), preheader=preheader)


def _letter(blast: Blast) -> Rendered:
    return service.rendered(campaigns.get(blast.campaign_id), campaigns.compiled(blast.version_id))


def preview_context(blast: Blast, shown: Preview, token: str | None) -> dict[str, Any]:
    """What campaigns/_preview.html is given. `token` names the letter in the frame; without one it is the saved one."""
    where = here(blast)
    kept = url_for("blasts.preview_letter", token=token, **where) if token else None
    return {
        "preview": shown,
        "preview_problems": shown.problems,
        "preview_url": url_for("blasts.preview", **where),
        "frame_url": kept or url_for("blasts.letter", version=blast.version_id, **where),
        "senders": campaigns.senders(campaigns.get(blast.campaign_id)),
        "token": token,
    }


def editor(blast: Blast, audience: Audience, shown: Preview, token: str | None) -> dict[str, Any]:
    """The editor's page, but for its form, which says this audience."""
    return {
        "blast": blast,
        "campaign": campaigns.get(blast.campaign_id),
        "tag_menu": tag_menu(audience),
        "reach": service.reach(blast),
        "audience": service.audience_of(blast),
        "zone": accounts.current().time_zone,
        "test_addresses": accounts.confirmed_addresses(),
        **preview_context(blast, shown, token),
    }


def tag_menu(audience: Audience) -> list[tuple[str, list[tags.MergeTag]]]:
    """The merge tags that a blast to them may use."""
    return tags.menu(audience.tags)


def before_sending(blast: Blast) -> dict[str, Any]:
    """The page that asks for the word to send, but for its form."""
    campaign = campaigns.get(blast.campaign_id)
    reach = service.reach(blast)
    return {
        "blast": blast,
        "campaign": campaign,
        "reach": reach,
        "audience": service.audience_of(blast),
        "subject": _letter(blast).subject,
        "senders": campaigns.senders(campaign),
        "forecast": _forecast(campaign, reach.recipients),
        "zone": accounts.current().time_zone,
    }


def _forecast(campaign: campaigns.Campaign, count: int, *, at: dt.datetime | None = None) -> servers.Forecast | None:
    return servers.forecast(servers.route_of(campaign.address_id), count, at=at) if count else None


def run(blast: Blast) -> dict[str, Any]:
    """The page of a blast that is a draft no more."""
    shown = progress.look(blast) if blast.started_at else None
    campaign = campaigns.get(blast.campaign_id)
    waits = blast.state == "scheduled"
    return {
        "blast": blast,
        "campaign": campaign,
        "forecast": _forecast(campaign, service.reach(blast).recipients, at=blast.scheduled_at) if waits else None,
        "audience": service.audience_of(blast),
        "version": service.words_of(blast),
        "author": author(blast),
        "letter_url": url_for("blasts.letter", version=blast.version_id, **here(blast)),
        "senders": campaigns.senders(campaign),
        "letter": _letter(blast),
        "zone": accounts.current().time_zone,
        **(shown_progress(blast, shown) if shown else {"progress": None}),
    }


def shown_progress(blast: Blast, shown: Progress) -> dict[str, Any]:
    """What blasts/_progress.html is given."""
    where = here(blast)
    return {
        "progress": shown,
        "task": progress.task_of(blast.id),
        "bar": bar(shown),
        "left": _length(shown.seconds_left) if shown.seconds_left else None,
        "left_out": blast.left_out,
        "urls": {name: url_for(f"blasts.{name}", **where) for name in ("pause", "resume", "cancel")},
    }


def author(blast: Blast) -> str:
    """Who made it."""
    people = {user.id: user.name or user.email for user in accounts.users()}
    return people.get(blast.made_by, "somebody who has left") if blast.made_by else "Ownpost"


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the progress bar, in percent of its width."""

    kind: str
    x: float
    width: float


def bar(shown: Progress) -> list[Part]:
    """Sent, in trouble and canceled, from the left; what is empty still waits."""
    total = max(1, shown.ended + shown.waiting)
    parts, x = [], 0.0
    troubled = shown.failed + shown.uncertain
    for kind, count in (("sent", shown.sent), ("troubled", troubled), ("canceled", shown.canceled)):
        # A single failure among thousands is to be seen.
        width = max(0.4, 100 * count / total) if count else 0.0
        parts.append(Part(kind, round(x, 2), round(min(width, 100 - x), 2)))
        x += width
    return parts


def _length(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"about {minutes} minute{'s' if minutes > 1 else ''}"
    hours = round(seconds / 3600)
    return f"about {hours} hours" if hours < 48 else f"about {round(hours / 24)} days"
