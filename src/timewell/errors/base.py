"""What every error has: a stable code, the facts, and what to type next."""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Mapping
from typing import ClassVar


def did_you_mean(asked: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(asked, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


class _Facts(string.Formatter):
    """Format a template; a missing fact shows its name instead of failing inside an error."""

    def get_value(self, key: int | str, _args: object, kwargs: Mapping[str, object]) -> object:
        value = kwargs.get(str(key), "{" + str(key) + "}")
        if isinstance(value, (list, tuple, set, frozenset)):
            return ", ".join(str(part) for part in value) or "none"
        return value


class TimewellError(Exception):
    """Base of every public error.

    Parameters
    ----------
    hint
        What to do next, in words that can be typed; the class's own hint when omitted.
    **facts
        The values the message is made from; kept in ``facts``.

    Examples
    --------
    >>> from timewell.errors import UnknownFeature
    >>> error = UnknownFeature(asked="order_amount_7dd", known=["order_amount_7d"])
    >>> print(error)
    No feature is called 'order_amount_7dd'. Did you mean 'order_amount_7d'?
    >>> error.code
    'unknown_feature'
    """

    code: ClassVar[str] = "timewell_error"
    template: ClassVar[str] = "{problem}"
    fix: ClassVar[str] = ""
    exit_code: ClassVar[int] = 3

    def __init__(self, *, hint: str | None = None, **facts: object) -> None:
        self.facts = facts
        self.hint = _Facts().format(self.fix, **facts) if hint is None else hint  # a given hint may hold braces
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        text = _Facts().format(self.template, **self.facts)
        where = self.facts.get("where")
        if where and "{where}" not in self.template:
            text = f"{where}: {text}"
        asked, known = self.facts.get("asked"), self.facts.get("known")
        text = text.rstrip().rstrip(".")  # what a library told may end with a period of its own, or with none
        text += "" if text.endswith(("?", "!")) else "."
        if isinstance(asked, str) and isinstance(known, (list, tuple, set, frozenset)):
            text += did_you_mean(asked, [str(name) for name in known])
        return text

    def located(self, where: str) -> TimewellError:
        """Return the same error with the place it happened at (outer places come first)."""
        inner = self.facts.get("where")
        facts = {**self.facts, "where": f"{where}.{inner}" if inner else where}
        return type(self)(hint=self.hint, **facts)

    def to_dict(self) -> dict[str, object]:
        """Return code, message, hint and facts as plain JSON-able values."""
        facts = {name: _plain(value) for name, value in self.facts.items()}
        return {"code": self.code, "message": str(self), "hint": self.hint, "facts": facts}


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


class UsageError(TimewellError):
    """The call cannot be right as it stands; nothing was read or written."""

    code = "usage"
    exit_code = 2
