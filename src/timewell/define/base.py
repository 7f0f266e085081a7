"""What all definitions share: frozen, keyword-only, no unknown fields, mistakes as typed errors with their place."""

from __future__ import annotations

import re
import typing
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from timewell.define.names import NAME, check_name, check_source_name, check_version
from timewell.errors import DefinitionError, MissingField, TimewellError, UnknownField, did_you_mean
from timewell.types import format_duration, format_instant, parse_duration, parse_instant


def _instant(value: object) -> int:
    return parse_instant(value)


Name = Annotated[str, AfterValidator(check_name)]
SourceName = Annotated[str, AfterValidator(check_source_name)]
Version = Annotated[str, AfterValidator(check_version)]
_JSON = "json"
DurationUs = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
]
InstantUs = Annotated[
    int,
    BeforeValidator(_instant),
    PlainSerializer(format_instant, return_type=str),
]


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
    from pydantic_core import ErrorDetails
else:
    ModelMetaclass = type(BaseModel)

Made = TypeVar("Made")


class _Checked(ModelMetaclass):
    """Turn pydantic's errors into ours where a person constructs a definition.

    It also tells type checkers to leave the arguments alone: ``ttl="14d"`` is right although the field is an int.
    """

    def __call__(cls: type[Made], *args: object, **fields: object) -> Made:  # noqa: N805  # a metaclass
        if args:
            problem = f"{cls.__name__} takes keyword arguments only"
            raise DefinitionError(problem=problem, hint=f"Write {cls.__name__}(name=..., ...).")
        try:
            return cast("Made", super().__call__(**fields))  # type: ignore[misc]  # the metaclass' own call
        except ValidationError as error:
            raise from_pydantic(error, cast("type[BaseModel]", cls)) from None


class Definition(BaseModel, metaclass=_Checked):
    """Base of every definition: inert data, equal by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False, strict=False)

    @classmethod
    def read(cls, fields: object, *, where: str = "") -> Self:
        """Make a definition from plain data (a parsed YAML mapping, a dict).

        Raises
        ------
        DefinitionError
            With the place (``where`` and the path below it) and a near name where one exists.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            problem = from_pydantic(error, cls, top="" if where else cls.__name__)
            raise (problem.located(where) if where else problem) from None

    def dump(self) -> dict[str, Any]:
        """Return plain JSON-able data that :meth:`read` turns back into an equal definition."""
        return self.model_dump(mode="json", exclude_unset=True)


def from_pydantic(error: ValidationError, model: type[BaseModel], *, top: str | None = None) -> TimewellError:
    """Return our error for the first thing pydantic found wrong; ``top`` names the definition's own level."""
    name = model.__name__ if top is None else top
    found = error.errors(include_url=False)
    first = next((problem for problem in found if problem["type"] == "extra_forbidden"), found[0])
    return _ours(first, model, name)


def every_problem(error: ValidationError, model: type[BaseModel]) -> list[TimewellError]:
    """Return our errors for everything pydantic found wrong; a misspelled field is not also called missing."""
    found = error.errors(include_url=False)
    strange = {
        problem["loc"][:-1]: str(problem["loc"][-1]) for problem in found if problem["type"] == "extra_forbidden"
    }
    told = [
        _ours(problem, model, "")
        for problem in found
        if problem["type"] != "missing"
        or not did_you_mean(strange.get(problem["loc"][:-1], ""), [str(problem["loc"][-1])])
    ]
    return list({str(problem): problem for problem in told}.values())


def _ours(first: ErrorDetails, model: type[BaseModel], name: str) -> TimewellError:
    path = [part for part in first["loc"] if not _is_tag(part)]
    where = _written(path[:-1])
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, TimewellError):
        return cause.located(_written(path)) if path else cause
    if first["type"] == "extra_forbidden":
        known = sorted(_model_at(model, path[:-1]).model_fields)
        return UnknownField(asked=str(path[-1]), known=known, where=where or name)
    if first["type"] == "missing":
        return MissingField(field=str(path[-1]), where=where or name)
    problem = first["msg"].rstrip(".")
    if first["type"] in {"literal_error", "union_tag_invalid"}:
        expected = str(first["ctx"].get("expected") or first["ctx"].get("expected_tags"))
        asked = str(first["ctx"].get("tag") or first["input"])
        known = re.findall(r"'(\w+)'", expected)
        return DefinitionError(
            problem=f"{asked!r} is none of {', '.join(known)}.", where=_written(path), asked=asked, known=known
        )
    if not isinstance(first["input"], (dict, BaseModel)):
        problem += f" (found {first['input']!r})"
    return DefinitionError(problem=f"{problem}.", where=_written(path) or name)


def _is_tag(part: object) -> bool:
    """Pydantic puts the name of the union's branch into the path; a person did not write it."""
    return isinstance(part, str) and (part.startswith(("function-", "tagged-")) or not NAME.fullmatch(part.lower()))


def _written(path: Sequence[object]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def _model_at(model: type[BaseModel], path: Sequence[object]) -> type[BaseModel]:
    """Walk down the fields' types to the model that a path ends in."""
    for part in path:
        if not isinstance(part, str) or part not in model.model_fields:
            continue
        below = _models_in(model.model_fields[part].annotation)
        if len(below) == 1:
            model = below[0]
    return model


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _models_in(argument)]
