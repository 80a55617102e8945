"""What a server says it can do, in its reply to EHLO (RFC 5321 section 4.1.1.1)."""

from dataclasses import dataclass

from panel.smtp.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """The service extensions that matter here; none of them for a server that knows only HELO.

    `size` is the largest letter in octets that the server takes (RFC 1870): 0 when it sets no fixed limit, None when
    it does not know the extension. `auth` are SASL mechanism names in upper case.
    """

    starttls: bool = False
    pipelining: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    size: int | None = None
    auth: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, reply: Reply) -> "Features":
        """Read the reply to EHLO; its first line is only a greeting. What is unknown or garbled is left out."""
        words = [line.decode("ascii", "replace").upper().split() for line in reply.lines[1:]]
        extensions = {line[0]: line[1:] for line in words if line}
        size = extensions.get("SIZE")
        # Some old servers write "AUTH=LOGIN PLAIN", from before the standard.
        auth = {word for line in words if line and line[0] == "AUTH" for word in line[1:]}
        auth |= {word.removeprefix("AUTH=") for line in words if line and line[0].startswith("AUTH=") for word in line}
        return cls(
            starttls="STARTTLS" in extensions,
            pipelining="PIPELINING" in extensions,
            eightbitmime="8BITMIME" in extensions,
            smtputf8="SMTPUTF8" in extensions,
            size=None if size is None else int(size[0]) if size and size[0].isdigit() else 0,
            auth=frozenset(auth),
        )

    @property
    def summary(self) -> str:
        """The extensions as a person may be told."""
        names = {
            "8BITMIME": self.eightbitmime,
            "PIPELINING": self.pipelining,
            "SMTPUTF8": self.smtputf8,
        }
        offered = [name for name, there in names.items() if there]
        if self.auth:
            offered.append("sign-in by " + ", ".join(sorted(self.auth)))
        return "It offers " + ", ".join(offered) + "." if offered else "It offers no extensions."
