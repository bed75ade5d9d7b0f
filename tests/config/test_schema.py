from __future__ import annotations

from epp.config.schema import ConfigSection, FlowControlSection


def test_the_keys_are_spelt_as_users_write_them() -> None:
    assert {
        "apiVersion",
        "kind",
        "featureGates",
        "plugins",
        "schedulingProfiles",
        "saturationDetector",
        "flowControl",
        "dataLayer",
        "requestHandler",
        "parser",
    } == set(ConfigSection.__struct_encode_fields__)


def test_flow_control_has_every_key_of_the_newer_group() -> None:
    assert {
        "saturationDetector",
        "maxBytes",
        "maxRequests",
        "defaultRequestTTL",
        "noEndpointRequestTTL",
        "usageLimitPolicyPluginRef",
        "enableEviction",
        "defaultPriorityBand",
        "defaultNegativePriorityBand",
        "priorityBands",
    } == set(FlowControlSection.__struct_encode_fields__)
