"""Templates: what is refused on saving, what survives cleaning, and what a recipient's values become."""

import contextlib
import time
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panel.message.tags import TAGS, sample_values
from panel.message.template import (
    CompiledVersion,
    Footer,
    Prepared,
    Problem,
    Rendered,
    TemplateProblems,
    TooLarge,
    compile_version,
    prepare,
)

ALLOWED = frozenset(TAGS) - {"denial.reason"}
FOOTER = Footer(
    company_name="Acme & Co",
    postal_address="1 Main Street\n12345 Town",
    unsubscribe_url="https://acme.example/u/1?a=b&c=d",
)


def prepared(
    html: str = "<p>Hello</p>", *, subject: str = "Hi", preheader: str = "", text: str | None = None
) -> Prepared:
    return prepare(subject=subject, preheader=preheader, html=html, text=text, allowed=ALLOWED)


def compiled(one: Prepared) -> CompiledVersion:
    return compile_version(subject=one.subject, preheader=one.preheader, html=one.html, text=one.text)


def rendered(html: str, values: dict[str, str | None] | None = None, **others: str) -> Rendered:
    return compiled(prepared(html, **others)).render(sample_values() if values is None else values)


def problems(html: str = "<p>Hello</p>", **others: str) -> list[Problem]:
    with pytest.raises(TemplateProblems) as error:
        prepared(html, **others)
    return error.value.problems


# -- merge tags and conditions ---------------------------------------------------------------------------------------


def test_it_puts_values_into_subject_html_and_text():
    letter = rendered("<p>Dear {{ referrer.first_name }}</p>", subject="Hello {{ referrer.first_name }}")
    assert letter.subject == "Hello Robin"
    assert "<p>Dear Robin</p>" in letter.html
    assert letter.text == "Dear Robin\n"


@pytest.mark.parametrize("value", [None, ""])
def test_it_takes_the_default_for_a_missing_or_empty_value(value: str | None):
    source = (
        "{{ friend.first_name | default: 'friend' }} {{ friend.last_name }}{{ friend.email | default: campaign.name }}!"
    )
    assert rendered(source, {"friend.first_name": value, "campaign.name": "Spring"}).text == "friend Spring!\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% if friend.first_name %}A{% else %}B{% endif %}", "A"),
        ("{% if friend.last_name %}A{% else %}B{% endif %}", "B"),
        ("{% unless friend.last_name %}A{% endunless %}", "A"),
        ("{% if friend.last_name == blank %}A{% endif %}", "A"),
        ("{% if friend.last_name == empty %}A{% endif %}", "A"),
        ("{% if friend.last_name == '' %}A{% endif %}", "A"),
        ("{% if friend.first_name != blank %}A{% endif %}", "A"),
        ("{% if friend.first_name == 'Fi' and friend.last_name != 'X' %}A{% endif %}", "A"),
        ("{% if friend.last_name or friend.first_name %}A{% endif %}", "A"),
        ("{% if friend.first_name contains 'F' %}A{% endif %}", "A"),
        ("{% if referrer.referral_count > 2 %}A{% elsif referrer.referral_count == 2 %}B{% else %}C{% endif %}", "B"),
        ("{% if referrer.qualified_count >= 1 %}A{% else %}B{% endif %}", "B"),
        ("{{ friend.first_name | upcase }}{{ friend.first_name | downcase }}", "FIfi"),
        ("{{ friend.email | truncate: 5 }}", "f@ex…"),
        ("{{ reward.expires_on | date }} {{ reward.expires_on | date: '%d/%m/%y' }}", "5 January 2027 05/01/27"),
        ("{{ friend.first_name | date }}", "Fi"),
        ("{{ campaign.name | strip | capitalize | escape }}", "Spring & more"),
        ("{{ campaign.name | url_encode }}", "%20spring%20%26%20more%20"),
        ("{{ referrer['first_name'] | default: 'x' }}", "x"),
        ("a{{- friend.first_name -}} b", "aFib"),
    ],
)
def test_it_understands_the_liquid_it_offers(source: str, text: str):
    values: dict[str, str | None] = {
        "friend.first_name": "Fi",
        "friend.email": "f@example.com",
        "referrer.referral_count": "2",
        "reward.expires_on": "2027-01-05",
        "campaign.name": " spring & more ",
    }
    assert rendered("<p>x</p>", values, text=source).text.strip() == text


