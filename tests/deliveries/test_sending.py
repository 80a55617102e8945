"""From a queued row to the server's 250, by the platform's server and by the account's own."""

from __future__ import annotations

import email
import email.policy

from tests.deliveries.conftest import Post
from tests.support.mailserver import MailServer, Received
from tests.support.ports import free_port


def _read(letter: Received) -> email.message.EmailMessage:
    read = email.message_from_bytes(letter.content, policy=email.policy.default)
    assert isinstance(read, email.message.EmailMessage)
    return read


def test_it_sends_by_the_platform_server_in_the_owners_name(post: Post) -> None:
    welcome, note = post.join()
    post.send()
    letters = {letter.recipients[0]: letter for letter in post.platform.wait_for(2)}
    read = _read(letters["robin@friends.test"])
    assert read["From"] == "Acme Coffee via Ownpost <notifications@localhost>"
    assert read["Reply-To"] == "hello@acme.test"
    assert read["To"] == "Robin Meyer <robin@friends.test>"
    assert letters["robin@friends.test"].sender == "notifications@localhost"
    sent = post.get(welcome)
    assert (sent.state, sent.attempts, sent.server_id) == ("sent", 1, None)
    assert read["Message-ID"] == sent.message_id
    assert sent.sent_at is not None
    assert post.get(note).state == "sent"
    assert letters["owner@acme.test"]


def test_it_sends_by_the_accounts_own_server(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        welcome = post.welcome()
        post.send()
        [letter] = own.wait_for(1)
    read = _read(letter)
    assert read["From"] == "Acme Coffee <hello@acme.test>"
    assert read["Reply-To"] is None
    assert letter.sender == "hello@acme.test"
    assert read["Message-ID"].endswith("@acme.test>")
    assert read["Auto-Submitted"] == "auto-generated"
    sent = post.get(welcome)
    assert sent.state == "sent"
    assert sent.server_id is not None
    assert post.platform.messages == []


def test_every_letter_to_a_participant_can_be_unsubscribed_from(post: Post) -> None:
    post.welcome()
    post.send()
    read = _read(post.platform.wait_for(1)[0])
    link = str(read["List-Unsubscribe"]).strip("<>")
    assert link.startswith("http://127.0.0.1:8000/u/")
    assert read["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    for kind in ("plain", "html"):
        part = read.get_body((kind,))
        assert part is not None
        assert link in part.get_content()


def test_a_row_exists_for_every_attempt(post: Post) -> None:
    welcome = post.welcome()
    post.send()
    [attempt] = post.attempts(welcome)
    assert (attempt.outcome, attempt.code, attempt.server) == ("sent", 250, "platform server")
    assert attempt.ended_at is not None
    assert attempt.ended_at >= attempt.started_at


def test_the_letter_as_sent_can_be_made_again(post: Post) -> None:
    from panel.deliveries import service as deliveries

    welcome = post.welcome()
    post.send()
    [letter] = post.platform.wait_for(1)
    with post.world.acme_scope():
        from panel.outbox import service as outbox

        again = deliveries.letter_of(outbox.get(welcome))
    assert letter.content in (again.wire(eightbit=True), again.wire(eightbit=False))


def test_it_keeps_the_connection_for_the_next_letter(post: Post) -> None:
    with MailServer() as own:
        post.use(own)
        post.welcome("one@friends.test")
        post.send()
        post.welcome("two@friends.test")
        post.send()
        own.wait_for(2)
        assert own.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_costs_nothing(post: Post) -> None:
    with MailServer(port=free_port()) as own:
        post.use(own)
        post.welcome("one@friends.test")
        post.send()
        port = own.port
    with MailServer(port=port) as own:
        second = post.welcome("two@friends.test")
        post.send()
        own.wait_for(1)
    assert post.get(second).state == "sent"
    assert len(post.attempts(second)) == 1


def test_a_disabled_notification_makes_a_canceled_row(post: Post) -> None:
    _, note = post.join()
    post.welcome("two@friends.test")  # switches the owner's note off
    _, canceled = post.join("three@friends.test")
    assert post.get(note).state == "queued"
    row = post.get(canceled)
    assert (row.state, row.reason) == ("canceled", "notification_disabled")


def test_who_unsubscribes_after_the_letter_was_queued_is_not_mailed(post: Post) -> None:
    from panel.suppressions import service as suppressions

    welcome = post.welcome()
    with post.world.acme_scope():
        suppressions.add("robin@friends.test", campaign_id=post.campaign_id, reason="unsubscribed", source="test")
    post.send()
    row = post.get(welcome)
    assert (row.state, row.reason) == ("canceled", "suppressed_unsubscribed")
    assert post.platform.messages == []
    assert post.attempts(welcome) == []


def test_who_is_suppressed_already_gets_a_canceled_row(post: Post) -> None:
    from panel.suppressions import service as suppressions

    with post.world.acme_scope():
        suppressions.add("robin@friends.test", campaign_id=None, reason="bounced", source="test")
    row = post.get(post.welcome())
    assert (row.state, row.reason) == ("canceled", "suppressed_bounced")
