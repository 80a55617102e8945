"""Any template, any values: bounded, escaped, nothing evaluated; and what is wrong is named by its line."""

from __future__ import annotations

import re
import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panel.message.checking import MAX_DEPTH, MAX_MARK_LENGTH, MAX_MARKS
from panel.message.filters import FILTERS
from panel.message.language import MAX_OUTPUT
from panel.message.tags import TAGS
from panel.message.template import Problem, TemplateProblems, TooLarge, compile_version, prepare
from tests.support.examples import examples

ALLOWED = frozenset(TAGS)
WITHIN = 0.2  # seconds of this process's own time


def split(several: str) -> list[str]:
    return [one for line in several.strip().split("\n") for one in line.split("¦")]


# Values that would show the secret, were anything of them evaluated, and an element, were they not escaped; between
# broken bars, as they are made of all other signs.
SECRET = "SECRET-7Q2X"
HIDDEN = "denial.reason"
EVIL = """
{{ denial.reason }}¦{{denial.reason}}¦{{- denial.reason -}}¦{% if denial.reason %}{{ denial.reason }}{% endif %}
}}{{ denial.reason }}{{¦%}{{ denial.reason }}{%¦' | append: denial.reason }}¦" | default: denial.reason }}
{% assign x = denial.reason %}{{ x }}¦{% raw %}¦{% endraw %}¦{% comment %}¦{% include 'denial.reason' %}
<i class=made>¦</p><i class=made>¦"><i class=made>¦'><i class=made x='¦&lt;i class=made&gt;¦<!--¦-->
<script>alert(1)</script>¦javascript:alert(1)¦%(denial.reason)s¦${denial.reason}¦#{denial.reason}
denial.reason¦blank¦nil¦0¦-1
"""
EVIL_VALUES = split(EVIL)
EVIL_VALUES += ["\r\n", "\0", "\u2028", "\ud800", "9" * 400, "x" * 2000]
VALUES = st.dictionaries(
    st.sampled_from(sorted(ALLOWED - {HIDDEN})), st.sampled_from(EVIL_VALUES) | st.text(max_size=20), max_size=8
).map(lambda values: {**values, HIDDEN: SECRET})

NAMES = sorted(ALLOWED - {HIDDEN})
LITERALS = st.sampled_from(["'x'", '"<b>"', "'{{ denial.reason }}'", "3", "300", "''", "'%d/%m'", "true", "nil", "-1"])
STEPS = st.builds(
    lambda name, given: f" | {name}{': ' + given if given else ''}",
    st.sampled_from([*FILTERS, "append", "link", "escape_once", "no_such"]),
    st.none() | LITERALS | st.sampled_from(NAMES),
)
OUTPUTS = st.builds(
    lambda opening, name, steps, closing: f"{{{{{opening} {name}{''.join(steps)} {closing}}}}}",
    st.sampled_from(["", "-"]),
    st.sampled_from([*NAMES, "no.such", "1", "'x'", "(1..9)", "1 + 1", "company.name.size", "company['name']", "for"]),
    st.lists(STEPS, max_size=5),
    st.sampled_from(["", "-"]),
)
QUESTIONS = st.one_of(
    st.sampled_from(NAMES),
    st.builds(
        lambda name, how, what: f"{name} {how} {what}",
        st.sampled_from(NAMES),
        st.sampled_from(["==", "!=", ">", "<=", "contains", "<>", "="]),
        LITERALS | st.sampled_from(["blank", "empty", *NAMES]),
    ),
)
TEXT = st.sampled_from(["<p>", "</p>", "words", "\n", " ", "&amp;", "<b title='", "'>", "{", "}", "%", "{ {", "é"])


def _condition(word: str, asked: str, then: str, between: str, otherwise: str) -> str:
    return f"{{% {word} {asked} %}}{then}{between}{otherwise}{{% end{word} %}}"


def _nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    between = st.sampled_from(["", "{% else %}", "{% elsif company.name %}", "{% else %}{% else %}"])
    conditions = st.builds(_condition, st.sampled_from(["if", "unless"]), QUESTIONS, inner, between, inner)
    return st.lists(conditions | inner, min_size=1, max_size=4).map("".join)


SOURCES = st.recursive(st.lists(OUTPUTS | TEXT, max_size=5).map("".join), _nested, max_leaves=14)


