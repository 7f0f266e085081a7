"""What features describe: a user, an aircraft, a pair of them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from timewell.define.base import Definition, Name
from timewell.define.names import check_name
from timewell.errors import DefinitionError

KeyType = Literal["int64", "string", "bool", "date"]


class Entity(Definition):
    """A thing with one or more join keys, in a declared order.

    Parameters
    ----------
    name
        Such as ``user_id``.
    join_keys
        Names, or a mapping of name to type; a single key of the entity's own name when omitted.
        A key without type takes that of the source column.

    Examples
    --------
    >>> Entity(name="route", join_keys=["origin", "dest"]).key_names
    ('origin', 'dest')
    """

    name: Name
    join_keys: dict[str, KeyType | None] = Field(default_factory=dict)
    owner: str | None = None
    description: str = ""

    @field_validator("join_keys", mode="before")
    @classmethod
    def _names_alone(cls, keys: object) -> object:
        return dict.fromkeys(keys) if isinstance(keys, (list, tuple)) else keys

    @model_validator(mode="after")
    def _key_names(self) -> Self:
        for key in self.join_keys:
            check_name(key)
        if len(self.join_keys) > 8:
            raise DefinitionError(problem="an entity has at most 8 join keys.")
        return self

    @property
    def key_names(self) -> tuple[str, ...]:
        """The join keys in their declared order."""
        return tuple(self.join_keys) or ((self.name,) if self.name else ())

    @property
    def key_types(self) -> tuple[KeyType | None, ...]:
        """The declared types in the same order; ``None`` where the source's column decides."""
        return tuple(self.join_keys.get(name) for name in self.key_names)
