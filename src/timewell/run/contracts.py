"""Contracts as files: what each feature promises now, written for whoever reads it, and held against what is registered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from timewell import durable
from timewell.catalog.lookup import RegisteredGroup, load_catalog
from timewell.define.base import Name, Version
from timewell.define.compiled import CompiledFeature
from timewell.define.contract import Contract, taken_back
from timewell.errors import UnknownFeature, UsageError
from timewell.stores.project import Project

ENDINGS = (".yaml", ".yml")


class FeatureContract(Contract):
    """What one feature of one version promises: its contract, with the type that its values have.

    Parameters
    ----------
    feature, version
        Whose it is.
    """

    feature: Name
    version: Version

    def written(self) -> dict[str, Any]:
        """Return it as a file has it: what it says, the feature first."""
        said = {name: value for name, value in self.model_dump(mode="json").items() if value is not None}
        first = ("feature", "version", "dtype", "nullable")
        return {name: said[name] for name in (*first, *(name for name in said if name not in first))}

    def to_yaml(self) -> str:
        """Return it as a YAML document."""
        return yaml.safe_dump(self.written(), sort_keys=False, allow_unicode=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedContract:
    """A contract from a file, held against what is registered.

    Attributes
    ----------
    broken
        What the file promises or allows and the registered one does not.
    changed
        Fields that differ and break nobody.
    """

    file: str
    feature: str
    broken: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def contracts(project: Project, features: str | Iterable[str] | None = None) -> list[FeatureContract]:
    """Return what features promise, all live ones by default; of one without a contract its type."""
    return [
        contract_of(group, feature)
        for group, chosen in load_catalog(project).select_every(features)
        for feature in chosen
    ]


def contract_of(group: RegisteredGroup, feature: CompiledFeature) -> FeatureContract:
    """Return what one registered feature promises."""
    said = {} if feature.contract is None else feature.contract.model_dump(exclude_unset=True)
    dtype = group.dtypes[feature.name]
    return FeatureContract(**{**said, "dtype": dtype}, feature=feature.name, version=group.compiled.version)


def export_contracts(project: Project, to: Path, features: str | Iterable[str] | None = None) -> list[Path]:
    """Write one YAML file for each feature into a folder, which is made; files of the same name are replaced."""
    to.mkdir(parents=True, exist_ok=True)
    written = []
    for contract in contracts(project, features):
        file = to / f"{contract.feature}.yaml"
        durable.write_bytes(file, contract.to_yaml().encode())
        written.append(file)
    return written


def check_contracts(project: Project, paths: Sequence[Path]) -> list[ComparedContract]:
    """Hold contract files, or all of a folder, against the live versions of their features.

    Raises
    ------
    UsageError
        There is no such file, or it is none.
    """
    files = [file for path in paths for file in _files(path)]
    catalog = load_catalog(project)
    found = []
    for file in files:
        kept = read_contract(file)
        try:
            resolved = catalog.resolve(kept.feature)
        except UnknownFeature as gone:
            found.append(ComparedContract(file=str(file), feature=kept.feature, broken=(str(gone).rstrip("."),)))
            continue
        now = contract_of(resolved.group, resolved.feature)
        broken = taken_back(kept, now)
        before, after = kept.written(), now.written()
        changed = sorted({name for name in {*before, *after} if before.get(name) != after.get(name)})
        told = [f"{name}: {before.get(name, 'not said')} -> {after.get(name, 'not said')}" for name in changed]
        found.append(ComparedContract(file=str(file), feature=kept.feature, broken=tuple(broken), changed=tuple(told)))
    return found


def read_contract(file: Path) -> FeatureContract:
    """Read a contract file; raises ``DefinitionError`` with its place where it is none."""
    try:
        said = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise UsageError(problem=f"{file} cannot be read as a contract: {problem}", hint=_HINT) from None
    return FeatureContract.read(said, where=str(file))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix in ENDINGS)
    if not found:
        raise UsageError(problem=f"{path} holds no contract", hint=_HINT)
    return found


_HINT = "`timewell contract export --to contracts` writes one file for each feature."
