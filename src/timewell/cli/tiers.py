"""The verb that tells where the values of features lie and what they take there."""

from typing import TYPE_CHECKING

from timewell.cli.screen import Screen, shown
from timewell.cli.verb import Answer, Session, verb

if TYPE_CHECKING:
    from timewell.run.tiers import TierRow


@verb
def tiers(session: Session) -> Answer:
    """Show where each feature is read online, and its bytes in memory, in the online store and offline.

    Example: timewell tiers
    """
    from timewell.build.size import show_bytes
    from timewell.run.tiers import tiers as report_tiers

    report = report_tiers(session.store.project)
    totals = report.totals()

    def show(screen: Screen) -> None:
        rows = [
            (row.name, f"{row.group}@{row.version}", row.tier, row.read_from, *map(size, _bytes(row)))
            for row in report.features
        ]
        screen.table(("feature", "group", "tier", "read from", "memory", "store", "offline"), rows)
        for tier, found in totals.items():
            places = [f"{show_bytes(found[f'{place}_bytes'])} {place}" for place in ("memory", "store", "offline")]
            screen.line(f"{tier}: {shown(found['features'])} features, {', '.join(places)}")
        for ref in report.too_large:
            limit = show_bytes(report.hot_limit_bytes)
            screen.line(f"hint: {ref} is hot and larger than what is left of [serving] hot_bytes ({limit})")

    def size(number: int) -> str | None:
        return show_bytes(number) if number else None

    document = {
        "features": report.features,
        "tiers": totals,
        "hot_limit_bytes": report.hot_limit_bytes,
        "too_large": list(report.too_large),
    }
    return Answer(document=document, show=show)


def _bytes(row: "TierRow") -> tuple[int, int, int]:
    return row.memory_bytes, row.store_bytes, row.offline_bytes
