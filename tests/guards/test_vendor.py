"""What pages load: our own files and vendored ones by their hashes, nothing inline, nothing from elsewhere."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "static"
VENDOR = STATIC / "vendor"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
MANIFEST: dict[str, dict[str, Any]] = json.loads((VENDOR / "manifest.json").read_text())
COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)

# Pages run under `script-src 'self'; style-src 'self'`: the browser would drop these without a word.
FORBIDDEN = {
    "a style attribute": re.compile(r"<[^>]*\sstyle=", re.IGNORECASE),
    "a style element": re.compile(r"<style\b", re.IGNORECASE),
    "an inline handler": re.compile(r"<[^>]*\son[a-z]+=", re.IGNORECASE),
    "an hx-on attribute": re.compile(r"\shx-on[:-]"),
    "an inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
    "a static file by its path": re.compile(r"/static/|url_for\(\s*['\"]static['\"]"),
    "a file from elsewhere": re.compile(r"<(?:script|link|img|iframe|use)\b[^>]*\b(?:src|href)=[\"'](?:https?:)?//"),
    "a vendored script or style by asset()": re.compile(r"asset\(\s*['\"]vendor/[^'\"]+\.(?:js|css)['\"]"),
}


def source(template: Path) -> str:
    return COMMENT.sub("", template.read_text())


def name(template: Path) -> str:
    return str(template.relative_to(ROOT / "templates"))


@pytest.mark.parametrize("entry", MANIFEST.values(), ids=MANIFEST)
def test_it_holds_exactly_what_the_manifest_says(entry: dict[str, Any]) -> None:
    digest = hashlib.sha384((VENDOR / entry["file"]).read_bytes()).digest()
    assert entry["integrity"] == f"sha384-{base64.b64encode(digest).decode()}"
    assert (VENDOR / entry["licence_file"]).read_text().strip()
    assert entry["version"] in entry["source"]


def test_it_vendors_nothing_that_the_manifest_does_not_name() -> None:
    named = {entry[key] for entry in MANIFEST.values() for key in ("file", "licence_file")} | {"manifest.json"}
    assert {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} == named


@pytest.mark.parametrize("path", [p for p in STATIC.rglob("*") if p.suffix in (".js", ".css")], ids=lambda p: p.name)
def test_it_names_no_source_map_and_imports_nothing(path: Path) -> None:
    text = path.read_text()
    assert "sourceMappingURL" not in text
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", text)


@pytest.mark.parametrize("template", TEMPLATES, ids=name)
def test_it_loads_files_by_asset_and_vendor_only(template: Path) -> None:
    text = source(template)
    found = [what for what, pattern in FORBIDDEN.items() if pattern.search(text)]
    assert not found, f"{name(template)} has {', '.join(found)}"


def test_it_vendors_what_templates_ask_for_and_nothing_else() -> None:
    asked = {wanted for t in TEMPLATES for wanted in re.findall(r"vendor\(\s*['\"]([^'\"]+)['\"]", source(t))}
    assert asked == set(MANIFEST) - {"icons.svg"}


def test_it_finds_every_static_file_that_templates_name() -> None:
    asked = {wanted for t in TEMPLATES for wanted in re.findall(r"asset\(\s*['\"]([^'\"]+)['\"]", source(t))}
    assert asked
    assert [path for path in sorted(asked) if not (STATIC / path).is_file()] == []


def test_it_has_every_icon_that_templates_name() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (VENDOR / MANIFEST["icons.svg"]["file"]).read_text()))
    calls = re.compile(r"(?:icon|empty_state)\(\s*['\"]([^'\"]+)['\"]|glyph=['\"]([^'\"]+)['\"]")
    named = {first or second for t in TEMPLATES for first, second in calls.findall(source(t))}
    assert named
    assert sorted(named - drawn) == []
