"""Words that nobody has saved yet: how they would look, and whose the text part is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from panel.accounts import service as accounts
from panel.campaigns import service as campaigns
from panel.campaigns.kinds import NotificationKind
from panel.campaigns.service import Campaign, NotificationVersion
from panel.message import drafting
from panel.message.drafting import Words
from panel.message.template import CompiledVersion, Footer, Problem, Rendered, TemplateProblems


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
        prepared = drafting.prepare(words, text=own_text(kind, words, based_on), allowed=kind.tags)
    except TemplateProblems as error:
        return Preview(letter=None, problems=error.problems)
    return Preview(
        letter=render(campaign, kind, drafting.compiled(prepared)),
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
    """The text part if a person wrote it, begun from that version; None if it is the one made from the HTML."""
    return drafting.own_text(words, shown=based_on.text, shown_is_own=based_on.text_is_own, allowed=kind.tags)


def _preheader(campaign: Campaign, source: str) -> str:
    return drafting.line(source, campaigns.sample(campaign))
