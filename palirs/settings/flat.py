"""Nested settings as one level of names."""

from typing import Any


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dots between the names."""
    if isinstance(values, dict) and values:
        return {
            key: value
            for name, child in values.items()
            for key, value in flat(child, f"{prefix}{name}.").items()
        }
    return {prefix.rstrip("."): values}
