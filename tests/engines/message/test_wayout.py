"""The footer stands under every letter in which the unsubscribe link is not surely seen."""

from __future__ import annotations

import time

import pytest

from panel.message import wayout
from panel.message.tags import TAGS
from panel.message.template import CompiledVersion, Footer, compile_version, prepare

LINK = "https://acme.example/u/1?a=b&c=d"
FOOTER = Footer(company_name="Acme", postal_address="", unsubscribe_url=LINK)
SEEN = [
    '<a href="{{ unsubscribe_url }}">Unsubscribe</a>',
    "<p style='color:#444;font:12px/1.5 Arial'>Enough? <a style='color:#fff;background:#111' "
    "href='{{ unsubscribe_url }}'>Stop</a></p>",
    '<a href="{{- unsubscribe_url -}}" title="Stop">No <b>more</b></a>',
    '<a href="{{ unsubscribe_url }}">Stop{% if friend.first_name %}, {{ friend.first_name }}{% endif %}</a>',
    '{% if company.name %}<p>Enough? <a href="{{ unsubscribe_url }}">Stop</a></p>{% else %}<p>Hi</p>{% endif %}',
    '<table width="100%" bgcolor="#eee"><tr><td style="line-height:1.4;width:1%;margin:0 auto">'
    '<a href="{{ unsubscribe_url }}"><span style="font-size:11px">Stop</span></a></td></tr></table>',
    '<div style="display:none">Preview</div><div style="height:0"></div><a href="{{ unsubscribe_url }}">Stop</a>',
    "<style>.quiet { color: #767676; font-size: 13px }</style><a class=quiet href='{{ unsubscribe_url }}'>Stop</a>",
]
HIDDEN = [
    '<img src="https://acme.example/a.png" alt="{{ unsubscribe_url }}">',
    '<p title="{{ unsubscribe_url }}">Hi</p>',
    '<p aria-label="<a href={{ unsubscribe_url }}>">Hi</p>',
    '<img src="{{ unsubscribe_url }}">',
    "<p>{{ unsubscribe_url }}</p>",
    '<a href="{{ unsubscribe_url }}"></a>',
    '<a href="{{ unsubscribe_url }}"> &nbsp;&#8203;. </a>',
    '<a href="{{ unsubscribe_url }}"><img src="https://acme.example/a.png" alt="Stop"></a>',
    '<a href="{{ unsubscribe_url }}">{{ friend.first_name }}</a>',
    '<a href="{{ unsubscribe_url }}">{% if company.name %}Stop{% endif %}</a>',
    '<a href="{{ unsubscribe_url }}x">Stop</a>',
    '<a href="https://acme.example/?to={{ unsubscribe_url }}">Stop</a>',
    '<a href="{{ unsubscribe_url | upcase }}">Stop</a>',
    '<a style="display:none" href="{{ unsubscribe_url }}">Stop</a>',
    '<div style="display: none !important"><p><a href="{{ unsubscribe_url }}">Stop</a></p></div>',
    '<a href="{{ unsubscribe_url }}"><span style="display:none">Stop</span></a>',
    '<style>.a { display: none }</style><div class="a"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="font-size:0"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="font-size:1px"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="font:0/0 a"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="max-height:0;overflow:hidden"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="height:40px;overflow:hidden"><p>a</p><p>b</p><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="opacity:0"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="text-indent:-9999px"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="margin-left:-9999px"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<div style="line-height:0"><a href="{{ unsubscribe_url }}">Stop</a></div>',
    '<a style="color:#FFF" href="{{ unsubscribe_url }}">Stop</a>',
    '<div style="background:rgb(17, 17, 17)"><a style="color:#111111" href="{{ unsubscribe_url }}">Stop</a></div>',
    '<table bgcolor="#eeeeee"><tr><td><a style="color:#eee" href="{{ unsubscribe_url }}">Stop</a></td></tr></table>',
    '<a href="{{ unsubscribe_url }}"><font color="{{ company.name }}">Stop</font></a>',
    '<a href="{{ unsubscribe_url }}"><font color="white">Stop</font></a>',
    '<a style="color:rgba(0,0,0,0)" href="{{ unsubscribe_url }}">Stop</a>',
    '<a style="color:transparent" href="{{ unsubscribe_url }}">Stop</a>',
    '{% if friend.first_name %}<a href="{{ unsubscribe_url }}">Stop</a>{% endif %}',
    '<div style="display:none">{% if friend.first_name %}</div>{% endif %}<a href="{{ unsubscribe_url }}">Stop</a>',
    f'<!-- <a href="{LINK}">Stop</a> -->',
]

