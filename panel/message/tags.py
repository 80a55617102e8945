"""The merge tags that letters may use: their names, what they hold, and sample values to show them with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Nested = dict[str, "str | int | Nested"]


@dataclass(frozen=True, slots=True)
class MergeTag:
    """One merge tag. `numeric` ones are counts, which a condition may compare with a number."""

    name: str
    description: str
    sample: str
    fallback: str | None = None
    numeric: bool = False

    @property
    def example(self) -> str:
        """The tag as the editor's menu inserts it."""
        default = f' | default: "{self.fallback}"' if self.fallback is not None else ""
        return f"{{{{ {self.name}{default} }}}}"


_LIST: Final = (
    MergeTag("recipient.first_name", "First name of the person who gets the letter", "Robin", fallback="there"),
    MergeTag("recipient.last_name", "Last name of the person who gets the letter", "Meyer"),
    MergeTag("recipient.email", "Email address of the person who gets the letter", "robin@example.com"),
    MergeTag("referrer.first_name", "First name of the person who refers", "Robin", fallback="there"),
    MergeTag("referrer.last_name", "Last name of the person who refers", "Meyer"),
    MergeTag("referrer.email", "Email address of the person who refers", "robin@example.com"),
    MergeTag("referrer.referral_link", "Their personal link to share", "https://example.com/r/ROBIN42"),
    MergeTag("referrer.referral_code", "Their personal referral code", "ROBIN42"),
    MergeTag(
        "referrer.portal_link", "The page where they follow their referrals", "https://example.com/portal/ROBIN42"
    ),
    MergeTag("referrer.referral_count", "How many friends they have referred", "3", numeric=True),
    MergeTag("referrer.qualified_count", "How many of those friends qualified", "2", numeric=True),
    MergeTag("friend.first_name", "First name of the referred friend", "Charlie", fallback="your friend"),
    MergeTag("friend.last_name", "Last name of the referred friend", "Brooks"),
    MergeTag("friend.email", "Email address of the referred friend", "charlie@example.com"),
    MergeTag("reward.name", "What the reward is", "Free coffee"),
    MergeTag("reward.value", "What the reward is worth", "5 EUR"),
    MergeTag("reward.code", "The code that redeems the reward", "COFFEE-7Q2X"),
    MergeTag("reward.expires_on", "The last day on which the reward can be used", "2027-01-31"),
    MergeTag("denial.reason", "Why the referral was denied", "They were a customer already."),
    MergeTag("campaign.name", "Name of the campaign", "Spring referrals"),
    MergeTag("company.name", "Name of your company", "Acme Coffee"),
    MergeTag("unsubscribe_url", "Link that stops this campaign's email", "https://example.com/u/sample"),
    MergeTag("preferences_url", "Link to the recipient's email preferences", "https://example.com/p/sample"),
)

TAGS: Final[Mapping[str, MergeTag]] = {tag.name: tag for tag in _LIST}

RECIPIENT: Final = frozenset(name for name in TAGS if name.startswith("recipient."))
REFERRER: Final = frozenset(name for name in TAGS if name.startswith("referrer."))
FRIEND: Final = frozenset(name for name in TAGS if name.startswith("friend."))
REWARD: Final = frozenset(name for name in TAGS if name.startswith("reward."))
DENIAL: Final = frozenset(name for name in TAGS if name.startswith("denial."))
CAMPAIGN: Final = frozenset({"campaign.name", "company.name"})
LINKS: Final = frozenset({"unsubscribe_url", "preferences_url"})

_GROUPS: Final = (
    ("Recipient", RECIPIENT),
    ("Referrer", REFERRER),
    ("Friend", FRIEND),
    ("Reward", REWARD),
    ("Denial", DENIAL),
    ("Campaign", CAMPAIGN),
    ("Email preferences", LINKS),
)


def menu(allowed: frozenset[str]) -> list[tuple[str, list[MergeTag]]]:
    """The groups of the editor's menu with their tags, in order; groups with nothing allowed are left out."""
    groups = [(title, [TAGS[name] for name in TAGS if name in names & allowed]) for title, names in _GROUPS]
    return [(title, tags) for title, tags in groups if tags]


def sample_values(replaced: Mapping[str, str] | None = None) -> dict[str, str]:
    """A value for every tag, for previews; `replaced` holds what is known better, such as the real company's name."""
    return {name: tag.sample for name, tag in TAGS.items()} | dict(replaced or {})


def is_count(name: str) -> bool:
    """Tell whether the tag of this name holds a number."""
    return name in TAGS and TAGS[name].numeric


def nested(values: Mapping[str, str | None]) -> Nested:
    """Turn `{"referrer.first_name": "Robin"}` into `{"referrer": {"first_name": "Robin"}}`, as Liquid wants it.

    Missing and empty values are left out, so that `{% if friend.first_name %}` asks what a person means by it. Counts
    become numbers, and a missing count is zero, so that they can be compared.
    """
    tree: Nested = {}
    for name, tag in TAGS.items():
        value = values.get(name)
        if tag.numeric:
            _put(tree, name, count_of(value))
        elif value:
            _put(tree, name, value)
    return tree


def _put(tree: Nested, name: str, value: str | int) -> None:
    group, dot, leaf = name.partition(".")
    if not dot:
        tree[group] = value
        return
    branch = tree.setdefault(group, {})
    if isinstance(branch, dict):
        branch[leaf] = value


def count_of(value: str | None) -> int:
    """The number that a count's text stands for. More than nine digits is no count, and would be slow to read."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) <= 9 else 0