@pytest.mark.parametrize(
    ("source", "tag", "words"),
    [
        ("{{ refferer.first_name }}", "{{ refferer.first_name }}", "Did you mean “referrer.first_name”?"),
        ("{{ x }}", "{{ x }}", "no merge tag “x”"),
        ("{{ referrer }}", "{{ referrer }}", "no merge tag “referrer”"),
        ("{{ company.name.size }}", "{{ company.name.size }}", "no merge tag"),
        ("{{ now }}", "{{ now }}", "no merge tag"),
        ("{{ denial.reason }}", "{{ denial.reason }}", "not known when this email is sent"),
        ("{% if denial.reason %}x{% endif %}", "{% if denial.reason %}", "not known when this email is sent"),
        ("{{ company.name | default: denial.reason }}", "", "not known when this email is sent"),
        ("{{ 1 + 1 }}", "{{ 1 + 1 }}", "cannot be understood"),
        ("{{ 1 }}", "{{ 1 }}", "Only a merge tag"),
        ("{{ 'text' }}", "{{ 'text' }}", "Only a merge tag"),
        ("{{ (1..9) }}", "{{ (1..9) }}", "cannot be used"),
        ("{{ referrer.referral_count | plus: 1 }}", "", "no filter “plus”"),
        ("{{ referrer.referral_link | link }}", "", "no filter “link”"),
        ("{{ company.name | truncate: 'x' }}", "", "does not allow"),
        ("{{ company.name | truncate: 100000000 }}", "", "does not allow"),
        ("{{ company.name | truncate: campaign.name }}", "", "not a merge tag"),
        ("{{ company.name | default: 'a', 'b' }}", "", "does not allow"),
        ("{% if company.name > 3 %}x{% endif %}", "{% if company.name > 3 %}", "does not allow"),
        ("{% if campaign.name == 'y' and company.name < 3 %}x{% endif %}", "", "does not allow"),
        ("{% for a in company.name %}x{% endfor %}", "{% for a in company.name %}", "Only conditions"),
        ("{% assign a = 1 %}", "{% assign a = 1 %}", "Only conditions"),
        ("{% include 'x' %}", "{% include 'x' %}", "Only conditions"),
        ("{% raw %}{{ x }}{% endraw %}", "{% raw %}", "Only conditions"),
        ("{% %}", "{% %}", "Only conditions"),
        ("{% if company.name %}x", "{% if company.name %}", "{% endif %} is missing"),
        ("x{% endif %}", "{% endif %}", "no condition open"),
        ("{% else %}", "{% else %}", "no condition open"),
        ("{% if company.name %}x{% endunless %}", "{% endunless %}", "{% endif %} is expected"),
        ("{% if company.name %}a{% else %}b{% else %}c{% endif %}", "{% else %}", "after the condition's else"),
        ("{% if %}x{% endif %}", "{% if %}", "cannot be understood"),
        ("{{ company.name", "{{ company.name", "}} is missing"),
        ("{% if company.name }} x", "", "%} is missing"),
        ("{{ }}", "{{ }}", "empty"),
    ],
)
@pytest.mark.parametrize("field", ["html", "text", "subject", "preheader"])
def test_it_names_the_field_the_line_and_the_tag_of_what_is_wrong(source: str, tag: str, words: str, field: str):
    breaks = "" if field in {"subject", "preheader"} else "First line\n\n"
    found = problems(**{field: f"{breaks}{source}"})
    assert found[0].field == field
    assert found[0].line == (3 if breaks else 1)
    assert tag in found[0].tag
    assert any(words in problem.message for problem in found)


def test_it_names_every_problem_at_once():
    found = problems("{{ a }}\n{{ b }}\n{{ company.name }}", subject="{{ c }}", text="{{ d }}")
    assert [(problem.field, problem.line, problem.tag) for problem in found] == [
        ("subject", 1, "{{ c }}"),
        ("html", 1, "{{ a }}"),
        ("html", 2, "{{ b }}"),
        ("text", 1, "{{ d }}"),
    ]


@pytest.mark.parametrize("break_", ["\r\nBcc: eve@evil.example", "\n", "\u2028", "\x85", "\x0b", "\0", "\u202e"])
def test_it_refuses_a_subject_that_is_more_than_a_line(break_: str):
    assert problems(subject=f"Hello{break_}x")[0].field == "subject"


