"""Errors about alerts: naming one, keeping quiet about it, and telling people."""

from __future__ import annotations

from timewell.errors.base import TimewellError, UsageError


class UnknownAlert(UsageError):
    """No alert, and nothing that could have one, is called so."""

    code = "unknown_alert"
    template = "No alert has the key {asked!r}"
    fix = "List them with their keys: `timewell alerts --all`."


class UnknownRunbook(UsageError):
    """No alert, group, feature or rule is called so, so there is nothing to do about it."""

    code = "unknown_runbook"
    template = "There is no runbook for {asked!r}"
    fix = "Name an alert by its key, or a feature or group; `timewell runbook --all` prints what there is."


class NothingToAcknowledge(UsageError):
    """An alert that says that all is well cannot be acknowledged."""

    code = "nothing_to_acknowledge"
    template = "{key} is {status}: there is nothing to acknowledge."
    fix = "To keep it quiet beforehand: `timewell alerts silence {key} --for 2h --reason ... --by ...`."


class UnknownNotifier(UsageError):
    """No notifier is called so."""

    code = "unknown_notifier"
    template = "timewell.toml has no notifier called {asked!r}"
    fix = "Name one of its [[notify]] tables, or none to try all."


class DeliveryFailed(TimewellError):
    """A receiver did not take a message; it is kept and tried again."""

    code = "delivery_failed"
    template = "{receiver} did not take the message: {problem}."
    fix = "It is kept and tried again; `timewell notify test` tries at once."


class DeliveryRefused(DeliveryFailed):
    """A receiver said that it will not take a message, so trying again helps only once its settings are mended."""

    code = "delivery_refused"
    template = "{receiver} refused the message: {problem}."
    fix = "Correct its [[notify]] table in timewell.toml, then `timewell notify test`."


class AddressRefused(DeliveryRefused):
    """An address that a webhook leads to is not one of the public network, and not allowed in timewell.toml."""

    code = "address_refused"
    template = "{receiver} was not called: {problem}."
    fix = 'If it is meant, allow it under its [[notify]]: allow = ["{address}"].'