# HREF is the attribute with the link. So the builders of letters write: tables in tables, sizes of 0 around those that
# hold, old attributes beside styles.
USUAL = [
    '<p>Hi</p><p style="color:#888;font-size:12px">Enough? <a HREF>Unsubscribe</a></p>',
    '<table align="center" width="100%" border="0" cellpadding="0" cellspacing="0" id="a" class="b">'
    '<tbody><tr valign="top"><td width="50%" align="center" dir="ltr" lang="en" bgcolor="#F4F4F4" style="padding:20px;'
    'font-size:12px;color:#888888;line-height:18px;text-align:center;border-top:1px solid #eee"><a target="_blank" '
    'rel="noopener" title="Bye" style="color:#555555;text-decoration:underline" HREF>No more</a>'
    "</td></tr></tbody></table>",
    '<div style="background-color:#f4f4f4"><div style="margin:0px auto;max-width:600px;background:#ffffff;'
    'background-color:#ffffff"><table align="center" style="width:100%" width="100%"><tr><td style="direction:ltr;'
    'font-size:0px;padding:20px 0;text-align:center"><div style="font-size:0px;text-align:left;direction:ltr;'
    'display:inline-block;vertical-align:top;width:100%"><table width="100%" style="vertical-align:top"><tr><td '
    'align="left" style="font-size:0px;padding:10px 25px;word-break:break-word"><div style="font-family:Ubuntu, '
    'Helvetica, Arial, sans-serif;font-size:13px;line-height:1;color:#000000"><a style="color:#1a73e8" '
    "HREF>Unsubscribe</a></div></td></tr></table></div></td></tr></table></div></div>",
    "<style>#foot { background:#FAFAFA none no-repeat center/cover; /*@edit*/background-color:#FAFAFA; "
    "background-image:none; background-repeat:no-repeat; background-position:center; background-size:cover } "
    "#foot td { color:#656565 !important; font-family:Helvetica; font-size:12px; line-height:150%; "
    'mso-line-height-rule:exactly }</style><table width="600" style="border-collapse:collapse;min-width:100%">'
    '<tr><td id="foot" valign="top"><table align="left" width="100%"><tr><td style="padding:0 18px 9px">'
    '<em>Bye</em><br><a HREF style="font-weight:normal">unsubscribe</a></td></tr></table></td></tr></table>',
    "<!--[if mso]><table><tr><td><![endif]--><div hidden style=\"position:fixed;font:italic bold 10pt/1.5 'Open Sans',"
    '-apple-system,Arial,sans-serif;background:#000;padding:40px 20px 0"><span style="color:#fff"><a style="color:#FFF;'
    'letter-spacing:.5px" HREF>Stop</a></span></div><!--[if mso]></td></tr></table><![endif]-->',
    '<center><div style="background:#000"><a style="display:inline-block;padding:12px 30px;border-radius:4px;'
    'color:white;background:#36c;border:1px solid #25b;font-size:16px" HREF><b>Stop</b></a></div></center>',
    '<table dir="rtl" width="90%"><tr bgcolor="black"><td style="color:white">كفى؟ <a style="color:white" '
    "HREF>إلغاء الاشتراك</a></td></tr></table>",
]
UNCERTAIN = [
    # What is said twice, or cannot hold.
    '<a HREF style="display:none !important;display:inline">Stop</a>',
    '<a HREF style="color:#fff !important;color:#000">Stop</a>',
    '<a HREF style="color:#fff;color:zzz">Stop</a>',
    '<div style="opacity:0;opacity:1em"><a HREF>Stop</a></div>',
    '<a HREF style="color:#ffg">Stop</a>',
    '<a HREF style="color:#fff;background:blac\u212a">Stop</a>',
    '<div style="font-size:0"><a HREF style="font-size:1\u0666px">Stop</a></div>',
    '<div style="font-size:0"><a HREF style="font:12px inherit">Stop</a></div>',
    '<a HREF style="font:12px Arial;font-size:0">Stop</a>',
    '<div style="background-color:#000;background:none"><a HREF style="color:#fff">Stop</a></div>',
    # Colours that are written in another way, or nearly the same.
    *(
        f'<a HREF style="color:{colour}">Stop</a>'
        for colour in (
            "hsl(0,0%,100%)",
            "rgb(100%,100%,100%)",
            "hwb(0 100% 0%)",
            "snow",
            "canvas",
            "#fefefe",
            "#bbb",
            "#ffff00",
            "#ffffff00",
            "inherit",
            "currentcolor",
        )
    ),
    '<a HREF><font color="ffffff">Stop</font></a>',
    '<div style="color:#000"><font color="snow"><a HREF>Stop</a></font></div>',
    '<table bgcolor="000000"><tr><td><a HREF style="color:#fff">Stop</a></td></tr></table>',
    '<a HREF bgcolor="#000000" style="color:#fff">Stop</a>',
    # Colours from around.
    '<a HREF style="color:#fff;background:#000"><span style="background:#fff">Stop</span></a>',
    '<div style="color:#fff"><div style="background:#fff"><a HREF style="color:inherit">Stop</a></div></div>',
    '<a HREF style="color:#eee"><b>Stop</b></a>',
    '<div style="background:#00f"><a HREF>Stop</a></div>',
    '<a HREF style="background:#000"><span style="color:#fff;display:block">Stop</span></a>',
    '<a HREF style="background:#000"><div style="color:#fff">Stop</div></a>',
    '<a HREF style="background:#000;font-size:9px"><span style="color:#fff;font-size:60px">Stop</span></a>',
    '<a HREF style="background:#000"><span style="color:#fff;vertical-align:top">Stop</span></a>',
    '<div style="background-color:#000;background-image:linear-gradient(#fff,#fff)">'
    '<a HREF style="color:#fff">Stop</a></div>',
    '<div style="background:#000 url(https://a.example/w.png)"><a HREF style="color:#fff">Stop</a></div>',
    # What adds up.
    '<div style="font-size:.5em"><p style="font-size:.5em"><b style="font-size:.5em">'
    '<a HREF style="font-size:.5em">Stop</a></b></p></div>',
    '<div style="font:50% Arial"><div style="font:50% Arial"><a HREF>Stop</a></div></div>',
    f"{'<small>' * 14}<a HREF>Stop</a>{'</small>' * 14}",
    f"{'<div style=opacity:.5>' * 4}<a HREF>Stop</a>{'</div>' * 4}",
    f"{'<div style=padding-left:50px>' * 9}<a HREF>Stop</a>{'</div>' * 9}",
    f"{'<table cellpadding=50><tr><td>' * 9}<a HREF>Stop</a>{'</td></tr></table>' * 9}",
    # What is cut off, or out of its background.
    '<div style="overflow:hidden;width:8px;white-space:nowrap;text-indent:99px"><a HREF>Stop</a></div>',
    '<div style="padding-left:3000px"><a HREF>Stop</a></div>',
    '<div style="margin:0 0 0 3000px"><a HREF>Stop</a></div>',
    '<div style="margin-left:100%"><a HREF>Stop</a></div>',
    '<table cellspacing="3000"><tr><td><a HREF>Stop</a></td></tr></table>',
    '<table style="table-layout:fixed"><tr><td width="1%"><a HREF>Stop</a></td></tr></table>',
    '<div style="padding-left:60px"><div dir="rtl" style="width:999px"><a HREF>Stop</a></div></div>',
    '<div dir="rtl" style="width:1%"><a HREF>Stop</a></div>',
    '<div style="height:1px"><a HREF>Stop</a></div>',
    '<div style="background:#000;line-height:10px"><a HREF style="color:#fff;font-size:60px">Stop</a></div>',
    '<div style="font-size:0;line-height:100%"><a HREF style="font-size:12px">Stop</a></div>',
    # What is drawn in other shapes.
    '<a HREF style="font-family:Wingdings">Stop</a>',
    '<a HREF style="text-shadow:0 0 9px #000;color:#000">Stop</a>',
    "<a HREF><sub>Stop</sub></a>",
]


