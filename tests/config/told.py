"""Findings in the short form that tables of cases have: ``file:line: place: text``."""

from __future__ import annotations

from collections.abc import Iterable

from epp.config.findings import Finding, Severity


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
