"""The sign of life of whoever refreshes: the newest of all refreshers counts, and nobody is missed who never promised one."""

from __future__ import annotations

from timewell.stores.project import Project
from timewell.watch.measures import heartbeat_signal
from timewell.watch.signal import Signal, Subject


def heartbeats(project: Project) -> list[Signal]:
    """Return the signal of the refresher that lives longest by what it promised; none where none promised anything.

    One that was stopped is missed like one that died: values go stale all the same. ``timewell refresher --forget`` ends that.
    """
    promised = [beat for beat in project.registry.refresher.beats() if beat.allowed_us]
    if not promised:
        return []
    best = max(promised, key=lambda beat: beat.beat_us + beat.allowed_us)
    subject = Subject(project=project.config.project)
    return [heartbeat_signal(subject, best.beat_us, allowed_us=best.allowed_us, at_us=project.clock.now_us())]
