"""What can go wrong inside a session; `Session` turns each of these into an `Outcome`."""

from panel.smtp.outcome import About, FailureCode
from panel.smtp.reply import Reply


class Broken(Exception):
    """The conversation cannot go on: the connection is of no more use. `hung_up` says that the server ended it."""

    def __init__(self, failure: FailureCode, detail: str, *, hung_up: bool = False) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail
        self.hung_up = hung_up


class Refused(Exception):
    """The server gave a valid reply that says no (4yz or 5yz)."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"reply code {reply.code}")
        self.reply = reply


class Unsendable(Exception):
    """This letter cannot be sent, whatever the server would say; `about` says what is wrong with it."""

    def __init__(self, about: About, detail: str) -> None:
        super().__init__(detail)
        self.about = about
        self.detail = detail


class SpokeEarly(Exception):
    """The server speaks though what it could be answering has not left yet."""


TROUBLE = (Broken, Refused, Unsendable)
"""All that make an outcome, to be caught together."""
