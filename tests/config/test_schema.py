from __future__ import annotations

from epp.config.schema import ConfigSection


def test_the_keys_are_spelt_as_users_write_them() -> None:
    assert {
        "apiVersion",
        "kind",
        "featureGates",
        "plugins",
        "schedulingProfiles",
        "saturationDetector",
        "dataLayer",
    } == set(ConfigSection.__struct_encode_fields__)
