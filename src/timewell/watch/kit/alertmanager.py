"""Routes for Alertmanager: each owner gets what is his, pages and tickets apart, and what repeats is said once.

Rule: receivers are named and empty. Where they lead is a secret that this project does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from timewell.types import format_duration, parse_duration
from timewell.watch.kit.prometheus import Watched

SEVERITIES: Final = ("page", "ticket")
NOBODY: Final = "nobody"


def routes(watched: Watched, rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with a route for each owner among the labels of some rules."""
    project = watched.book.project
    owners = sorted({owner for labels in _labels(rules) for owner in labels.get("owner", "").split(", ") if owner})
    operator = watched.config.alerts.operator or NOBODY
    names = [(owner, severity) for owner in owners for severity in SEVERITIES]
    repeat = format_duration(parse_duration(watched.config.alerts.repeat))
    return {
        "route": {
            "receiver": receiver(project, operator, "ticket"),
            "group_by": ["project", "rule", "group", "source"],
            "group_wait": "30s",
            "group_interval": "5m",
            "repeat_interval": repeat,
            "routes": [
                {
                    "receiver": receiver(project, owner, severity),
                    "matchers": [
                        f"project={json.dumps(project, ensure_ascii=False)}",
                        f'severity="{severity}"',
                        f"owner=~{json.dumps(_among(owner), ensure_ascii=False)}",
                    ],
                    # a late source is told once to each owner, with all of his that wait for it
                    "group_by": ["project", "rule", "source"],
                    "continue": True,
                }
                for owner, severity in names
            ],
        },
        "inhibit_rules": [
            {
                "source_matchers": ['severity="page"'],
                "target_matchers": ['severity="ticket"'],
                "equal": ["project", "rule", "group", "version"],
            },
            {
                "source_matchers": ['alertname="TimewellSourceLate"'],
                "target_matchers": ['alertname="TimewellFeaturesAging"'],
                "equal": ["project", "group", "version"],
            },
        ],
        "receivers": [
            {"name": name}
            for name in dict.fromkeys(
                (receiver(project, operator, "ticket"), *(receiver(project, *named) for named in names))
            )
        ],
    }


def receiver(project: str, owner: str, severity: str) -> str:
    """Return the name of a receiver.

    Examples
    --------
    >>> receiver("shop", "risk@company", "page")
    'shop: risk@company: page'
    """
    return f"{project}: {owner}: {severity}"


def _among(owner: str) -> str:
    """Return a regular expression for a list of owners with this one in it."""
    return f"(.*, )?{re.escape(owner)}(, .*)?"


def _labels(rules: Mapping[str, Any]) -> Iterable[Mapping[str, str]]:
    return (rule["labels"] for group in rules["groups"] for rule in group["rules"])
