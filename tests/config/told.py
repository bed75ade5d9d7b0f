"""What is said about texts, in the short form of tables of cases: ``file:line: place: text``."""

from __future__ import annotations

from collections.abc import Iterable

import epp.plugins
from epp.config.check import check
from epp.config.findings import Finding, Severity
from epp.config.load import LoadedConfig, load_config
from epp.config.manifest import Part
from epp.core.plugin import REGISTRY
from tests.fakes import make_handle

epp.plugins.load()

FILE = "c.yaml"
NEW = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
OLD = "apiVersion: inference.networking.x-k8s.io/v1alpha1\nkind: EndpointPickerConfig\n"


def load(text: str, *, before: LoadedConfig | None = None) -> LoadedConfig:
    """The configuration, Alpha plugins allowed."""
    return load_config(text, FILE, make_handle(), allow_experimental=True, before=before)


def checked(text: str) -> list[Finding]:
    """Everything that ``epp check-config --notes`` finds in one configuration."""
    return list(check(Part(text), FILE, REGISTRY, allow_experimental=True).findings)


def refusals(text: str) -> list[str]:
    """The errors alone."""
    return errors(checked(text))


def rules(text: str) -> list[str]:
    """The rules of what is found."""
    return [finding.rule for finding in checked(text)]


def told(findings: Iterable[Finding], *severities: Severity) -> list[str]:
    """Those of the given severities, by default all of them."""
    return [
        f"{f.file}:{f.line}: " + (f"{f.place}: " if f.place else "") + f.text
        for f in findings
        if not severities or f.severity in severities
    ]


def errors(findings: Iterable[Finding]) -> list[str]:
    """The errors alone."""
    return told(findings, Severity.ERROR)
