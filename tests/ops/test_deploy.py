"""The files for deploying, as far as they can be tried without systemd and a container engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from panel.config import Settings
from panel.crypto import new_key

DEPLOY = Path(__file__).resolve().parents[2] / "docs" / "deploy"


def test_the_start_script_knows_every_part_that_the_files_name() -> None:
    script = DEPLOY.joinpath("part").read_text()
    unit = DEPLOY.joinpath("ownpost@.service").read_text()
    compose = DEPLOY.joinpath("compose.yaml").read_text()
    named = set(re.findall(r"ownpost@([a-z]+)", unit)) | set(re.findall(r'command: \["([a-z]+)"\]', compose))
    assert named == {"web", "ticker", "interactive", "delivery", "housekeeping"}
    assert all(re.search(rf"\b{part}\b", script) for part in named)


def test_the_start_script_refuses_an_unknown_part() -> None:
    done = subprocess.run([DEPLOY / "part", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "not 'nonsense'" in done.stderr


def test_the_example_settings_are_read_once_the_keys_are_filled_in() -> None:
    lines = DEPLOY.joinpath("ownpost.env.example").read_text().splitlines()
    environ = dict(line.split("=", 1) for line in lines if line)
    environ |= {"OWNPOST_SECRET_KEY": "x" * 40, "OWNPOST_ENCRYPTION_KEYS": new_key()}
    settings = Settings.from_env(environ)
    assert settings.secure_cookies
    assert settings.platform_server.port == 587