def test_it_refuses_an_empty_subject_an_empty_body_and_a_body_that_cannot_be_mailed():
    assert problems(subject="  ")[0].message == "The subject is empty."
    assert problems("  ")[0].message == "The body is empty."
    assert problems("<script>x</script><!-- y -->")[0].message == "Nothing of the body can be mailed."


def test_it_tells_which_tags_are_used_in_conditions_and_defaults_too():
    one = prepared(
        "{% if friend.first_name %}{{ friend.email | default: campaign.name }}{% else %}{{ reward.code }}{% endif %}",
        subject="{{ company.name }}",
        preheader="{{ reward.name }}",
    )
    expected = {"friend.first_name", "friend.email", "campaign.name", "reward.code", "company.name", "reward.name"}
    assert one.tags_used == expected
    assert compiled(one).tags_used == expected


# -- cleaning --------------------------------------------------------------------------------------------------------


def test_it_keeps_the_source_as_typed_and_cleans_what_is_mailed():
    source = '<p onclick="x()" class="a" style="color:red;position:fixed">Hi</p><script>x()</script><!-- note -->'
    one = prepared(source)
    assert one.html_source == source
    assert one.html == '<p style="color:red">Hi</p>'


def test_it_writes_style_sheets_into_the_elements_and_keeps_what_was_said_of_the_body():
    one = prepared(
        "<html><head><title>T</title><style>p { color: red } body { background: #eee }</style></head>"
        '<body style="margin: 0"><!-- <style>p { color: blue }</style> --><p>Hi</p></body></html>'
    )
    assert '<p style="color:red">Hi</p>' in one.html
    assert one.html.startswith("<div style=")
    assert "background:#eee" in one.html
    assert "margin:0" in one.html
    assert "blue" not in one.html
    assert one.text == "Hi\n"


def test_it_loads_no_style_sheet_from_anywhere(tmp_path: object):
    file = f"{tmp_path}/x.css"
    with open(file, "w") as css:  # noqa: PTH123 - the path goes into the HTML as text
        css.write("p { color: red }")
    one = prepared(
        f"<link rel=stylesheet href='file://{file}'><style>@import url('{file}'); b {{ color: blue }}</style><p>x</p>"
    )
    assert one.html.strip() == "<p>x</p>"


@pytest.mark.parametrize(
    "html",
    [
        "<a href=\"javascript:alert(1)\">x</a>",
        "<a href=\"java&#10;script:alert(1)\">x</a>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<a href=\"data:text/html,<script>\">x</a>",
        "<a href=\"vbscript:x\">x</a>",
        "<a href=\"//evil.example\">x</a>",
        "<a href=\"/x\">x</a>",
        "<img src=\"x\" onerror=\"alert(1)\">x",
        "<svg onload=alert(1)>x</svg>",
        "<iframe src=\"https://evil.example\"></iframe>x",
        "<form action=\"https://evil.example\"><input name=p></form>x",
        "<p style=\"background:url(javascript:alert(1))\">x</p>",
        "<p style=\"width: \\65xpression(alert(1))\">x</p>",
        "<p style=\"behavior:url(x)\">x</p>",
        "<base href=\"https://evil.example\">x",
        "<meta http-equiv=refresh content=\"0;url=https://evil.example\">x",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>x",
        "<!--[if mso]><p onclick=x>y</p><![endif]-->x",
    ],
)  # fmt: skip
def test_it_removes_everything_that_could_act(html: str):
    page = rendered(html).html.lower()
    for bad in (
        "script",
        "alert",
        "evil",
        "onerror",
        "onclick",
        "onload",
        "data:",
        "url(",
        "behavior",
        "expression",
        "mso",
    ):
        assert bad not in page


def test_it_keeps_merge_tags_in_text_attributes_and_tables():
    letter = rendered(
        "<table>{% if friend.first_name %}"
        "<tr><td title='{{ company.name }}'>{{ friend.first_name }}</td></tr>"
        "{% endif %}</table>"
        "<img src='https://acme.example/{{ referrer.referral_code }}.png' alt='{{ campaign.name }}'>"
    )
    assert '<table><tbody><tr><td title="Acme Coffee">Charlie</td></tr></tbody></table>' in letter.html
    assert '<img src="https://acme.example/ROBIN42.png" alt="Spring referrals">' in letter.html


