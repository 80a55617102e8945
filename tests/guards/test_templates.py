"""Pages hold no script or style of their own, and ask nobody else's server for anything."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from .source import texts

INLINE = {
    "a script in the page": re.compile(r"<script(?![^>]*\bsrc=)[^>]*>", re.I),
    "a style sheet in the page": re.compile(r"<style\b", re.I),
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.I),
    "an event handler in an attribute": re.compile(r"<[^>]*\s(on[a-z]+|hx-on[:\w-]*)\s*=", re.I),
    "a javascript: link": re.compile(r"javascript:", re.I),
    "a link made from the Host header": re.compile(r"request\.(host|url_root|host_url|base_url|url)\b"),
}
FETCHED = re.compile(
    r"""(?:<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\s(?:src|data)|<link\b[^>]*?\shref)"""
    r"""\s*=\s*["']?\s*(?:https?:)?//""",
    re.I,
)
# In style sheets and scripts.
REMOTE = re.compile(r"""(?:@import\s+|url\(\s*|fetch\(\s*|import\s*\(?\s*)["']?\s*(?:https?:)?//""", re.I)


def inline(files: Mapping[str, str]) -> list[str]:
    return [
        f"{path} holds {what}" for path, text in files.items() for what, mark in INLINE.items() if mark.search(text)
    ]


def remote(files: Mapping[str, str]) -> list[str]:
    return [
        f"{path} fetches from elsewhere: {found[0]}"
        for path, text in files.items()
        for mark in (FETCHED, REMOTE)
        if (found := mark.search(text))
    ]


def test_it_keeps_script_and_style_out_of_pages():
    assert inline(texts("templates", ".html")) == []


def test_it_asks_nobody_else_for_anything():
    assert remote({**texts("templates", ".html"), **texts("static", ".css", ".js", ".svg")}) == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<script type="module">x</script>',
        "<style>p { color: red }</style>",
        '<p class="a" style="color: red">',
        '<a onclick="x()">',
        '<a hx-on:click="x()">',
        '<a href="javascript:x()">',
        "{{ request.host_url }}/reset",
    ],
)
def test_it_would_notice_script_and_style(text: str):
    assert inline({"page.html": text})


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<script defer src="//cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/x.css">',
        '<img alt="" src="http://pixel.example/">',
        "@import url(https://fonts.example/x.css);",
        "p { background: url('//img.example/x.png') }",
        'fetch("https://api.example/")',
    ],
)
def test_it_would_notice_another_server(text: str):
    assert remote({"page.html": text})


def test_it_lets_links_to_other_sites_be():
    assert remote({"page.html": '<a href="https://support.google.com/">Google</a>'}) == []
