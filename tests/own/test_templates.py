from __future__ import annotations

from epp.core import plugin
from epp.own.roles import missing, roles_of
from epp.own.templates import TEMPLATES


def test_each_template_is_for_a_role_and_fills_it() -> None:
    for template in TEMPLATES.values():
        base = getattr(plugin, template.base)
        assert roles_of(base) == [base]
        for method in missing(base):
            assert f"def {method.partition('.')[2]}(" in template.body
