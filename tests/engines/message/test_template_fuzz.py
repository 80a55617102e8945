"""Whatever the source: it is refused with problems, or it can be mailed to anyone and nothing in it can act."""

import re
from html.parser import HTMLParser

from hypothesis import given, note, settings
from hypothesis import strategies as st

from panel.message.tags import TAGS, sample_values
from panel.message.template import Prepared, TemplateProblems, compile_version, prepare

ALLOWED = frozenset(TAGS)
# Pieces, separated by a broken bar, as sources are made of all the others.
HTML = """
<p>¦</p>¦<b>¦</b>¦<table>¦<tr>¦<td>¦</td>¦</tr>¦</table>¦<a href="¦<a href='https://x/¦<a href='mailto:¦">¦'>¦>¦<¦</a>
<!--¦-->¦<!¦<![CDATA[¦<?¦<style>¦</style>¦<body ¦</body>¦<script>¦</script>¦<svg>¦<math>¦<title>¦</title>¦<textarea>
<img src="¦ onerror="¦ onclick='¦ style="¦ title='¦javascript:¦&#123;¦&lt;¦&#106;¦p{color:red}¦"¦'¦&¦\\¦=¦/¦hi¦é¦日
markn0z¦<ul><li>¦</li>¦<pre>¦<div¦color:red;¦url(x)¦https://y/¦ ¦{¦}¦%
"""
MARKS = """
{{ company.name }}¦{{ referrer.portal_link }}¦{{ friend.first_name | default: "\\">'<b>" }}¦{{- friend.email -}}
{{ reward.code | default: 'javascript:x' | upcase }}¦{{ friend.email | url_encode }}¦{{ reward.expires_on | date }}
{{ referrer.portal_link }}¦{{ campaign.name | default: '<script>' }}¦{{ company.name | truncate: 3 }}¦{{ x }}
"""
PIECES = st.sampled_from([piece for line in (HTML + MARKS).strip().split("\n") for piece in line.split("¦")])
CONDITIONS = st.sampled_from(
    [
        ("{% if company.name %}", "{% endif %}"),
        ("{% if referrer.referral_count > 1 %}", "{% else %}x{% endif %}"),
        ("{%- unless friend.email == blank -%}", "{% elsif friend.email contains 'x' %}{% endunless %}"),
        ("{% if company.name %}", ""),
    ]
)
SOURCES = st.recursive(
    st.lists(PIECES, max_size=6).map("".join),
    lambda inner: st.builds(
        lambda one, pair, two, three: one + pair[0] + two + pair[1] + three, inner, CONDITIONS, inner, inner
    ),
    max_leaves=8,
)
HOSTILE_VALUES = dict.fromkeys(TAGS, "javascript:alert(1)//\"'><script>{{ company.name }}{% if %}\r\n\0")


class Reader(HTMLParser):
    """Reads a rendered page as a browser would, and remembers what could act."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.acting: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "style", "svg", "iframe", "form", "link", "base", "object"}:
            self.acting.append(tag)
        for name, value in attrs:
            is_link = name in {"href", "src"} and not (value or "").lower().startswith(("http", "mailto:", "tel:", "#"))
            if name.startswith("on") or is_link:
                self.acting.append(f"{tag} {name}={value}")


def prepared(*, html: str, line: str = "x") -> Prepared | None:
    """The template, or nothing if it was refused, which has to be with problems that say something."""
    try:
        return prepare(subject=f"x{line}", preheader=line, html=html, text=None, allowed=ALLOWED)
    except TemplateProblems as error:
        for problem in error.problems:
            note(f"{problem}")
        named = [problem for problem in error.problems if problem.message and problem.line >= 1]
    assert named
    return None


@settings(deadline=None)
@given(SOURCES, SOURCES)
def test_it_refuses_a_source_or_makes_letters_that_cannot_act(html: str, line: str):
    for subject in ("x", line):
        if one := prepared(html=html, line=subject):
            version = compile_version(subject=one.subject, preheader=one.preheader, html=one.html, text=one.text)
            for values in (sample_values(), {}, HOSTILE_VALUES):
                letter = version.render(values)
                assert Reader(letter.html).acting == []
                assert len(letter.subject.splitlines()) == 1


@settings(deadline=None)
@given(SOURCES)
def test_it_cleans_what_is_clean_already_to_the_same(html: str):
    if (once := prepared(html=re.sub(r"[{}%]", "", html))) and (twice := prepared(html=once.html)):
        assert (twice.html, twice.text) == (once.html, once.text)
