"""Every form, filled in well but for ids that are another account's: nothing of theirs is changed, shown or pointed to.

Read off the pages, so that a new form joins by itself.
"""

from __future__ import annotations

import uuid
from typing import Any

import lxml.html
import pytest
from sqlalchemy import inspect, select

from panel import db
from panel.mark import Installation
from tests.guards.test_foreign_ids import one_of_everything
from tests.guards.test_matrix import SIGNED_IN, address, ask, calls, changed, world
from tests.support.world import PASSWORD, World

__all__ = ["world"]

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

# What stands in a field that a page leaves empty.
TYPED = {"email": "kim@x.test", "number": "7", "password": PASSWORD, "date": "2026-11-01", "url": "https://x.test/"}
WORDS = {"address": "kim@x.test"}


def filled(form: Any, mine: set[str]) -> dict[str, str]:
    """What a form sends, its empty fields filled in, with ids of one's own wherever some can be chosen."""
    fields = {}
    for element in form.inputs:
        if element.name and element.get("type") not in ("file", "submit", "button", "radio", "checkbox"):
            typed = WORDS.get(element.name) or TYPED.get(element.get("type", "text"), "Word")
            fields[element.name] = element.value or typed
    fields |= {name: value for name, value in form.form_values() if value}
    for box in form.xpath(".//select"):
        fields[box.name] = next((option for option in box.value_options if option in mine), box.value or "")
    return fields


def pointing_at(ids: set[str], account_id: uuid.UUID) -> list[str]:
    """`table.column` of an account's rows that hold one of these ids, as a value or within one."""
    found = []
    with db.system_scope("tests") as session:
        for mapper in db.Base.registry.mappers:
            model: Any = mapper.class_
            if model is Installation:
                continue
            mine = model.account_id == account_id if issubclass(model, db.AccountOwned) else model.id == account_id
            for attribute in inspect(model).column_attrs:
                values = session.scalars(select(getattr(model, attribute.key)).where(mine))
                if any(one in str(value) for value in values for one in ids):
                    found.append(f"{mapper.local_table.name}.{attribute.key}")
    return found


def test_it_takes_no_id_of_another_account_in_a_form_that_is_filled_in_well(world: World) -> None:
    given, mine = one_of_everything(world, world.owner, 777), one_of_everything(world, world.stranger)
    theirs = {str(mine[name]): str(value) for name, value in given.items() if isinstance(value, uuid.UUID)}
    browser, wrong, tried = world.client(world.stranger), {}, set()

    def try_one(action: str, fields: dict[str, str]) -> None:
        for name in [name for name, value in fields.items() if value in theirs]:
            tried.add(name)
            answer = browser.post(action, fields | {name: theirs[fields[name]]})
            if answer.status_code >= 500 or b"777@" in answer.data or b"Spring 777" in answer.data:
                wrong[f"{action} with their {name}"] = answer.status
            if (answer := browser.post(action, fields)).status_code not in (200, 303):
                wrong[f"{action} as it should be"] = answer.status

    def every_form() -> None:
        found = [call for call in calls(world, *SIGNED_IN) if call.method == "GET"]
        for page in [ask(browser, "GET", address(world, call, mine)) for call in found]:
            if page.mimetype == "text/html" and page.data:
                for form in lxml.html.document_fromstring(page.text).forms:
                    if form.method == "POST":
                        try_one(form.action or page.request.path, filled(form, set(theirs)))

    assert changed(world.acme.id, every_form) == []
    assert wrong == {}
    assert tried >= {"address_id", "campaign", "based_on"}
    assert pointing_at(set(theirs.values()), world.other.id) == []
