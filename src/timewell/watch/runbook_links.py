"""Where the runbook of an alert is: a page, or a command."""

from __future__ import annotations

import shlex
from typing import Final

from timewell.watch.alerts import Key, key_text
from timewell.watch.rules import SOURCE_LATE, rule_named

PAGE: Final = "{page}"
OPERATOR_PAGE: Final = "operator"


def runbook_link(where: str, key: Key) -> str:
    """Return what a message says about an alert's runbook.

    Parameters
    ----------
    where
        ``[alerts] runbooks``: an address in which ``{page}`` stands for the page of the alert's group or source, or the
        address of one page for all; empty where the pages are nowhere.

    Examples
    --------
    >>> key = ("shop", "spend", "v1", "freshness")
    >>> runbook_link("", key)
    'timewell runbook spend@v1:freshness'
    >>> runbook_link("https://wiki/runbooks/{page}.html", key)
    'https://wiki/runbooks/group-spend.html#freshness'
    >>> runbook_link("https://wiki/runbooks", key)
    'https://wiki/runbooks#freshness'
    """
    if not where:
        return f"timewell runbook {shlex.quote(key_text(key))}"
    return f"{where.replace(PAGE, page_of(key))}#{rule_named(key[3]).runbook}"


def page_of(key: Key) -> str:
    """Return the name of the page that an alert's runbook is on, without its ending.

    Examples
    --------
    >>> page_of(("shop", "warehouse.orders", "", "source_late")), page_of(("shop", "", "", "heartbeat"))
    ('source-warehouse.orders', 'operator')
    """
    _, group, _, rule = key
    if rule == SOURCE_LATE:
        return f"source-{group}"
    return f"group-{group}" if group else OPERATOR_PAGE
