"""The reader as it would be if it noted nothing of a request: its own lines but those. As a program it is ``timewell``.

python serve_unnoted.py serve --port 8000
"""

from __future__ import annotations

import sys
from time import perf_counter_ns

from timewell.cli import main
from timewell.serve import reader
from timewell.serve.lone import lone_answer, lone_key
from timewell.serve.reader import Ask, Reader
from timewell.serve.response import OnlineFeatures
from timewell.stores.online import ReadKeys


def get(self: Reader, ask: Ask) -> OnlineFeatures:
    """Answer as ``Reader.get`` does; no clock is read for the account, nothing is counted and nobody sampled."""
    now_us = self._clock_us()
    prepared, entities = self._prepare(reader._asked(ask), ask.service, perf_counter_ns()).prepared, ask.entities  # noqa: SLF001
    lone = key = None
    if ask.max_staleness_us is None and type(entities) is list and len(entities) == 1:
        lone = prepared.lone
        key = None if lone is None else lone_key(lone, entities)
    if lone is not None and key is not None:
        keys, wanted = [[key]], [ReadKeys(lone.build, [key])]
    else:
        keys, wanted = reader._keys(prepared, entities)  # noqa: SLF001
    found = self._reads.read(wanted) if prepared.stored else self._read(prepared, wanted, now_us)
    answer = lone_answer(prepared, lone, found, now_us) if lone is not None and key is not None else None
    if answer is None:
        answer = self._answer(ask, prepared, keys, found, now_us)
    return answer


def forget_notes() -> None:
    """Let every reader of this process note nothing."""
    Reader.get = get  # type: ignore[method-assign]


if __name__ == "__main__":
    forget_notes()
    sys.exit(main())
