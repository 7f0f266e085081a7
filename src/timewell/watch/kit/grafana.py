"""A dashboard for Grafana, as the JSON that it imports.

Rule: it is the classic model without plug-ins: each panel is one that every Grafana has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from timewell.watch.kit.panels import Panel, panels
from timewell.watch.kit.prometheus import Watched

SCHEMA: Final = 39
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS, _HEIGHT, _STAT_HEIGHT = 24, 8, 4
_COLORS: Final = ("green", "orange", "red")


def dashboard(watched: Watched) -> dict[str, Any]:
    """Return the dashboard of a project."""
    project = watched.book.project
    return {
        "uid": f"timewell-{project}"[:40],  # the most that Grafana takes
        "title": f"Timewell: {project}",
        "tags": ["timewell"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "1m",
        "timezone": "utc",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables(watched)},
        "panels": _placed(panels(watched)),
    }


def _variables(watched: Watched) -> list[dict[str, Any]]:
    groups = 'label_values(timewell_build_as_of_timestamp_seconds{job=~"$job"}, group)'
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"},
        {**_asked("job", "label_values(timewell_info, job)"), "current": {"text": watched.job, "value": watched.job}},
        {**_asked("group", groups), "current": {"text": "All", "value": "$__all"}},
    ]


def _asked(name: str, query: str) -> dict[str, Any]:
    return {
        "type": "query",
        "name": name,
        "label": name.capitalize(),
        "datasource": _SOURCE,
        "query": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
    }


def _placed(wanted: Iterable[Panel]) -> list[dict[str, Any]]:
    """Lay panels out in rows, from left to right."""
    placed: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(wanted, 1):
        if x + panel.width > _COLUMNS:
            x, y = 0, y + height
        height = _STAT_HEIGHT if panel.kind == "stat" else _HEIGHT
        placed.append({"id": number, "gridPos": {"x": x, "y": y, "w": panel.width, "h": height}, **_panel(panel)})
        x += panel.width
    return placed


def _panel(panel: Panel) -> dict[str, Any]:
    steps = [{"color": color, "value": value} for color, value in zip(_COLORS, (None, *panel.limits), strict=False)]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.limits and panel.kind == "timeseries":
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    table = panel.kind == "table"
    return {
        "type": panel.kind,
        "title": panel.title,
        **({"description": panel.text} if panel.text else {}),
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": expr,
                **({"legendFormat": legend} if legend and not table else {}),
                **({"instant": True, "format": "table"} if table else {}),
            }
            for place, (legend, expr) in enumerate(panel.queries)
        ],
    }
