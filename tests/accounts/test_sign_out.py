"""Signing out."""

from __future__ import annotations

from tests.support.world import World


def test_it_signs_out_by_post(world: World):
    browser = world.client(world.owner)
    assert browser.signed_in()
    answer = browser.post("/logout")
    assert answer.location == "/login"
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    assert not browser.signed_in()


def test_it_does_not_sign_out_by_a_link(world: World):
    browser = world.client(world.owner)
    assert browser.get("/logout").status_code == 405
    assert browser.signed_in()


def test_it_does_not_sign_out_for_another_site(world: World):
    browser = world.client(world.owner)
    assert browser.client.post("/logout").status_code == 400
    assert browser.signed_in()


def test_it_signs_out_this_browser_only(world: World):
    here, there = world.client(world.owner), world.client(world.owner)
    here.post("/logout")
    assert there.signed_in()
