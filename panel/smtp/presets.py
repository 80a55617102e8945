# ruff: noqa: S105, S106 - what is said of passwords here are hints about them
"""Mail providers that people use, with the settings to fill in: a curated table.

Facts are from the providers' own pages on SMTP; nodemailer's `services.json` (MIT-0) helped to find them. Limits are
letters in 24 hours, as the provider states them, and None where they depend on the plan.
"""

from dataclasses import dataclass

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
    daily_limit: int | None = None
    note: str = ""
    help_path: str = "/help"
    aliases: tuple[str, ...] = ()
    """Other host names of the same service; one that begins with a dot stands for every name that ends so."""


_APP_PASSWORD = "An app password, made in the account’s security settings"
_API = "it is shown where you made it"

_TABLE = (
    Preset(
        key="gmail",
        name="Gmail",
        host="smtp.gmail.com",
        username_hint="Your whole Gmail address, such as you@gmail.com",
        password_hint="An app password of 16 letters, not the password of your Google account",
        daily_limit=500,
        help_path="/help/gmail#app-password",
        aliases=("smtp.googlemail.com",),
    ),
    Preset(
        key="google-workspace",
        name="Google Workspace",
        host="smtp.gmail.com",
        username_hint="Your whole address, such as you@yourcompany.com",
        password_hint="An app password of 16 letters, not the password of your Google account",
        daily_limit=2000,
        help_path="/help/gmail#workspace",
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
    ),
    Preset(
        key="microsoft-365",
        name="Microsoft 365",
        host="smtp.office365.com",
        username_hint="The whole address of the mailbox, such as you@yourcompany.com",
        password_hint="The mailbox’s password; SMTP AUTH must be on for it",
        daily_limit=10_000,
        help_path="/help/outlook#smtp-auth",
        aliases=("outlook.office365.com",),
    ),
    Preset(
        key="other",
        name="Another provider",
        username_hint="Usually your whole email address",
        password_hint="The mailbox’s password, or an app password where there are such",
        from_is_username=False,
    ),
    Preset(key="yahoo", name="Yahoo Mail", host="smtp.mail.yahoo.com", password_hint=_APP_PASSWORD, daily_limit=500),
    Preset(key="aol", name="AOL Mail", host="smtp.aol.com", password_hint=_APP_PASSWORD, daily_limit=500),
    Preset(
        key="icloud",
        name="iCloud Mail",
        host="smtp.mail.me.com",
        username_hint="Your iCloud Mail address, such as you@icloud.com",
        password_hint="An app-specific password, made at account.apple.com",
        daily_limit=1000,
    ),
    Preset(
        key="zoho",
        name="Zoho Mail",
        host="smtp.zoho.com",
        password_hint="The mailbox’s password, or an app password if two-factor sign-in is on",
        aliases=("smtppro.zoho.com", "smtp.zoho.eu", "smtppro.zoho.eu", "smtp.zoho.in", "smtppro.zoho.in"),
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
    ),
    Preset(key="ovh", name="OVHcloud", host="ssl0.ovh.net", port=465, security=Security.TLS),
    Preset(
        key="gandi",
        name="Gandi",
        host="mail.gandi.net",
    ),
    Preset(key="infomaniak", name="Infomaniak", host="mail.infomaniak.com", port=465, security=Security.TLS),
    Preset(
        key="yandex",
        name="Yandex 360",
        host="smtp.yandex.com",
        port=465,
        security=Security.TLS,
        password_hint=_APP_PASSWORD,
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


def _is_of(name: str, preset: Preset) -> bool:
    return name == preset.host or any(
        name.endswith(alias) if alias.startswith(".") else name == alias for alias in preset.aliases
    )
