"""How a feature names a shared transform and where each of its inputs comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from timewell.define.base import Definition, Name, Version
from timewell.define.transform import transform_of

REQUEST = "request."
InputKind = Literal["feature", "request", "now"]


class TransformUse(Definition):
    """The transform of a feature, as it is registered: where it is and what it must be. Never its code.

    Parameters
    ----------
    function
        ``module:function`` of what is installed, or ``file.py:function`` below the definitions folder.
    name, version, hash, parameters, returns
        Of the transform (see :class:`timewell.define.transform.Transform`); looked up where they are left out, and
        compared with what is there where they are given.
    """

    function: str = Field(pattern=r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_]*$")
    name: Name | None = None
    version: Version | None = None
    hash: str | None = None
    parameters: dict[str, str] = Field(default_factory=dict)
    returns: str | None = None

    @property
    def place(self) -> str:
        """The module, or the file below the definitions folder."""
        return self.function.partition(":")[0]


def _use(value: object) -> object:
    """Take a marked function, its path, or the fields of a use."""
    if isinstance(value, str):
        return {"function": value}
    if isinstance(value, FunctionType):
        made = transform_of(value)
        return TransformUse(
            function=made.path,
            name=made.name,
            version=made.version,
            hash=made.source_hash,
            parameters=made.parameters,
            returns=made.returns,
        )
    return value


AnyTransform = Annotated[TransformUse, BeforeValidator(_use)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Where one parameter of an on-demand feature gets its value.

    Attributes
    ----------
    dtype
        The parameter's type.
    kind
        ``feature``: a stored feature, its value after the rules for ttl and empty. ``request``: a value that comes with
        the request, offline the spine's column of that name. ``now``: the instant of the request, offline of the row.
    reference
        ``group:name@version`` of the feature, pinned when the on-demand feature was registered; the request value's name.
    """

    parameter: str
    dtype: str
    kind: InputKind
    reference: str

    def to_dict(self) -> dict[str, str]:
        """Return plain data."""
        return {"parameter": self.parameter, "dtype": self.dtype, "kind": self.kind, "reference": self.reference}

    @classmethod
    def read(cls, plain: Mapping[str, str]) -> Input:
        """Read what :meth:`to_dict` wrote."""
        return cls(**plain)  # type: ignore[arg-type]  # the kinds are ours

    @property
    def origin(self) -> str:
        """The input in a word: ``group:name@version``, ``request.name`` or ``now``."""
        return REQUEST + self.reference if self.kind == "request" else self.reference
