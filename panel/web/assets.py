"""Static files by name: content-hashed addresses for our own, integrity for what is vendored."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from flask import Flask, g, url_for
from markupsafe import Markup

_ROOT = Path(__file__).resolve().parent.parent.parent
_INSTALLED = Path(__file__).resolve().parent.parent / "_assets"


@cache
def folder(name: str) -> Path:
    """`templates` or `static`: beside the package in a checkout, inside it when installed from a wheel."""
    return _INSTALLED / name if (_INSTALLED / name).is_dir() else _ROOT / name


@cache
def _hash(path: Path, _changed: float) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def asset(name: str) -> str:
    """The address of one of our static files; it changes with the content, so it may be cached for ever."""
    # Once for a request: a list names the picture with its icons in every row.
    known: dict[str, str] = g.setdefault("asset_addresses", {})
    if name not in known:
        path = folder("static") / name
        known[name] = url_for("static", filename=name, v=_hash(path, path.stat().st_mtime))
    return known[name]


@cache
def manifest() -> dict[str, dict[str, str]]:
    """What is vendored: name, version, file, integrity, licence."""
    found: dict[str, dict[str, str]] = json.loads((folder("static") / "vendor" / "manifest.json").read_text())
    return found


def vendor(name: str) -> Markup:
    """The whole tag of a vendored script or style sheet, with its integrity."""
    entry = manifest()[name]
    href = asset(f"vendor/{entry['file']}")
    if entry["file"].endswith(".css"):
        return Markup('<link rel="stylesheet" href="{}" integrity="{}">').format(href, entry["integrity"])
    return Markup('<script src="{}" integrity="{}" defer></script>').format(href, entry["integrity"])


def install(app: Flask) -> None:
    """Puts both into every template."""
    app.jinja_env.globals.update(asset=asset, vendor=vendor)
