"""OpenTelemetry spans: none unless asked for, one a request, below the caller's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import timewell as tw
from timewell.errors import MissingExtra
from timewell.serve.spans import Spans, open_spans
from timewell.stores.project import Project

GROUPS = ("transactions@v1", "profile@v2")


def opened(path: Path, settings: str) -> Project:
    tw.FeatureStore.init(path).close()
    with (path / "timewell.toml").open("a") as file:
        file.write(f"\n[serving]\n{settings}\n")
    return Project(path)


def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    assert open_spans(opened(tmp_path / "shop", "")) is None
    assert open_spans(opened(tmp_path / "other", "spans = true")) is not None


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(MissingExtra, match=r"\[serving\] spans needs the package 'opentelemetry'") as refused:
        open_spans(opened(tmp_path / "shop", "spans = true"))
    assert refused.value.hint == "pip install 'timewell[otel]'"


def test_a_request_is_one_span_below_its_callers_with_its_own_times() -> None:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("test")
    spans = Spans(tracer)
    with tracer.start_as_current_span("caller") as caller:
        spans.add(GROUPS, "fraud", 21_000, entities=3, degraded=False, error="")
    spans.add(GROUPS[:1], None, 50_000_000, entities=1, degraded=True, error="store_unavailable")

    good, _, failed = kept.get_finished_spans()
    assert good.parent.span_id == caller.get_span_context().span_id
    assert good.end_time - good.start_time == 21_000
    assert dict(good.attributes) == {
        "timewell.groups": GROUPS,
        "timewell.service": "fraud",
        "timewell.entities": 3,
        "timewell.degraded": False,
    }
    assert failed.parent is None
    assert (failed.status.status_code, failed.attributes["error.type"]) == (StatusCode.ERROR, "store_unavailable")