@pytest.mark.parametrize(
    "html",
    [
        "<p {{ company.name }}>x</p>",
        "<{{ company.name }}>x",
        "<p onclick='{{ company.name }}'>x</p>",
        "<p style='color: {{ company.name }}'>x</p>",
        "<style>p { color: {{ company.name }} }</style><p>x</p>",
        "<!-- {{ company.name }} --><p>x</p>",
        "<script>{{ company.name }}</script><p>x</p>",
        "<a href='java{{ company.name }}script:x'>x</a>",
        "<a href='{{ company.name }}:x'>x</a>",
        "<a href='/{{ company.name }}'>x</a>",
        "<p title='{% if company.name %}a{% endif %}'>x</p>",
        "<p {% if company.name %}title='a'{% endif %}>x</p>",
        '<a href="{% if company.name %}">hi{% endif %}" onclick="alert(1)">x</a>',
        "<script>{% if company.name %}</script>x{% endif %}",
        "x<!-- {% if company.name %} -->y{% endif %}",
    ],
)
def test_it_refuses_marks_where_they_would_be_lost_or_could_change_the_html(html: str):
    found = problems(html)
    assert {problem.field for problem in found} == {"html"}
    assert all(problem.tag for problem in found)


def test_it_does_not_let_cleaning_make_new_merge_tags():
    letter = rendered(
        "<p>&#123;&#123; company.name }} {<!-- -->{ company.name }} &#x7b;% if company.name %} {"
        "<!-- -->{{ company.name }}</p>",
        preheader="{ { company.name }}",
    )
    assert letter.text == "{{ company.name }} {{ company.name }} {% if company.name %} {Acme Coffee\n"
    assert unescape(letter.html).count("Acme Coffee") == 1


def test_it_does_not_take_a_stand_in_from_the_source_for_its_own():
    assert (
        rendered("<p>markn0z markc0z &#109;arkn0z {{ company.name }}</p>").text
        == "markn0z markc0z markn0z Acme Coffee\n"
    )


# -- links -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        " JavaScript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "evil",
        "https://a b",
        "\x01javascript:x",
    ],
)
@pytest.mark.parametrize(
    "source",
    [
        "{{ referrer.portal_link }}",
        "{{ referrer.portal_link }}?x=1",
        "{{ reward.code | default: referrer.portal_link }}",
    ],
)
def test_it_lets_no_merged_link_act(value: str, source: str):
    letter = rendered(f'<a href="{source}">x</a>', {"referrer.portal_link": value})
    assert '<a href="#' in letter.html


@pytest.mark.parametrize(
    "value", ["https://a.example/?b=c&d=e", "http://a.example", "mailto:a@b.example", "HTTPS://A.example"]
)
def test_it_opens_merged_links_of_the_web_and_of_mail(value: str):
    letter = rendered('<a href="{{ referrer.portal_link }}">x</a>', {"referrer.portal_link": value})
    assert f'<a href="{value.replace("&", "&amp;")}">x</a>' in letter.html
    assert letter.text == f"x <{value}>\n"


def test_it_encodes_values_inside_a_link_once():
    link = "https://share.example/?u={{ referrer.referral_link }}&n={{ friend.first_name | url_encode }}"
    letter = rendered(
        f'<a href="{link}">x</a> <a href="mailto:{{{{ friend.email }}}}">{{{{ friend.email }}}}</a>',
        {
            "referrer.referral_link": "https://a.example/?b=c&d",
            "friend.first_name": '"><b>',
            "friend.email": "f+1@b.example",
        },
    )
    encoded = "https://share.example/?u=https%3A%2F%2Fa.example%2F%3Fb%3Dc%26d&amp;n=%22%3E%3Cb%3E"
    assert f'<a href="{encoded}">x</a> <a href="mailto:f%2B1@b.example">f+1@b.example</a>' in letter.html
    assert letter.text == f"x <{unescape(encoded)}> f+1@b.example\n"


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        ("{{ friend.first_name | url_encode }}", "a%26b%3D1"),
        ("{{ friend.first_name | url_encode -}}", "a%26b%3D1"),
        ('{{ friend.first_name | default: "url_encode" }}', "a%26b%3D1"),
        ("{{ friend.first_name | default: '| url_encode' }}", "a%26b%3D1"),
        ("{{ friend.first_name | url_encode | downcase }}", "a%2526b%253d1"),
    ],
)
def test_what_stands_in_a_link_is_encoded_last_whatever_else_is_done_to_it(tag: str, written: str):
    letter = rendered(f"<a href='https://a.example/?n={tag}'>x</a>", {"friend.first_name": "a&b=1"})
    assert f'<a href="https://a.example/?n={written}">x</a>' in letter.html


