"""Settings, People: roles, invitations, and who may not be removed."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from panel import db
from panel.accounts import service as accounts
from panel.accounts.models import Account, User
from panel.addresses.service import By
from panel.settings import invitations, service
from panel.settings.models import Invitation
from tests.settings.conftest import NEW_PASSWORD, audited, join, letters, link
from tests.support.world import World

URL = "/settings/users"
NEW = "new@acme.test"


def invite(world: World, email: str = NEW, role: str = "member", user: Any = None) -> Any:
    return world.client(user or world.owner).submit(URL, email=email, role=role)


def fetch(world: World, email: str) -> User | None:
    with db.system_scope("tests") as session:
        return session.scalar(select(User).where(User.email == email))


def invited(world: World) -> list[Invitation]:
    with world.acme_scope():
        return service.invitations()


# ---- Who is there


def test_it_lists_people_with_role_and_last_sign_in(world: World) -> None:
    page = world.client(world.owner).get(URL).get_data(as_text=True)
    assert "owner@acme.test" in page
    assert "member@acme.test" in page
    assert page.count("Never") == 1
    assert "owner@other.test" not in page


def test_a_member_sees_people_and_changes_none(world: World) -> None:
    member = world.client(world.member)
    page = member.get(URL).get_data(as_text=True)
    assert "owner@acme.test" in page
    assert "Remove" not in page
    assert "Invite" not in page
    refused = member.post(URL, {"email": NEW, "role": "owner"})
    assert refused.status_code == 403
    text = refused.get_data(as_text=True)
    assert "Only an owner of the account may do this. Ask one of them." in text
    assert "give you the role" not in text  # which would be the same once more
    assert member.post(f"{URL}/{world.member.id}/role", {"role": "owner"}).status_code == 403
    assert member.post(f"{URL}/{world.owner.id}/remove").status_code == 403
    assert letters(world) == []


# ---- Invitations


def test_it_mails_a_link_by_the_platform_server(world: World) -> None:
    assert invite(world, "New@ACME.test").status_code == 303
    [letter] = letters(world)
    assert (letter.kind, letter.to_address, letter.account_id) == ("system", NEW, world.acme.id)
    assert letter.values["subject"] == "owner@acme.test invites you to Ownpost"
    assert "owner@acme.test invites you" in letter.values["text"]
    assert "owner@acme.test invites you" in letter.values["html"]
    [row] = invited(world)
    token = link(world).rpartition("/")[2]
    assert token not in (row.token_hash, str(row.id))
    assert NEW in world.client(world.owner).get(URL).get_data(as_text=True)
    assert fetch(world, NEW) is None


@pytest.mark.parametrize("to", [NEW, "owner@other.test"])
@pytest.mark.parametrize("login", ["owner@acme.test", "evil.example/pay@acme.test", "www.evil.example@acme.test"])
def test_no_name_that_somebody_chose_stands_in_the_letter(world: World, to: str, login: str) -> None:
    """Whatever was stored by earlier versions: mail programs make links of bare domains too."""
    with world.acme_scope(), db.transaction() as session:
        session.execute(update(Account).values(name="Pay at evil.example"))
        session.execute(update(User).where(User.id == world.owner.id).values(name="Call evil.example", email=login))
    with world.acme_scope(), world.app.test_request_context():
        service.invite(to, "member", By(user_id=world.owner.id))
    [letter] = letters(world)
    words = f"{letter.values['subject']} {letter.values['text']} {letter.values['html']}"
    assert "evil" not in words
    assert ("owner@acme.test invites you" in words) == (login == "owner@acme.test")


def test_the_link_makes_a_login_with_a_confirmed_address(world: World) -> None:
    invite(world)
    path = link(world)
    page = world.client().get(path).get_data(as_text=True)
    assert "Acme" in page
    assert NEW in page
    answer = join(world, path)
    assert (answer.status_code, answer.location) == (303, "/login")
    user = fetch(world, NEW)
    assert user is not None
    assert (user.name, user.role, user.account_id) == ("Nia New", "member", world.acme.id)
    assert user.confirmed_at is not None
    browser = world.client()
    assert browser.submit("/login", email=NEW, password=NEW_PASSWORD).location == "/"
    assert browser.get("/campaigns").status_code == 200
    assert invited(world) == []
    assert audited(world) == [("user.invited", NEW), ("user.joined", NEW)]


def test_somebody_signed_in_who_opens_the_link_is_told_whose_login_it_makes(world: World) -> None:
    invite(world)
    browser, path = world.client(world.owner), link(world)
    assert f"{world.owner.email} is signed in" in browser.get(path).get_data(as_text=True)
    answer = browser.submit(path, name="Nia New", password=NEW_PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/")
    home = browser.get("/").get_data(as_text=True)
    assert f"The login of {NEW} is ready. Here {world.owner.email} is signed in: sign out to use it." in home
    assert "Sign in</a>" not in browser.get(path).get_data(as_text=True)


def test_the_link_works_once(world: World) -> None:
    invite(world)
    path = link(world)
    join(world, path)
    assert world.client().get(path).status_code == 404
    assert join(world, path, password="another one of mine").status_code == 404
    assert world.client().submit("/login", email=NEW, password=NEW_PASSWORD).location == "/"


def test_of_two_who_open_the_link_at_once_one_comes_in(world: World) -> None:
    invite(world)
    token = link(world).rpartition("/")[2]
    ready, ends = threading.Barrier(2), []

    def come() -> None:
        with world.app.app_context():
            ready.wait()
            try:
                invitations.accept(token, name="N", password_hash="x")
                ends.append("in")
            except invitations.BadLink:
                ends.append("out")

    threads = [threading.Thread(target=come) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["in", "out"]


def test_of_two_invitations_to_one_address_at_once_the_later_counts(world: World) -> None:
    ready = threading.Barrier(4)

    def ask(_number: int) -> None:
        with world.acme_scope(), world.app.test_request_context():
            ready.wait()
            service.invite(NEW, "member", By(user_id=world.owner.id))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    with world.acme_scope():
        assert [one.email for one in service.invitations()] == [NEW]


def test_the_link_works_for_seven_days(world: World) -> None:
    invite(world)
    path = link(world)
    with world.acme_scope(), db.transaction() as session:
        session.execute(update(Invitation).values(sent_at=db.now() - dt.timedelta(days=7, seconds=1)))
    answer = join(world, path)
    assert answer.status_code == 404
    assert "older than 7 days" in answer.get_data(as_text=True)
    assert fetch(world, NEW) is None
    owner = world.client(world.owner)
    assert "Expired" in owner.get(URL).get_data(as_text=True)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"password": "short"}, "at least 10 characters"),
        ({"name": " "}, "Enter your name"),
        ({"name": "two\nlines"}, "single line"),
        ({"name": "Visit www.spam.example"}, "no web address"),
    ],
)
def test_the_form_names_what_is_wrong(world: World, fields: dict[str, str], words: str) -> None:
    invite(world)
    answer = join(world, link(world), **fields)
    assert answer.status_code == 422
    assert words in answer.get_data(as_text=True)
    assert NEW_PASSWORD not in answer.get_data(as_text=True)
    assert fetch(world, NEW) is None
    assert join(world, link(world)).status_code == 303


def test_the_address_is_that_of_the_letter_whatever_the_form_says(world: World) -> None:
    invite(world)
    join(world, link(world), email="other@acme.test", role="owner")
    assert fetch(world, "other@acme.test") is None
    user = fetch(world, NEW)
    assert user is not None
    assert user.role == "member"


@pytest.mark.parametrize("path", ["/invitation/made-up", "/invitation/" + "x" * 500])
def test_a_made_up_link_leads_nowhere(world: World, path: str) -> None:
    assert world.client().get(path).status_code == 404


def test_a_password_in_any_spelling_of_unicode_signs_in(world: World) -> None:
    invite(world)
    join(world, link(world), password="cafe\u0301 au lait noir")
    assert world.client().submit("/login", email=NEW, password="caf\u00e9 au lait noir").location == "/"


def test_sending_again_ends_the_link_before(world: World) -> None:
    owner = world.client(world.owner)
    owner.submit(URL, email=NEW, role="member")
    first = link(world)
    assert owner.post(f"{URL}/invitations/{invited(world)[0].id}/resend").status_code == 303
    assert link(world) != first
    assert world.client().get(first).status_code == 404
    assert join(world, link(world)).status_code == 303


def test_inviting_again_is_sending_again_with_the_role_of_now(world: World) -> None:
    invite(world)
    first = link(world)
    invite(world, role="owner")
    assert [row.role for row in invited(world)] == ["owner"]
    assert world.client().get(first).status_code == 404


def test_a_withdrawn_invitation_leads_nowhere(world: World) -> None:
    owner = world.client(world.owner)
    owner.submit(URL, email=NEW, role="member")
    owner.post(f"{URL}/invitations/{invited(world)[0].id}/withdraw")
    assert join(world, link(world)).status_code == 404
    assert invited(world) == []
    assert ("user.invitation_withdrawn", NEW) in audited(world)


@pytest.mark.parametrize("email", ["", "nobody", "a@acme.test\r\nBcc: x@y.test"])
def test_it_refuses_what_is_no_address(world: World, email: str) -> None:
    answer = invite(world, email)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.get_data(as_text=True)
    assert letters(world) == []


def test_it_says_of_ones_own_people_that_they_are_here(world: World) -> None:
    answer = invite(world, "Member@acme.test")
    assert answer.status_code == 422
    assert "one of your people already" in answer.get_data(as_text=True)
    assert letters(world) == []


def test_only_the_letter_says_that_an_address_has_a_login_elsewhere(world: World) -> None:
    owner = world.client(world.owner)
    known = owner.submit(URL, email="owner@other.test", role="member")
    page = owner.get(URL).get_data(as_text=True)
    unknown = owner.submit(URL, email="owner@elsewhere.test", role="member")
    same = owner.get(URL).get_data(as_text=True)
    assert (known.status_code, known.location) == (unknown.status_code, unknown.location)
    assert "is on its way to owner@other.test" in page
    assert "is on its way to owner@elsewhere.test" in same
    to_known, to_unknown = letters(world)
    assert "an address belongs to one account only" in to_known.values["text"]
    assert "/invitation/" not in to_known.values["text"] + to_known.values["html"]
    assert "/invitation/" in to_unknown.values["text"]


def test_a_login_that_came_about_meanwhile_is_not_taken_over(world: World) -> None:
    invite(world)
    path = link(world)
    with db.system_scope("tests"), db.transaction() as session:
        session.execute(update(User).where(User.id == world.stranger.id).values(email=NEW))
    answer = join(world, path)
    assert answer.status_code == 404
    assert "belongs to one account only" in answer.get_data(as_text=True)
    user = fetch(world, NEW)
    assert user is not None
    assert user.account_id == world.other.id


def test_it_invites_only_so_many(world: World) -> None:
    owner = world.client(world.owner)
    answers = [owner.submit(URL, email=f"n{number}@acme.test", role="member") for number in range(11)]
    assert [answer.status_code for answer in answers] == [303] * 10 + [429]
    assert "You have invited a lot of people in a short time." in answers[-1].text
    assert 'value="n10@acme.test"' in answers[-1].text
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert len(letters(world)) == 10


def test_it_fills_nobodys_inbox_whichever_account_invites(world: World) -> None:
    acme, other = world.client(world.owner), world.client(world.stranger)
    spellings = (NEW, "NEW@acme.test", "new+two@acme.test")
    assert [acme.submit(URL, email=email, role="member").status_code for email in spellings] == [303] * 3
    answers = [other.submit(URL, email=NEW, role="owner") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [303, 303, 429]
    # At the field, with what was typed.
    assert re.search(rf'id="email-error">.*</svg> {NEW} has been mailed often enough', answers[-1].text)
    assert "Try again in 24 hours." in answers[-1].text
    assert f'value="{NEW}"' in answers[-1].text
    assert re.search(r'<input checked [^>]*value="owner"', answers[-1].text)
    assert int(answers[-1].headers["Retry-After"]) > 80_000
    [first, *_] = invited(world)
    assert acme.post(f"{URL}/invitations/{first.id}/resend").status_code == 429
    assert len(letters(world)) == 5
    assert acme.submit(URL, email="another@acme.test", role="member").status_code == 303


# ---- Roles and leaving


@pytest.mark.parametrize("action", ["role", "remove"])
def test_whoever_is_removed_or_owner_no_more_takes_their_invitations_along(world: World, action: str) -> None:
    owner = world.client(world.owner)
    owner.post(f"{URL}/{world.member.id}/role", {"role": "owner"})
    for email in (NEW, "second@acme.test"):
        invite(world, email, "owner", user=world.member)
    theirs = link(world)
    invite(world, "third@acme.test")
    # Of one that somebody else has sent again, the link is theirs.
    again = next(one for one in invited(world) if one.email == NEW)
    owner.post(f"{URL}/invitations/{again.id}/resend")
    with world.acme_scope(), db.transaction():
        accounts.forget_in_log("second@acme.test")  # as when a participant of that address is deleted
    assert owner.post(f"{URL}/{world.member.id}/{action}", {"role": "member"}).status_code == 303
    assert {one.email for one in invited(world)} == {NEW, "third@acme.test"}
    assert world.client().get(theirs).status_code == 404
    assert ("user.invitation_withdrawn", "second@acme.test") in audited(world)


def test_it_changes_a_role_from_the_next_click_on(world: World) -> None:
    owner, member = world.client(world.owner), world.client(world.member)
    assert owner.post(f"{URL}/{world.member.id}/role", {"role": "owner"}).status_code == 303
    assert member.get("/settings/api-keys").status_code == 200
    owner.post(f"{URL}/{world.member.id}/role", {"role": "member"})
    assert member.get("/settings/api-keys").status_code == 403
    assert audited(world) == [("user.role_changed", "member@acme.test")] * 2


@pytest.mark.parametrize("role", ["", "admin"])
def test_there_are_two_roles(world: World, role: str) -> None:
    answer = world.client(world.owner).post(f"{URL}/{world.member.id}/role", {"role": role})
    assert answer.status_code == 422
    assert "Choose owner or member" in answer.get_data(as_text=True)
    assert invite(world, role=role).status_code == 422
    assert letters(world) == []


@pytest.mark.parametrize("action", ["role", "remove"])
def test_the_last_owner_stays(world: World, action: str) -> None:
    owner = world.client(world.owner)
    answer = owner.post(f"{URL}/{world.owner.id}/{action}", {"role": "member"})
    assert answer.status_code == 422
    assert "last owner" in answer.get_data(as_text=True)
    user = fetch(world, "owner@acme.test")
    assert user is not None
    assert user.role == "owner"
    assert audited(world) == []


def test_it_offers_nothing_that_the_last_owner_cannot_do(world: World) -> None:
    owner = world.client(world.owner)
    page = owner.get(URL).get_data(as_text=True)
    assert "The last owner stays" in page
    assert "Remove owner@acme.test" not in page
    assert "Remove member@acme.test" in page
    owner.post(f"{URL}/{world.member.id}/role", {"role": "owner"})
    assert "The last owner stays" not in owner.get(URL).get_data(as_text=True)


def test_an_owner_who_cannot_sign_in_is_no_last_owner(world: World) -> None:
    with world.acme_scope(), db.transaction():
        member = db.owned(User, world.member.id)
        member.role, member.active = "owner", False
    answer = world.client(world.owner).post(f"{URL}/{world.owner.id}/remove")
    assert answer.status_code == 422


def test_of_two_owners_who_remove_each_other_at_once_one_stays(world: World) -> None:
    with world.acme_scope(), db.transaction():
        db.owned(User, world.member.id).role = "owner"
    ready = threading.Barrier(2)

    def remove(user_id: Any) -> None:
        with world.acme_scope():
            ready.wait()
            with contextlib.suppress(service.LastOwner):
                service.remove(user_id, service.By())

    threads = [threading.Thread(target=remove, args=(one.id,)) for one in (world.owner, world.member)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with world.acme_scope():
        assert len(service.people()) == 1


def test_a_removed_person_is_signed_out_at_once(world: World) -> None:
    owner, member = world.client(world.owner), world.client(world.member)
    remembered = world.client()
    remembered.submit("/login", email=world.member.email, password="correct horse battery", remember="y")
    assert remembered.signed_in()
    assert member.signed_in()
    assert owner.post(f"{URL}/{world.member.id}/remove").status_code == 303
    assert not member.signed_in()
    assert not remembered.signed_in()
    answer = world.client().submit("/login", email=world.member.email, password="correct horse battery")
    assert answer.status_code == 200
    assert ("user.removed", "member@acme.test") in audited(world)


def test_an_owner_may_leave_when_there_is_another(world: World) -> None:
    owner = world.client(world.owner)
    owner.post(f"{URL}/{world.member.id}/role", {"role": "owner"})
    owner.post(f"{URL}/{world.owner.id}/remove")
    assert not owner.signed_in()
    assert fetch(world, "owner@acme.test") is None


def test_it_keeps_accounts_apart(world: World) -> None:
    invite(world)
    stranger = world.client(world.stranger)
    assert stranger.post(f"{URL}/{world.member.id}/role", {"role": "owner"}).status_code == 404
    assert stranger.post(f"{URL}/{world.member.id}/remove").status_code == 404
    for action in ("resend", "withdraw"):
        assert stranger.post(f"{URL}/invitations/{invited(world)[0].id}/{action}").status_code == 404
    assert len(letters(world)) == 1


def test_nobody_signs_in_whose_address_is_not_confirmed(world: World) -> None:
    member = world.client(world.member)
    with world.acme_scope(), db.transaction():
        db.owned(User, world.member.id).confirmed_at = None
    assert not member.signed_in()
    answer = world.client().submit("/login", email=world.member.email, password="correct horse battery")
    assert "do not go together" in answer.get_data(as_text=True)
