"""Every model, imported for its effect: relationships, migrations and tests need the whole table of tables."""

from panel import mark
from panel.accounts import models as accounts
from panel.addresses import models as addresses
from panel.blasts import models as blasts
from panel.campaigns import models as campaigns
from panel.deliveries import models as deliveries
from panel.events import models as events
from panel.outbox import models as outbox
from panel.participants import models as participants
from panel.servers import models as servers
from panel.servers import sealing
from panel.settings import models as settings
from panel.signin import models as signin
from panel.suppressions import models as suppressions

__all__ = [
    "accounts",
    "addresses",
    "blasts",
    "campaigns",
    "deliveries",
    "events",
    "mark",
    "outbox",
    "participants",
    "sealing",
    "servers",
    "settings",
    "signin",
    "suppressions",
]