# -- rendering -------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.text(max_size=60) | st.sampled_from(["{{ company.name }}", "{% if x %}", "<script>alert(1)</script>", "\"'<>&"])
)
def test_it_only_ever_puts_values_in(value: str):
    letter = RENDER_ANY.render({"friend.first_name": value, "referrer.portal_link": value})
    inner = letter.html.partition("START")[2].partition("END")[0]
    assert "<" not in inner
    assert '"' not in inner
    assert letter.subject == " ".join(letter.subject.split())
    assert all(char.isprintable() or char.isspace() or ord(char) > 127 for char in letter.subject)
    assert letter.html.count("<a ") == 1
    assert len(letter.subject.splitlines()) == 1


RENDER_ANY = compiled(
    prepare(
        subject="Hello {{ friend.first_name }}!",
        preheader="",
        html=(
            '<p title="{{ friend.first_name }}">START{{ friend.first_name }}END</p>'
            '<a href="{{ referrer.portal_link }}">x</a>'
        ),
        text=None,
        allowed=ALLOWED,
    )
)


def test_it_never_reads_a_value_as_a_template():
    letter = rendered(
        "<p>{{ company.name }}</p>", {"company.name": "{{ campaign.name }}{% if", "campaign.name": "Spring"}
    )
    assert letter.text == "{{ campaign.name }}{% if\n"
    assert "Spring" not in letter.html


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028"])
def test_it_keeps_the_subject_one_line_whatever_the_value(break_: str):
    assert rendered("x", {"company.name": f"A{break_}Bcc: eve"}, subject="{{ company.name }}!").subject == "A Bcc: eve!"


def test_it_removes_invisible_characters_from_values():
    assert rendered("{{ company.name }}", {"company.name": "A\0c\u202em\x1be\ud800"}).text == "Acme\n"


def test_it_cuts_a_subject_that_values_made_too_long():
    subject = rendered("x", {"company.name": "a" * 1000}, subject="{{ company.name }}").subject
    assert len(subject) == 300
    assert subject.endswith("a…")


def test_it_refuses_to_render_more_than_a_million_characters():
    with pytest.raises(TooLarge):
        rendered("{{ company.name }}", {"company.name": "a" * 1_000_001})


def test_it_hides_the_preheader_in_the_html_alone():
    letter = rendered("<p>x</p>", preheader="Soon & {{ company.name }}")
    assert "Soon &amp; Acme Coffee</div>" in letter.html
    assert "Soon" not in letter.text


def test_it_renders_a_whole_page():
    page = rendered("<p>x</p>").html
    assert page.startswith("<!DOCTYPE html>\n<html>")
    assert page.endswith("</body>\n</html>\n")


def test_it_leaves_no_gap_where_a_condition_does_not_hold():
    html = "<p>a</p>{% if friend.last_name %}<p>b</p>{% endif %} {% if friend.first_name %}<p>c</p>{% endif %}<p>d</p>"
    assert rendered(html, {}).text == "a\n\nd\n"


# -- text part and footer --------------------------------------------------------------------------------------------


def test_it_makes_a_text_part_that_reads_well():
    one = prepared(
        "<h1>Welcome</h1><p>Read <a href='https://acme.example/terms'>our <b>terms</b></a>, or see"
        " <a href='https://acme.example'>https://acme.example</a>.<br>Bye</p>"
        "<ul><li>one</li><li>two</li></ul><table><tr><td>Name</td><td>Robin</td></tr></table>"
    )
    assert one.text == (
        "Welcome\n\nRead our terms <https://acme.example/terms>, or see https://acme.example.\nBye\n\n"
        "* one\n* two\nName\nRobin\n"
    )


def test_it_keeps_a_text_part_that_a_person_wrote():
    one = prepared("<p>x</p>", text="My <text> & {{ company.name }}\r\nsecond line")
    assert one.text == "My <text> & {{ company.name }}\nsecond line"
    assert compiled(one).render(sample_values()).text == "My <text> & Acme Coffee\nsecond line"


@pytest.mark.parametrize("text", ["", " \n "])
def test_it_makes_the_text_part_itself_when_a_person_left_it_empty(text: str):
    assert prepared("<p>x</p>", text=text).text == "x\n"


