"""The drill of skew: values get into the online store that training does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timewell.catalog.layout import RowLayout
from timewell.practice.card import Check
from timewell.practice.ground import Ground
from timewell.practice.stage import Stage, Wanted

_FEATURE: Final = "balance_pti"
_CENTS: Final = 100
_USERS: Final = tuple({"user_id": user} for user in range(100))


def skew(stage: Stage) -> Iterator[Check]:
    """Let another program write balances in cents into the online store, after each refresh."""
    ground = stage.ground
    ground.configure("[serving]\nsample_rate = 1.0\n")
    ground.reopen()

    def as_usual() -> None:
        stage.usual()
        _ask(ground)

    yield from stage.calm(as_usual)
    before = _ask(ground)

    def goes_on() -> None:
        stage.usual()
        _write_cents(ground)
        _ask(ground)

    wanted = Wanted(key="balances@v1:skew", kind="breach", cause="VALUES", within=1)
    told = yield from stage.fires(wanted, goes_on)
    if told is None:
        return
    report = ground.fs.skew(_FEATURE, window="30m")
    yield Check(
        what="the report names distance, pairs and cause",
        passed=report.skewed and report.cause == "values" and report.mismatched > 0 and bool(report.examples),
        found=f"{report.mismatched:.0%} of the pairs differ, likely cause {report.cause}",
    )
    yield Check(
        what="whoever asks gets an answer all the while; it is in cents",
        passed=[_in_cents(value) for value in before] == _ask(ground),
    )

    def other_program_ends() -> None:
        """Nothing has to be done: it is not called any more."""

    mitigate = ["timewell materialize online balances"]
    yield from stage.walks(told, mend=other_program_ends, mitigate=mitigate, goes_on=as_usual)
    yield Check(what="what is served is what it was", passed=_ask(ground) == before)


def _ask(ground: Ground) -> list[object]:
    """Ask for the balances of some users as a server does; the samples of it are written at once."""
    answer = ground.fs.get_online_features([_FEATURE], _USERS)
    ground.reopen()
    return [row[0] for row in answer.rows]


def _in_cents(value: object) -> object:
    return value * _CENTS if isinstance(value, int | float) else value


def _write_cents(ground: Ground) -> None:
    """Write every balance a hundredfold into the live build, past Timewell."""
    project, group = ground.fs.project, ground.fs.catalog().live("balances")
    epochs = project.registry.epoch_map()
    build, layout = epochs.builds[group.key], RowLayout.of(group, epochs.layouts[group.key])
    place, mark = layout.codec.names.index(_FEATURE), project.online.mark(build)
    rows = []
    for key, packed in project.online.scan(build):
        row = layout.codec.decode(packed)
        row[place] = _in_cents(row[place])
        values = len(layout.codec.names)
        times_us = [one if isinstance(one, int) else None for one in row[values:]]
        rows.append((key, layout.codec.encode(row[:values], times_us)))
    if mark is not None:
        project.online.refresh(build, rows, (), mark)
