# ruff: noqa: S105, S106 - what is said of passwords here are hints about them
"""Mail providers that people use, with the settings to fill in: a curated table.

Facts are from the providers' own pages on SMTP; nodemailer's `services.json` (MIT-0) helped to find them. Limits are
those that the provider states, with the page that does; there is none where they depend on the plan, or where nobody
states any. Where a provider states several, by plan or age of the mailbox, it is the one that most mailboxes have. How
many connections to open is ours to choose where nobody says: few for mailboxes that take some hundred letters a day.
"""

from dataclasses import dataclass

from panel.smtp.limits import NO_LIMITS, Limits
from panel.smtp.settings import AuthMethod, Security


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider. `from_is_username` says that it insists on From being the mailbox that signs in, or an alias."""

    key: str
    name: str
    host: str = ""
    port: int = 587
    security: Security = Security.STARTTLS
    auth: AuthMethod = AuthMethod.AUTO
    username_hint: str = "Your whole email address"
    password_hint: str = "The mailbox’s password"
    from_is_username: bool = True
    limits: Limits = NO_LIMITS
    note: str = ""
    help_path: str = "/help"
    aliases: tuple[str, ...] = ()
    """Other host names of the same service; one that begins with a dot stands for every name that ends so."""


_APP_PASSWORD = "An app password, made in the account’s security settings"
_API = "it is shown where you made it"
_GMAIL = ("@gmail.com", "@googlemail.com")

_TABLE = (
    Preset(
        key="gmail",
        name="Gmail",
        host="smtp.gmail.com",
        username_hint="Your whole Gmail address, such as you@gmail.com",
        password_hint="An app password of 16 letters, not the password of your Google account",
        help_path="/help/gmail#app-password",
        aliases=("smtp.googlemail.com",),
        # https://support.google.com/mail/answer/22839: 500 in 24 hours.
        limits=Limits(connections=3, per_day=500),
    ),
    Preset(
        key="google-workspace",
        name="Google Workspace",
        host="smtp.gmail.com",
        username_hint="Your whole address, such as you@yourcompany.com",
        password_hint="An app password of 16 letters, not the password of your Google account",
        help_path="/help/gmail#workspace",
        # https://support.google.com/a/answer/166852: 2,000 in any 24 hours; 500 on trial.
        limits=Limits(connections=5, per_day=2000),
    ),
    Preset(
        key="outlook-com",
        name="Outlook.com",
        host="smtp-mail.outlook.com",
        username_hint="Your whole address, such as you@outlook.com",
        password_hint="Outlook.com takes no password for this any more",
        note="Personal Outlook.com, Hotmail and Live mailboxes no longer let programs sign in with a password, "
        "so this address cannot have its own server here.",
        help_path="/help/outlook#outlook-com",
        aliases=("smtp.live.com",),
        # Microsoft says that it depends on the mailbox; 300 a day is what free ones are reported to have
        # (https://learn.microsoft.com/en-us/answers/a/9461080).
        limits=Limits(connections=2, per_day=300),
    ),
    Preset(
        key="microsoft-365",
        name="Microsoft 365",
        host="smtp.office365.com",
        username_hint="The whole address of the mailbox, such as you@yourcompany.com",
        password_hint="The mailbox’s password; SMTP AUTH must be on for it",
        help_path="/help/outlook#smtp-auth",
        aliases=("outlook.office365.com",),
        # https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements
        limits=Limits(connections=3, per_minute=30, per_day=10_000),
    ),
    Preset(
        key="other",
        name="Another provider",
        username_hint="Usually your whole email address",
        password_hint="The mailbox’s password, or an app password where there are such",
        from_is_username=False,
    ),
    Preset(
        key="yahoo",
        name="Yahoo Mail",
        host="smtp.mail.yahoo.com",
        password_hint=_APP_PASSWORD,
        # https://help.yahoo.com/kb/SLN17518.html: 500 recipients a day.
        limits=Limits(connections=2, per_day=500),
    ),
    Preset(
        key="aol",
        name="AOL Mail",
        host="smtp.aol.com",
        password_hint=_APP_PASSWORD,
        # AOL is on Yahoo's servers and states no other number.
        limits=Limits(connections=2, per_day=500),
    ),
    Preset(
        key="icloud",
        name="iCloud Mail",
        host="smtp.mail.me.com",
        username_hint="Your iCloud Mail address, such as you@icloud.com",
        password_hint="An app-specific password, made at account.apple.com",
        # https://support.apple.com/102198: 1,000 letters and 1,000 recipients a day.
        limits=Limits(connections=2, per_day=1000),
    ),
    Preset(
        key="zoho",
        name="Zoho Mail",
        host="smtp.zoho.com",
        password_hint="The mailbox’s password, or an app password if two-factor sign-in is on",
        aliases=("smtppro.zoho.com", "smtp.zoho.eu", "smtppro.zoho.eu", "smtp.zoho.in", "smtppro.zoho.in"),
        # https://www.zoho.com/mail/help/adminconsole/rates-and-limits.html: 50 to 500 in any hour, by reputation.
        limits=Limits(connections=2, per_hour=50),
    ),
    Preset(
        key="fastmail",
        name="Fastmail",
        host="smtp.fastmail.com",
        port=465,
        security=Security.TLS,
        password_hint=_APP_PASSWORD,
    ),
    Preset(key="gmx", name="GMX", host="mail.gmx.net", aliases=("mail.gmx.com", "smtp.gmx.com")),
    Preset(key="web-de", name="WEB.DE", host="smtp.web.de"),
    Preset(
        key="ionos",
        name="IONOS",
        host="smtp.ionos.com",
        aliases=("smtp.ionos.de", "smtp.ionos.co.uk", "smtp.ionos.es", "smtp.ionos.fr", "smtp.ionos.it"),
        # https://www.ionos.com/help/email/general-topics/what-are-the-mass-mailing-limits: 500 an hour for contracts
        # older than 30 days; 50 in the first week.
        limits=Limits(connections=5, per_hour=500),
    ),
    Preset(key="ovh", name="OVHcloud", host="ssl0.ovh.net", port=465, security=Security.TLS),
    Preset(
        key="gandi",
        name="Gandi",
        host="mail.gandi.net",
    ),
    Preset(
        key="infomaniak",
        name="Infomaniak",
        host="mail.infomaniak.com",
        port=465,
        security=Security.TLS,
        # https://www.infomaniak.com/en/support/faq/2065: 1,440 in any 24 hours; 500 for free mailboxes.
        limits=Limits(connections=3, per_day=1440),
    ),
    Preset(
        key="yandex",
        name="Yandex 360",
        host="smtp.yandex.com",
        port=465,
        security=Security.TLS,
        password_hint=_APP_PASSWORD,
        # https://yandex.com/support/mail/web/letter/create/send-many-letters.html: 500 in 24 hours.
        limits=Limits(connections=2, per_day=500),
    ),
    Preset(
        key="amazon-ses",
        name="Amazon SES",
        host="email-smtp.us-east-1.amazonaws.com",
        username_hint="The SMTP user name of SES, which begins with AKIA",
        password_hint="The SMTP password of SES, not your AWS secret key",
        from_is_username=False,
        note="Replace us-east-1 by the region where your address is verified.",
        aliases=(".amazonaws.com",),
    ),
    Preset(
        key="sendgrid",
        name="SendGrid",
        host="smtp.sendgrid.net",
        username_hint="The word apikey, just so",
        password_hint=f"An API key that may send mail; {_API}",
        from_is_username=False,
    ),
    Preset(
        key="mailgun",
        name="Mailgun",
        host="smtp.mailgun.org",
        username_hint="The SMTP login of your domain, such as postmaster@mg.example.com",
        password_hint="The SMTP password of that login",
        from_is_username=False,
        aliases=("smtp.eu.mailgun.org",),
    ),
    Preset(
        key="postmark",
        name="Postmark",
        host="smtp.postmarkapp.com",
        username_hint="Your server’s API token, or the access key of an SMTP token",
        password_hint="The same API token again, or the secret key of the SMTP token",
        from_is_username=False,
        aliases=("smtp-broadcasts.postmarkapp.com",),
    ),
    Preset(
        key="brevo",
        name="Brevo",
        host="smtp-relay.brevo.com",
        username_hint="The SMTP login that Brevo shows under SMTP & API",
        password_hint=f"An SMTP key; {_API}",
        from_is_username=False,
        aliases=("smtp-relay.sendinblue.com",),
    ),
    Preset(
        key="mailjet",
        name="Mailjet",
        host="in-v3.mailjet.com",
        username_hint="The API key",
        password_hint="The secret key",
        from_is_username=False,
    ),
    Preset(
        key="sparkpost",
        name="SparkPost",
        host="smtp.sparkpostmail.com",
        username_hint="The word SMTP_Injection, just so",
        password_hint=f"An API key that may send by SMTP; {_API}",
        from_is_username=False,
        aliases=("smtp.eu.sparkpostmail.com",),
    ),
    Preset(
        key="mandrill",
        name="Mailchimp Transactional",
        host="smtp.mandrillapp.com",
        username_hint="Any text; your company’s name will do",
        password_hint=f"An API key; {_API}",
        from_is_username=False,
    ),
)

PRESETS: dict[str, Preset] = {preset.key: preset for preset in _TABLE}
"""All presets by key, in the order to show them; the first five are the ones a form offers."""

OFFERED = tuple(PRESETS)[:5]
"""The keys that the form offers."""


def preset_for_host(host: str) -> Preset | None:
    """Return the provider whose server this is; of several with the same host, the first."""
    name = host.strip().rstrip(".").lower()
    return next((preset for preset in _TABLE if preset.host and _is_of(name, preset)), None)


def limits_for(*, preset: str, host: str, username: str) -> Limits:
    """The limits of a server's provider: the chosen one if the server is its, else the one whose server it is."""
    chosen = PRESETS.get(preset)
    if chosen is None or not chosen.host or not _is_of(host.strip().rstrip(".").lower(), chosen):
        chosen = preset_for_host(host)
        if chosen is not None and chosen.key == "gmail" and not username.lower().endswith(_GMAIL):
            chosen = PRESETS["google-workspace"]  # the same server, for domains of one's own
    return chosen.limits if chosen else NO_LIMITS


def _is_of(name: str, preset: Preset) -> bool:
    return name == preset.host or any(
        name.endswith(alias) if alias.startswith(".") else name == alias for alias in preset.aliases
    )
