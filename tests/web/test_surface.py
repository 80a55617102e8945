"""What the web server shows of itself: no more than is meant to be seen."""

from __future__ import annotations

import pytest

from tests.support.world import World


@pytest.mark.parametrize("path", ["/", "/login", "/api/v1/events"])
def test_it_does_not_echo_requests(world: World, path: str):
    answer = world.client().client.open(path, method="TRACE", headers={"X-Secret": "canary"})
    assert answer.status_code == 405
    assert b"canary" not in answer.data


@pytest.mark.parametrize(
    "path", ["/static", "/static/", "/static/vendor", "/static/vendor/", "/.git/config", "/static/../wsgi.py", "/.env"]
)
def test_it_serves_files_and_no_folders(world: World, path: str):
    assert world.client().get(path).status_code == 404


def test_it_says_nothing_of_what_broke(world: World):
    @world.app.get("/help/breaks")
    def breaks() -> str:
        raise RuntimeError("a secret of the inside")

    answer = world.client(world.owner).get("/help/breaks")
    assert answer.status_code == 500
    page = answer.get_data(as_text=True)
    assert "Something went wrong on our side" in page
    assert "secret" not in page
    assert "Traceback" not in page
