"""What servers say where they close the connection at the sign-in. It is a try of the password unless they give another
reason: a password that may be wrong is not to be tried again and again, nor a good one left alone."""

from typing import Final

from panel.smtp.outcome import FailureCode
from panel.smtp.rows import AUTH, Row, Source, credentials, server

_TOO_MANY_CONNECTIONS: Final = (
    r"too many (\w+ ){0,3}(connections|sessions)|(concurrent|simultaneous|number of|maximum) (connection|session)"
    r"|(connection|session)s? limit"
)
_SIGNING_IN: Final = r"auth|log ?in|log ?on|sign ?in|password|credential|user ?name"
_ITS_OWN_SAKE: Final = r"\bbusy\b|overload|shut(ting)? ?down|tim(ed?|ing)[- ]?out|maintenance|try (again )?later"

CLOSING: Final[tuple[Row, ...]] = (
    server(
        phases=AUTH,
        code="421",
        enhanced="4.(3|4).x",
        note="The server closes for its own sake, or for the line’s, and says nothing of the password.",
        source=Source.RFC3463,
        examples=("auth 421 4.3.0 Temporary System Problem", "auth 421 4.4.2 mail.example.com Error: timeout exceeded"),
    ),
    server(
        phases=AUTH,
        code="421",
        words=rf"{_TOO_MANY_CONNECTIONS}|^(?!.*({_SIGNING_IN})).*({_ITS_OWN_SAKE})",
        note="The same in words.",
        source=Source.COMMON,
        examples=(
            "auth 421 4.7.0 Too many concurrent connections from your IP",
            "auth 421 4.7.0 Try again later, closing connection. - gsmtp",
            "auth 421 Server busy",
        ),
    ),
    credentials(
        phases=AUTH,
        code="421",
        failure=FailureCode.AUTH_TEMPORARY,
        note="The server closes at the password and does not say why: many do just that where it is wrong.",
        source=Source.COMMON,
        examples=(
            "auth 421 4.7.0 Authentication failed, closing connection",
            "auth 421 Service not available, closing transmission channel",
        ),
    ),
)
