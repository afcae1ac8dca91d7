"""What all tests share. Fixtures that need a server or a socket are in integration/conftest.py."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine makes single examples slow; that says nothing about the code.
settings.register_profile("trunkline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For a night: make test ARGS="--hypothesis-profile=deep"
settings.register_profile("deep", settings.get_profile("trunkline"), max_examples=5_000)
settings.load_profile("trunkline")
