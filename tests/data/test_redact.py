"""What is taken out of kept JSON when somebody is deleted."""

from __future__ import annotations

import pytest

from panel import redact

ANN = "ann@example.com"


@pytest.mark.parametrize(
    "text", [ANN, "ANN@Example.com", f"Ann <{ANN}>", f"to {ANN}.", f"a={ANN}&b=1", f"{ANN}, {ANN}"]
)
def test_a_text_with_the_address_goes(text: str) -> None:
    assert redact.without({"list": [text]}, ANN) == {"list": [redact.SOMEBODY]}


@pytest.mark.parametrize(
    "text", [f"jo{ANN}", f"jo.{ANN}", f"jo+{ANN}", f"{ANN}.au", f"{ANN}-pany.org", "ann.example.com"]
)
def test_a_text_with_somebody_elses_address_stays(text: str) -> None:
    assert redact.without([text, 7, None], ANN) == [text, 7, None]
