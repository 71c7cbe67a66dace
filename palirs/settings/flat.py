"""Nested settings as one level of names."""

from typing import Any

from palirs.settings.learning import current_split


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested settings with dots between the names; values have their present names."""
    if isinstance(values, dict) and values:
        return {
            key: value
            for name, child in values.items()
            for key, value in flat(child, f"{prefix}{name}.").items()
        }
    key = prefix.rstrip(".")
    return {key: current_split(values) if key == "learning.split" else values}