def made(html: str, *, preheader: str = "", text: str | None = "Hi") -> CompiledVersion:
    one = prepare(subject="Hi", preheader=preheader, html=f"<p>Hi</p>{html}", text=text, allowed=frozenset(TAGS))
    return compile_version(subject=one.subject, preheader=one.preheader, html=one.html, text=one.text)


def has_footer(html: str, **others: str) -> bool:
    letter = made(html, **others).render({"unsubscribe_url": LINK, "company.name": "Acme"}, footer=FOOTER)
    return ">Unsubscribe</a></div>\n</body>" in letter.html


@pytest.mark.parametrize("html", SEEN)
def test_a_link_that_is_seen_needs_no_footer(html: str):
    assert not has_footer(html)
    assert has_footer(html.replace("unsubscribe_url", "company.name"))


@pytest.mark.parametrize("html", HIDDEN)
def test_a_link_that_may_not_be_seen_does(html: str):
    assert has_footer(html)


@pytest.mark.parametrize("html", HIDDEN)
def test_one_that_is_seen_counts_beside_one_that_is_not(html: str):
    # Where it ends is not certain, or what else it covers.
    is_torn = "</div>{% endif %}" in html or "-9999px" in html
    assert has_footer(f'{html}<p><a href="{{{{ unsubscribe_url }}}}">Stop</a></p>') == is_torn


