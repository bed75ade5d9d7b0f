"""Plugins that users bring along as Python files: loaded, limited, written and measured."""
