"""What the environment says: a wrong value is told by its variable, and what may be secret is never repeated."""

from __future__ import annotations

import pytest

from panel.config import ConfigError, Settings
from panel.crypto import new_key

CANARY = "canary"
GOOD = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "OWNPOST_SECRET_KEY": CANARY * 8,
    "OWNPOST_ENCRYPTION_KEYS": new_key(),
    "OWNPOST_PLATFORM_SMTP_URL": f"smtp://user:{CANARY}@smtp.example.com:587",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # A character that has to be percent-encoded ends the password early; what is left of it is taken for a port.
        ("REDIS_URL", f"redis://:{CANARY}/word@127.0.0.1:6379/0"),
        ("REDIS_URL", f"redis://:{CANARY}#word@127.0.0.1:6379/0"),
        ("REDIS_URL", f"redis://:{CANARY}[word@127.0.0.1:6379/0"),
        ("REDIS_URL", f"redis://:{CANARY}@127.0.0.1:port/0"),
        ("REDIS_URL", f"redis://:{CANARY}@127.0.0.1:6379/0?socket_timeout=soon"),
        ("REDIS_URL", f"http://:{CANARY}@127.0.0.1"),
        ("DATABASE_URL", f"postgresql+psycopg://ownpost:{CANARY}@db:port/ownpost"),
        ("DATABASE_URL", f"postgres://ownpost:{CANARY}@db:123456789x/ownpost"),
        ("DATABASE_URL", f"mysql://ownpost:{CANARY}@db/ownpost"),
        ("OWNPOST_ENCRYPTION_KEYS", CANARY),
        ("OWNPOST_ENCRYPTION_KEYS", f"k1:{CANARY}"),
        ("OWNPOST_SECRET_KEY", CANARY),
        ("OWNPOST_PLATFORM_SMTP_URL", f"smtp://user:{CANARY}/word@smtp.example.com"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_never_repeated(name: str, value: str):
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({**GOOD, name: value})
    assert str(caught.value).startswith(f"{name}: ")
    assert len(str(caught.value).splitlines()) == 1
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgresql://ownpost:p%2Fw@db:5432/ownpost?sslmode=require"),
        ("DATABASE_URL", "postgresql+psycopg:///ownpost?host=/run/postgresql"),
        ("DATABASE_URL", "sqlite:////srv/ownpost/own post.sqlite3"),
        ("REDIS_URL", "redis://:p%2Fw@127.0.0.1:6379/0"),
        ("REDIS_URL", "rediss://[::1]:6379"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1"),
    ],
)
def test_it_takes_what_is_right(name: str, value: str):
    Settings.from_env({**GOOD, name: value})


def test_settings_show_no_secret():
    """As in a traceback, or in what a failed test prints."""
    secrets = {
        "DATABASE_URL": f"postgresql://ownpost:{CANARY}@db/ownpost",
        "REDIS_URL": f"redis://:{CANARY}@127.0.0.1:6379/0",
    }
    shown = repr(Settings.from_env({**GOOD, **secrets}))
    assert CANARY not in shown
    assert "smtp.example.com" in shown