class Elements(HTMLParser):
    """The start tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def problems(html: str, *, line: str = "x") -> tuple[list[Problem], float]:
    """What is wrong with a template, and how long saying so took; nothing is wrong with one that is taken."""
    started = time.process_time()
    try:
        prepare(subject=line, preheader=line, html=html, text=html, allowed=ALLOWED)
        found = []
    except TemplateProblems as error:
        found = error.problems
    return found, time.process_time() - started


@examples(100)
@given(SOURCES, st.lists(VALUES, min_size=1, max_size=3))
def test_it_takes_or_refuses_any_template_and_evaluates_no_value(source: str, several: list[dict[str, str]]) -> None:
    try:
        one = prepare(
            subject=f"x{source}".replace("\n", " ")[:200],
            preheader="",
            html=f"<p>x</p>{source}",
            text=None,
            allowed=ALLOWED,
        )
    except TemplateProblems as error:
        lines = source.count("\n") + 1
        named = [problem for problem in error.problems if problem.message and 1 <= problem.line <= lines]
        if len(named) == len(error.problems) > 0:
            return
        raise
    version = compile_version(subject=one.subject, preheader="", html=one.html, text=one.text)
    for values in several:
        letter = version.render(values)
        assert SECRET not in letter.subject + letter.html + letter.text
        assert len(letter.html) <= MAX_OUTPUT + 1000
        assert len(letter.subject.splitlines()) == 1
        for tag, attributes in Elements(letter.html).found:
            assert tag in {"html", "head", "meta", "body", "p", "b"}
            assert "class" not in attributes


@examples(100)
@given(
    st.lists(st.sampled_from(split("<p>words</p>¦¦{% if company.name %}a{% endif %}¦{{ company.name }}")), max_size=12),
    st.lists(st.just("<p>more</p>"), max_size=5),
    st.sampled_from(split("{{ nope }}¦{% for x in y %}¦{{ company.name | nope }}¦{{ 1 + 1 }}¦{{¦{% endif %}¦{{ }}")),
)
def test_it_names_the_line_and_the_mark_of_what_is_wrong(before: list[str], after: list[str], wrong: str) -> None:
    found, _ = problems("\n".join([*before, f"x {wrong} y", *after]))
    named = {(problem.field, problem.line) for problem in found}
    assert {("html", len(before) + 1), ("text", len(before) + 1)} <= named
    assert any(problem.tag and wrong.startswith(problem.tag[:2]) for problem in found)
    [*_, last] = found
    assert last.message.endswith((".", "?", "!"))


ELSEWHERE = """
raw¦comment¦doc¦liquid¦echo 'x'¦include 'x'¦render 'x'¦layout 'x'¦extends 'x'¦block x¦assign x = 1¦capture x
increment x¦decrement x¦cycle 'a', 'b'¦case company.name¦when 'x'¦for x in (1..1000000000)¦tablerow x in y¦break
continue¦ifchanged¦macro x¦call x¦translate¦style¦schema¦form 'x'¦section 'x'¦paginate x by 5¦#¦# note¦import os
set x = 1¦elseif x¦with x¦autoescape false¦load x¦url 'x'¦now 'Y'¦debug¦extends company.name¦IF company.name
"""


@pytest.mark.parametrize("word", split(ELSEWHERE))
@pytest.mark.parametrize("dashes", ["{{%{} {} {}%}}", "{{%-{} {} {}-%}}"], ids=["plain", "trimming"])
def test_it_has_no_other_statements(word: str, dashes: str) -> None:
    source = dashes.format("", word, "")
    for html in (
        source,
        f"<p>{source}x{{% end{word.split()[0]} %}}</p>",
        f"{{% if company.name %}}{source}{{% endif %}}",
    ):
        found, took = problems(f"a\nb\n{html}", line=source)
        assert {problem.field for problem in found} == {"subject", "preheader", "html", "text"}
        assert min(problem.line for problem in found if problem.field == "html") == 3
        assert took < WITHIN


ARITHMETIC = """
1 + 1¦company.name + 'x'¦1 * 9¦(1..999999999)¦company.name[0]¦company.name.size¦-company.name¦company['na' 'me']
referrer.referral_count | plus: 1¦referrer.referral_count | times: 9¦company.name | append: 'x'¦company.name == 'x'
company.name | replace: 'a', 'b'¦company.name | split: ','¦company.name | date: company.name¦a if b else c
company.name | truncate: 99999999¦company[denial.reason]¦company.name; denial.reason¦company.name or denial.reason
company.name | upcase | | downcase¦__class__¦company.name | link¦company.name | mailto_encode¦self¦globals
company.__class__¦forloop.index
"""


@pytest.mark.parametrize("inside", split(ARITHMETIC))
def test_it_reckons_with_nothing(inside: str) -> None:
    found, took = problems(f"<p>{{{{ {inside} }}}}</p>", line=f"{{{{ {inside} }}}}")
    assert {problem.field for problem in found} == {"subject", "preheader", "html", "text"}
    assert took < WITHIN


DEEP = "{% if company.name %}"
LARGE = {
    "a 1 MB body": "<p>words</p>" * 90_000,
    "ten thousand tags": "{{ company.name }}" * 10_000,
    "ten thousand tags on lines": "{{ company.name }}\n" * 5_000,
    "a nest of a thousand ifs": DEEP * 1_000 + "x" + "{% endif %}" * 1_000,
    "a thousand unclosed ifs": DEEP * 1_000,
    "one nest too many": DEEP * (MAX_DEPTH + 1) + "x" + "{% endif %}" * (MAX_DEPTH + 1),
    "a thousand elses": DEEP + "{% else %}" * 299,
    "one mark too many": "{{ company.name }}" * (MAX_MARKS + 1),
    "a chain of a thousand filters": "{{ company.name" + " | upcase" * 1_000 + " }}",
    "a mark that is too long": "{{ company.name | default: '" + "x" * MAX_MARK_LENGTH + "' }}",
    "a condition of a thousand ors": "{% if company.name" + " or company.name" * 1_000 + " %}x{% endif %}",
    "quotes that never close": "{{ company.name | default: '" * 3_000,
    "closers alone": "}} %}" * 20_000 + "{{ nope }}",
    "many unknown tags": "{{ nope }}" * MAX_MARKS,
    "names alike": "".join(f"{{{{ referrer.first_nam{n} }}}}" for n in range(MAX_MARKS)),
    "a long unknown name": "{{ " + "x." * 140 + " }}",
    "brackets": "{{ " + "[" * 280 + " }}",
}


@pytest.mark.parametrize("name", LARGE)
def test_it_refuses_what_is_too_large_at_once(name: str) -> None:
    found, took = problems(LARGE[name])
    again, took_again = problems(LARGE[name])
    assert found == again != []
    assert min(took, took_again) < WITHIN


AT_THE_LIMIT = {
    "the deepest nest": DEEP * MAX_DEPTH + "x" + "{% endif %}" * MAX_DEPTH,
    "the most marks": "{{ company.name }}" * MAX_MARKS,
    "the longest chain": "{{ company.name" + " | upcase" * 31 + " }}",
    "the longest condition": "{% if company.name" + " or friend.email" * 16 + " %}x{% endif %}",
    "nests beside one another": (DEEP * 9 + "x" + "{% else %}y{% endif %}" * 9) * 11,
}


@pytest.mark.parametrize("name", AT_THE_LIMIT)
def test_it_takes_and_renders_what_is_at_the_limit_in_time(name: str) -> None:
    runs = []
    for _ in range(2):
        started = time.process_time()
        one = prepare(subject="x", preheader="", html=f"<p>{AT_THE_LIMIT[name]}</p>", text=None, allowed=ALLOWED)
        version = compile_version(subject=one.subject, preheader="", html=one.html, text=one.text)
        letter = version.render({"company.name": "<x>" * 300})
        runs.append(time.process_time() - started)
        assert "<x>" not in letter.html
    assert min(runs) < WITHIN


def test_it_ends_where_values_would_make_more_than_a_letter() -> None:
    one = prepare(subject="x", preheader="", html="{{ company.name }}" * MAX_MARKS, text=None, allowed=ALLOWED)
    version = compile_version(subject=one.subject, preheader="", html=one.html, text=one.text)
    started = time.process_time()
    with pytest.raises(TooLarge):
        version.render({"company.name": "<" * 100_000})
    assert time.process_time() - started < WITHIN


@pytest.mark.parametrize("value", EVIL_VALUES)
def test_it_shows_a_value_as_it_is(value: str) -> None:
    one = prepare(
        subject="{{ company.name }}", preheader="", html="<p>[{{ company.name }}]</p>", text=None, allowed=ALLOWED
    )
    version = compile_version(subject=one.subject, preheader="", html=one.html, text=one.text)
    letter = version.render({"company.name": value, HIDDEN: SECRET})
    inner = letter.html.partition("<p>[")[2].rpartition("]</p>")[0]
    kept = re.sub(r"[\0\ud800]", "", value).replace("\r\n", "\n").replace("\u2028", "\n")
    assert "<" not in inner
    assert unescape(inner) == kept
    assert letter.text.rstrip("\n") == re.sub(r"\n+", "\n", f"[{kept}]")
