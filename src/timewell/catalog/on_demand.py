"""What registering an on-demand feature finds out: its function, where each input comes from, and that their types fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from timewell.catalog.evaluate import widens
from timewell.catalog.lookup import Catalog, RegisteredGroup, Resolved
from timewell.define.compiled import CompiledFeature, CompiledGroup
from timewell.define.feature import FeatureGroup
from timewell.define.on_demand import REQUEST, Input
from timewell.define.transform import NOW
from timewell.errors import DefinitionError, TransformChanged, WrongColumnType


def with_transforms(group: FeatureGroup, catalog: Catalog) -> FeatureGroup:
    """Return a group with everything that its transforms' functions say filled in.

    Raises
    ------
    TransformUnavailable, DefinitionError
        A function is not there; an input is none of its parameters.
    TransformChanged
        A transform is registered under this name and version with other source.
    """
    if not any(feature.transform for feature in group.features):
        return group
    features = []
    for feature in group.features:
        if feature.transform is None:
            features.append(feature)
            continue
        use = catalog.code.settle(feature.transform)
        for name in feature.inputs:
            if name not in use.parameters:
                problem = f"transform {use.name!r} has no input {name!r}."
                raise DefinitionError(problem=problem, where=feature.name, asked=name, known=list(use.parameters))
        features.append(feature.model_copy(update={"transform": use}))
    settled = group.model_copy(update={"features": tuple(features)})
    _refuse_changed(settled, catalog)
    return settled


def _refuse_changed(group: FeatureGroup, catalog: Catalog) -> None:
    """Refuse a transform whose source differs from what is registered under its name and version, whatever uses it."""
    registered = {
        (str(used.name), str(used.version)): str(used.hash)
        for known in catalog.groups.values()
        for feature in known.compiled.on_demand
        if (used := feature.transform)
    }
    for feature in group.features:
        if (used := feature.transform) is None:
            continue
        name, version, found = str(used.name), str(used.version), str(used.hash)
        if registered.setdefault((name, version), found) != found:
            old = registered[name, version]
            raise TransformChanged(name=name, version=version, old=old, new=found, where=feature.name)


def inputs_of(compiled: CompiledGroup, dtypes: Mapping[str, str], catalog: Catalog) -> dict[str, tuple[Input, ...]]:
    """Return where the inputs of each on-demand feature come from, bare names pinned to what is live now.

    A group registered before under the same version, with the same content, keeps its pins.
    """
    known = catalog.groups.get((compiled.name, compiled.version))
    if known is not None and known.compiled.content_hash == compiled.content_hash:
        return dict(known.inputs)
    return {feature.name: _inputs(feature, compiled, dtypes, catalog) for feature in compiled.on_demand}


def texts_of(compiled: CompiledGroup, catalog: Catalog) -> dict[str, str]:
    """Return the source of each on-demand feature's transform, as it was written."""
    return {
        feature.name: catalog.code.load(feature.transform, feature=feature.name).text
        for feature in compiled.on_demand
        if feature.transform
    }


def _inputs(
    feature: CompiledFeature, compiled: CompiledGroup, dtypes: Mapping[str, str], catalog: Catalog
) -> tuple[Input, ...]:
    use = feature.transform
    parameters = use.parameters if use else {}
    return tuple(
        _input(feature, parameter, dtype, compiled, dtypes, catalog) for parameter, dtype in parameters.items()
    )


def _input(  # the parts of one input's definition
    feature: CompiledFeature,
    parameter: str,
    dtype: str,
    compiled: CompiledGroup,
    dtypes: Mapping[str, str],
    catalog: Catalog,
) -> Input:
    written = feature.inputs.get(parameter, parameter)
    if written == NOW:
        if dtype != "timestamp":
            problem = f"`now` is an instant, and parameter {parameter!r} is a {dtype}."
            raise DefinitionError(problem=problem, where=feature.name, hint="Annotate it as datetime.")
        return Input(parameter=parameter, dtype=dtype, kind="now", reference=NOW)
    if written.startswith(REQUEST):
        return Input(parameter=parameter, dtype=dtype, kind="request", reference=written.removeprefix(REQUEST))
    own = {f"{prefix}{one.name}{suffix}" for one in compiled.features
           for prefix in ("", f"{compiled.name}:") for suffix in ("", f"@{compiled.version}")}  # fmt: skip
    if written in own:
        name = written.rpartition(":")[2].partition("@")[0]
        _refuse_type(feature, parameter, dtype, f"feature {name!r}", dtypes[name])
        return Input(parameter=parameter, dtype=dtype, kind="feature", reference=f"{compiled.name}:{name}")
    if ":" not in written and "@" not in written and written not in catalog.feature_names():
        return Input(parameter=parameter, dtype=dtype, kind="request", reference=written)
    found = catalog.resolve(written)
    if found.feature.transform is not None or found.group.compiled.name == compiled.name:
        problem = f"input {parameter!r}: {written!r} is computed on demand, too."
        if found.feature.transform is None:
            problem = f"input {parameter!r}: {written!r} is not in this version of the group."
        raise DefinitionError(
            problem=problem, where=feature.name, hint="Name stored features; a function may call another."
        )
    _refuse_type(feature, parameter, dtype, f"feature {written!r}", found.group.dtypes[found.feature.name])
    pinned = f"{found.group.compiled.name}:{found.feature.name}@{found.group.compiled.version}"
    return Input(parameter=parameter, dtype=dtype, kind="feature", reference=pinned)


def _refuse_type(feature: CompiledFeature, parameter: str, dtype: str, table: str, found: str) -> None:
    if found != dtype and not widens(found, dtype):
        wanted = f"{dtype}, the type of the transform's {parameter!r}"
        raise WrongColumnType(table=table, column=parameter, found=found, wanted=wanted, where=feature.name)


def stored_parts(catalog: Catalog, resolved: Resolved) -> list[Resolved]:
    """Return the stored features behind one: itself, or the inputs of one that is computed on demand."""
    if resolved.feature.transform is None:
        return [resolved]
    inputs = pinned_inputs(resolved.group, resolved.feature)
    return [catalog.resolve(each.reference) for each in inputs if each.kind == "feature"]


def pinned_groups(catalog: Catalog) -> dict[tuple[str, str], list[str]]:
    """Return the versions that live on-demand features take inputs from, each with those features."""
    found: dict[tuple[str, str], list[str]] = {}
    for group in catalog.every_live_group():
        for feature in group.compiled.on_demand:
            for needed in stored_parts(catalog, Resolved(reference="", column="", group=group, feature=feature)):
                found.setdefault(needed.group.key, []).append(feature.name)
    return found


def users_on_demand(catalog: Catalog, group: RegisteredGroup, feature: str) -> list[tuple[RegisteredGroup, str]]:
    """Return the live on-demand features that take one stored feature of a version as an input."""
    pin = f"{group.compiled.name}:{feature}@{group.compiled.version}"
    return [
        (user, one.name)
        for user in catalog.every_live_group()
        for one in user.compiled.on_demand
        if pin in {each.reference for each in pinned_inputs(user, one)}
    ]


def pinned_inputs(group: RegisteredGroup, feature: CompiledFeature) -> tuple[Input, ...]:
    """Return the inputs of one on-demand feature, those of its own group pinned to its own version."""
    version = group.compiled.version
    return tuple(
        replace(each, reference=f"{each.reference}@{version}")
        if each.kind == "feature" and "@" not in each.reference
        else each
        for each in group.inputs.get(feature.name, ())
    )
