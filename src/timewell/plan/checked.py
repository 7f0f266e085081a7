"""Check every definition of a folder as registering would, and keep on after a mistake.

Rule: the checks are those of :mod:`timewell.catalog.prepare`; nothing is decided here a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from timewell.catalog.lookup import Catalog, RegisteredGroup
from timewell.catalog.prepare import PreparedGroup, check_source, prepare_group, with_group
from timewell.define.feature import FeatureGroup
from timewell.define.load import Loaded
from timewell.define.source import Source
from timewell.errors import ContractConflict, MissingOwner, TimewellError, VersionConflict
from timewell.stores.offline import EngineSession


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedGroup:
    """One group of the folder.

    Attributes
    ----------
    prepared
        As it would be registered, under the next version where its own is taken; ``None`` where it cannot be.
    conflict
        Its version is registered with another meaning.
    """

    where: str
    definition: FeatureGroup
    prepared: PreparedGroup | None
    conflict: VersionConflict | None


@dataclass(slots=True, kw_only=True)
class Checked:
    """A whole folder, checked."""

    groups: list[CheckedGroup] = field(default_factory=list)
    problems: list[TimewellError] = field(default_factory=list)
    catalog: Catalog


def check_folder(loaded: Loaded, catalog: Catalog, session: EngineSession, *, require_owner: bool) -> Checked:
    """Check sources, then groups; each group sees those before it.

    Parameters
    ----------
    catalog
        What is registered, with the sources and entities of the folder laid over it.
    """
    found = Checked(catalog=catalog)
    told: set[str] = set()
    for where, source in loaded.sources:
        if problem := _failure(lambda source=source: check_source(source, session)):  # type: ignore[misc]
            found.problems.append(problem.located(where) if where else problem)
            told.add(str(problem))
    for where, group in loaded.groups:
        found.groups.append(_check_group(where, group, found, session, told, require_owner=require_owner))
    return found


def _failure(work: Callable[[], object]) -> TimewellError | None:
    try:
        work()
    except TimewellError as problem:
        return problem
    return None


def _check_group(
    where: str, group: FeatureGroup, found: Checked, session: EngineSession, told: set[str], *, require_owner: bool
) -> CheckedGroup:
    """Check one group; mistakes that hide others (owner, version, promise) are noted and set aside."""
    problems: list[TimewellError] = []
    conflict: VersionConflict | None = None
    prepared: PreparedGroup | None = None
    bump = accept = False
    for _ in range(4):
        try:
            prepared = prepare_group(
                group, found.catalog, session, require_owner=require_owner, bump=bump, accept=accept
            )
            break
        except MissingOwner:
            problems += [MissingOwner(name=name) for name in _ownerless(group)]
            require_owner = False
        except VersionConflict as error:
            conflict, bump = error, True
        except ContractConflict as error:
            problems.append(error)
            accept = True
        except TimewellError as error:
            problems += _every_feature(group, found.catalog, session) or [error]
            break
    found.problems += [problem.located(where) if where else problem for problem in problems if str(problem) not in told]
    if prepared is not None:
        found.catalog = with_group(found.catalog, prepared.registered)
    return CheckedGroup(where=where, definition=group, prepared=prepared, conflict=conflict)


def _ownerless(group: FeatureGroup) -> list[str]:
    return [feature.name for feature in group.features if not (feature.owner or group.owner)]


def _every_feature(group: FeatureGroup, catalog: Catalog, session: EngineSession) -> list[TimewellError]:
    """Return what is wrong with each feature alone: a check of the whole group ends at the first of them."""
    found: dict[str, TimewellError] = {}
    for feature in group.features:
        alone = group.model_copy(update={"features": (feature,)})
        problem = _failure(
            lambda alone=alone: prepare_group(alone, catalog, session, require_owner=False, bump=True)  # type: ignore[misc]
        )
        if problem is not None:
            found.setdefault(str(problem), problem)
    return list(found.values())


def laid_over(catalog: Catalog, loaded: Loaded, sources: list[tuple[str, Source]]) -> Catalog:
    """Return the catalog with the sources and entities of a folder over those that are registered."""
    return replace(
        catalog,
        sources={**catalog.sources, **{source.name: source for _, source in sources}},
        entities={**catalog.entities, **{entity.name: entity for _, entity in loaded.entities}},
    )


def is_new(registered: RegisteredGroup, catalog: Catalog) -> bool:
    """Whether registering a group would write anything."""
    known = catalog.groups.get(registered.key)
    return known is None or known.definition.dump() != registered.definition.dump()