def test_it_adds_a_footer_to_both_bodies():
    letter = compiled(prepared()).render({}, footer=FOOTER)
    assert "Acme &amp; Co<br>1 Main Street, 12345 Town<br>" in letter.html
    assert '<a href="https://acme.example/u/1?a=b&amp;c=d"' in letter.html
    assert letter.html.endswith("</body>\n</html>\n")
    assert letter.text == (
        "Hello\n\n--\nAcme & Co\n1 Main Street, 12345 Town\nUnsubscribe: https://acme.example/u/1?a=b&c=d\n"
    )


def test_it_adds_no_footer_where_the_body_has_the_link():
    one = prepared("<p><a href='{{ unsubscribe_url }}'>Stop</a></p>")
    letter = compiled(one).render({"unsubscribe_url": FOOTER.unsubscribe_url}, footer=FOOTER)
    assert letter.text == f"Stop <{FOOTER.unsubscribe_url}>\n"
    assert letter.html.count("https://acme.example/u/1") == 1


def test_it_adds_the_footer_where_a_condition_left_the_link_out():
    one = prepared("<p>Hi</p>{% if reward.code %}<a href='{{ unsubscribe_url }}'>Stop</a>{% endif %}")
    letter = compiled(one).render({"unsubscribe_url": FOOTER.unsubscribe_url}, footer=FOOTER)
    assert "Unsubscribe</a>" in letter.html
    assert "Unsubscribe: " in letter.text


def test_it_adds_no_footer_to_letters_that_have_none():
    assert "Unsubscribe" not in compiled(prepared()).render({}).html


# -- limits ----------------------------------------------------------------------------------------------------------

HOSTILE = {
    "a 1 MB body": "<p>x</p>" * 125_000,
    "ten thousand tags": "{{ company.name }}" * 10_000,
    "a thousand nested ifs": "{% if company.name %}" * 1_000 + "x" + "{% endif %}" * 1_000,
    "eleven nested ifs": "{% if company.name %}" * 11 + "x" + "{% endif %}" * 11,
    "thousands of open braces": "{{" * 49_000,
    "thousands of raw tags": "{% raw %}" * 10_000,
    "a tag without an end": "{{ company.name " + "x" * 90_000,
    "thousands of levels": "<div>" * 19_000,
    "many levels": "<div>" * 900,
    "formatting that multiplies": "".join(f"<p><b title={i}></p>" for i in range(450)),
    "styles for everything": "<style>" + "".join(f"p{{x{i}:red}}" for i in range(900)) + "</style>" + "<p>x" * 900,
    "opened comments": "<!--" * 24_000,
    "less-than signs": "<" * 100_000 + "{{ company.name }}" * 300,
    "a long text": ("word " * 20 + "\n") * 2_000,
}
HARMLESS = {
    "many attributes": "<p " + " ".join(f"a{i}" for i in range(15_000)) + ">x</p>",
    "deep brackets in a style": f"<p style='color:{'(' * 95_000}'>x</p>",
    "blanks in a style": f"<p style='font-family:\"{' ' * 90_000}!\"'><a href='{{{{ unsubscribe_url }}}}'>Stop</a></p>",
    "deep selectors": f"<style>{':is(' * 3_900}p{')' * 3_900}{{color:red}}</style><p>x",
    "as much as is allowed": "<p>{{ company.name }}</p>" * 300,
    "conditions": "{% if company.name %}<p>x</p>{% endif %}" * 150,
    "entities": "&amp;" * 19_000,
    "newlines": "\n" * 99_000 + "x",
    "a long line": "é" * 99_000,
}


def cpu_seconds(html: str) -> float:
    started = time.process_time()
    with contextlib.suppress(TemplateProblems):
        prepared(html)
    return time.process_time() - started


@pytest.mark.parametrize("name", HOSTILE)
def test_it_refuses_hostile_templates(name: str):
    assert len(problems(HOSTILE[name])) <= 20


@pytest.mark.parametrize("name", HARMLESS)
def test_it_takes_large_templates(name: str):
    assert prepared(HARMLESS[name]).html


@pytest.mark.parametrize("html", [*HOSTILE.values(), *HARMLESS.values()], ids=[*HOSTILE, *HARMLESS])
def test_it_answers_within_200_ms_of_work(html: str):
    assert min(cpu_seconds(html) for _ in range(2)) < 0.2
