"""What is put in without evaluating an expression is what Liquid itself puts in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.message.language import Choice, Slot, Values, parse
from panel.message.tags import nested

TAGS = [
    "{{ friend.first_name }}",
    "{{ friend.first_name | default: 'you' }}",
    "{{ friend.first_name | default: friend.email }}",
    "{{ friend.first_name | default: friend.last_name | default: 'you' | default: friend.email }}",
    "{{ friend.first_name | default: '' | default: friend.email | upcase }}",
    "{{ friend.first_name | upcase | default: 'you' | truncate: 3, '.' }}",
    "{{ friend.first_name | capitalize | strip | downcase | escape }}",
    "{{ friend.email | url_encode }}{{ friend.email | mailto_encode }}",
    "{{ referrer.portal_link | link }}{{ referrer.portal_link | default: friend.email | link }}",
    "{{ reward.expires_on | date }}{{ reward.expires_on | date: '%d/%m/%y' | default: 'never' }}",
]
EVALUATED = [
    "{{ referrer.referral_count | default: 'x' | upcase }}",
    "{{ friend.first_name | default: referrer.referral_count }}",
    "{{ friend.first_name | default: company.logo }}",
]
COMPARED = [
    f"referrer.referral_count {sign} {number}" for sign in ("==", "!=", "<", "<=", ">", ">=") for number in (0, 2)
]
ASKED = ["friend.first_name", "friend.first_name == blank", "2 > referrer.referral_count", "referrer.referral_count"]
TEXT = st.none() | st.sampled_from(["", "Fi", " fi ", "a&b@x.example", "https://x/ä?", "2027-01-31", "javascript:x"])
VALUES = st.fixed_dictionaries(
    dict.fromkeys(["friend.first_name", "friend.last_name", "friend.email", "referrer.portal_link"], TEXT)
    | {"reward.expires_on": TEXT, "referrer.referral_count": st.none() | st.sampled_from(["0", "1", "2", "x"])}
)


def by_liquid(source: str, values: dict[str, str | None]) -> str:
    return parse(source).template.render(**nested(values))


def by_us(source: str, values: dict[str, str | None]) -> str:
    return parse(source).run(Values({name: value for name, value in values.items() if value}))


@settings(deadline=None)
@given(st.sampled_from(TAGS + EVALUATED), VALUES)
def test_it_puts_in_what_liquid_puts_in(source: str, values: dict[str, str | None]):
    assert by_us(source, values) == by_liquid(source, values)


@settings(deadline=None)
@given(st.sampled_from(COMPARED + ASKED), st.sampled_from(["if", "unless"]), VALUES)
def test_it_chooses_what_liquid_chooses(asked: str, word: str, values: dict[str, str | None]):
    source = f"{{% {word} {asked} %}}yes{{% elsif friend.email %}}mail{{% else %}}no{{% end{word} %}}"
    assert by_us(source, values) == by_liquid(source, values)


@pytest.mark.parametrize("source", TAGS)
def test_it_evaluates_no_expression_for_a_name_and_its_filters(source: str):
    assert all(isinstance(part, Slot) and part.name is not None for part in parse(source).parts)


@pytest.mark.parametrize("asked", COMPARED)
def test_it_evaluates_no_expression_to_compare_a_count(asked: str):
    [choice] = parse(f"{{% if {asked} %}}yes{{% endif %}}").parts
    assert isinstance(choice, Choice)
    assert choice.branches[0].asks is not None
