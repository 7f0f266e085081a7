"""The operations kit as files, and how they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from timewell.stores.project import Project
from timewell.watch.kit.alertmanager import routes
from timewell.watch.kit.grafana import dashboard
from timewell.watch.kit.prometheus import Watched, rule_file
from timewell.watch.runbook_cases import open_book

MADE: Final = "# Made by `timewell monitoring`: change the definitions, and make it again."
RULES_FILE: Final = "timewell-rules.yml"
ROUTES_FILE: Final = "timewell-alertmanager.yml"
DASHBOARD_FILE: Final = "timewell-dashboard.json"


def kit(project: Project, *, job: str = "timewell") -> dict[str, str]:
    """Return the files of a project's kit by name.

    Parameters
    ----------
    job
        The ``job_name`` under which Prometheus scrapes the project's servers.
    """
    watched = Watched(book=open_book(project), config=project.config, job=job)
    rules = rule_file(watched)
    return {
        RULES_FILE: _yaml(rules),
        ROUTES_FILE: _yaml(routes(watched, rules)),
        DASHBOARD_FILE: json.dumps(dashboard(watched), indent=2) + "\n",
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, _: Any) -> bool:  # noqa: ANN401  # what the base class says
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _yaml(document: Mapping[str, Any]) -> str:
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)
    return f"{MADE}\n{text}"
