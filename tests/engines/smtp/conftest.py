"""Every test here trusts the test servers' authority, and talks to them with little patience."""

import pytest

from tests.support.mailserver import ca_pem_path


@pytest.fixture(autouse=True)
def trusted_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_pem_path())
