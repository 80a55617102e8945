"""The letter that every side sends: about 9.6 KB as text and HTML, with six merge tags."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Final

_WORDS: Final = (  # noqa: SIM905 - easier to read than a list
    "friend coffee share link thank reward spring autumn bring invite table morning walk letter window garden street "
    "season happy little good every other"
).split()
_chance = random.Random("the same letter in every run")

TAGS: Final = {
    "first_name": "referrer.first_name",
    "last_name": "referrer.last_name",
    "link": "referrer.referral_link",
    "code": "referrer.referral_code",
    "campaign": "campaign.name",
    "company": "company.name",
}
"""The merge tags: what the peers call them, and what Ownpost does."""

COMPANY, CAMPAIGN = "Acme AB", "Spring referrals"


def _lines(count: int, words: int) -> str:
    return "\n".join(" ".join(_chance.choice(_WORDS) for _ in range(words)) for _ in range(count))


SUBJECT: Final = "{{ first_name }}, your link for {{ campaign }}"
TEXT: Final = "\n\n".join(
    [
        "Hello {{ first_name }} {{ last_name }},",
        *(_lines(5, 9) for _ in range(6)),
        "Your link: {{ link }} (or the code {{ code }})\nProgram: {{ campaign }}\nUntil soon, {{ first_name }}!\n",
    ]
)
_PARAGRAPHS: Final = "\n".join(f'<p style="margin:0 0 16px;color:#333">{_lines(8, 11)}</p>' for _ in range(11))
HTML: Final = f"""\
<h1>Hello {{{{ first_name }}}} {{{{ last_name }}}}</h1>
{_PARAGRAPHS}
<p><a href="{{{{ link }}}}">Open {{{{ campaign }}}}</a>, or use {{{{ code }}}}</p>
<p>Until soon, {{{{ first_name }}}}! {{{{ company }}}}</p>
"""
_PAGE: Final = '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n</head>\n<body>\n{}</body>\n</html>\n'


def ours(template: str) -> str:
    """A template with Ownpost's names for the merge tags."""
    return _filled(template, {name: f"{{{{ {tag} }}}}" for name, tag in TAGS.items()})


def names(number: int) -> tuple[str, str]:
    """First and last name of recipient `number`: neither of them plain ASCII."""
    return f"Åsa{number}", "Lindström"


def values(number: int) -> dict[str, str]:
    """The merge values of recipient `number`, by the peers' names."""
    first_name, last_name = names(number)
    return {
        "first_name": first_name,
        "last_name": last_name,
        "link": f"https://acme.example/invite?ref={number:08d}",
        "code": f"{number:08d}",
        "campaign": CAMPAIGN,
        "company": COMPANY,
    }


def _filled(template: str, given: Mapping[str, str]) -> str:
    return re.sub(r"\{\{ (\w+) \}\}", lambda tag: given[tag[1]], template)


def write(folder: Path) -> None:
    """Writes what the peers read: letter.json (the templates) and letter.eml (one letter, made)."""
    page = _PAGE.format(HTML)
    (folder / "letter.json").write_text(json.dumps({"subject": SUBJECT, "text": TEXT, "html": page}))
    made = EmailMessage(policy=SMTP.clone(cte_type="8bit"))
    made["Subject"] = _filled(SUBJECT, values(1))
    made["From"], made["To"] = "Owner <owner@acme.example>", "p1@example.com"
    made.set_content(_filled(TEXT, values(1)), cte="8bit")
    made.add_alternative(_filled(page, values(1)), subtype="html", cte="8bit")
    (folder / "letter.eml").write_bytes(made.as_bytes())
