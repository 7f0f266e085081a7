"""The plan as one object: plain data that prints itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from timewell.errors import UsageError
from timewell.plan.markdown import as_markdown
from timewell.plan.parts import Content
from timewell.plan.text import as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Content):
    """What applying a folder of definitions would do.

    Made by ``fs.plan()`` and ``timewell plan``; ``fs.apply(plan)`` does exactly this, or refuses where something
    changed since. Nothing is ever deleted by it.
    """

    @property
    def ok(self) -> bool:
        """Whether nothing has to be mended first."""
        return not self.findings

    @property
    def is_empty(self) -> bool:
        """Whether applying it would change nothing."""
        return all(change.action == "unchanged" for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data that :meth:`from_dict` reads."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Plan:
        """Read a plan from plain data.

        Raises
        ------
        UsageError
        """
        try:
            return msgspec.convert(dict(body), cls)
        except msgspec.ValidationError as problem:
            hint = "Give what `timewell plan --json` printed, or plan.to_dict()."
            raise UsageError(problem=f"this is no plan: {problem}", hint=hint) from None

    def to_markdown(self) -> str:
        """Return the plan as Markdown, for a pull request; no text of a definition can act as markup."""
        return as_markdown(self)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()
