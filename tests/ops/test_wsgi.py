"""`gunicorn wsgi:app`: the same panel, and logs as quiet about secrets as those of `ownpost web`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from panel.crypto import new_key

PROGRAM = """
import structlog, wsgi
password = "canary-7e2a-password"
try:
    raise RuntimeError("something broke")
except RuntimeError:
    structlog.get_logger().exception("failed", path="/")
"""


def test_a_traceback_is_logged_without_the_values_of_variables(tmp_path: Path) -> None:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OWNPOST_")},
        "OWNPOST_DATA_DIR": str(tmp_path),
        "REDIS_URL": "unix:///nowhere.sock",
        "OWNPOST_SECRET_KEY": "a secret key for tests, and only for tests",
        "OWNPOST_ENCRYPTION_KEYS": new_key(),
        "OWNPOST_PLATFORM_SMTP_URL": "smtp://127.0.0.1:9?security=none",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    shown = done.stdout + done.stderr
    assert "something broke" in shown
    assert "canary-7e2a" not in shown
