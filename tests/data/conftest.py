"""Acme with a campaign, people and letters, through the services that an event goes through."""

from __future__ import annotations

from tests.deliveries.conftest import platform, post

__all__ = ["platform", "post"]