@pytest.mark.parametrize("html", USUAL)
def test_a_usual_design_needs_none(html: str):
    assert not has_footer(html.replace("HREF", 'href="{{ unsubscribe_url }}"'))
    assert has_footer(html.replace("HREF", 'href="{{ company.name }}"'))


@pytest.mark.parametrize("html", UNCERTAIN)
def test_whatever_is_not_known_to_be_harmless_may_hide_the_link(html: str):
    assert has_footer(html.replace("HREF", 'href="{{ unsubscribe_url }}"'))


@pytest.mark.parametrize("name", ["Stop", "Ås", "退订", "Отписаться", "إلغاء", "24"])
def test_the_link_has_letters_or_digits(name: str):
    assert not has_footer(f'<a href="{{{{ unsubscribe_url }}}}">{name}</a>')


@pytest.mark.parametrize("blank", [0x3164, 0xFFA0, 0x115F, 0x1160, 0x2800, 0x13441, 0x00AD, 0x200B, 0x034F])
def test_letters_that_nobody_sees_are_none(blank: int):
    assert has_footer(f'<a href="{{{{ unsubscribe_url }}}}">{chr(blank) * 9}</a>')
    assert has_footer(f'<a href="{{{{ unsubscribe_url }}}}">&#{blank};x&#{blank};</a>')


@pytest.mark.parametrize(
    "style",
    [
        "margin-top:-40px",
        "margin:calc(0px - 40px) 0 0",
        "box-shadow:0 0 0 99px #fff",
        "opacity:.99",
        "text-indent:-9em",
    ],
)
def test_what_stands_beside_the_link_is_not_laid_over_it(style: str):
    link = '<p><a href="{{ unsubscribe_url }}">Stop</a></p>'
    assert has_footer(f'{link}<div style="{style};background:#fff">&nbsp;</div>')
    assert has_footer(f'{link}<img src="https://acme.example/a.png" style="{style}">')
    beside = "margin:0 auto;opacity:1;background:url(https://acme.example/a-1.png) #fff;float:left;height:1px"
    assert not has_footer(f'{link}<div style="{beside}">&nbsp;</div>')


def test_the_preview_text_is_no_place_for_it():
    assert has_footer("<p>Hi</p>", preheader='Stop: <a href="{{ unsubscribe_url }}">Stop</a>')


@pytest.mark.parametrize("html", [*SEEN, *HIDDEN])
def test_telling_links_apart_changes_nothing_else(html: str):
    stored = prepare(subject="Hi", preheader="", html=f"<p>Hi</p>{html}", text="Hi", allowed=frozenset(TAGS)).html
    told = wayout.told_apart(stored)
    assert sorted(told.replace("<a  ", "<a ")) == sorted(stored)


@pytest.mark.parametrize(
    ("text", "is_there"),
    [
        ("Stop: {{ unsubscribe_url }}", True),
        ("Stop <{{ unsubscribe_url }}>.\nBye", True),
        ("({{ unsubscribe_url }})", True),
        ("{{ unsubscribe_url }}x {{ unsubscribe_url }}", True),
        ("{{ unsubscribe_url }}x", False),
        ("{{ unsubscribe_url }}.html", False),
        ("https://acme.example/?to={{ unsubscribe_url }}", False),
        ("a{{ unsubscribe_url }}", False),
    ],
)
def test_in_a_text_it_is_a_word_of_its_own(text: str, is_there: bool):
    letter = made("<p>Hi</p>", text=text).render({"unsubscribe_url": LINK}, footer=FOOTER)
    assert letter.text.endswith(f"Unsubscribe: {LINK}\n") != is_there


def test_many_words_deep_in_a_letter_are_read_in_time() -> None:
    html = "<div>" * 90 + "word " * 18_000 + '<a href="{{ unsubscribe_url }}">Stop</a>' + "</div>" * 90
    runs = []
    for _ in range(2):
        started = time.process_time()
        assert '<a href="{{' in wayout.told_apart(html)
        runs.append(time.process_time() - started)
    assert min(runs) < 0.2  # seconds of this process's own time
