"""Each kind of notifier sends what it is given, and says whether another try may help."""

from __future__ import annotations

import json
import logging
import sys
from email import message_from_string

import pytest

from tests.watch.conftest import webhook
from tests.watch.receivers import mail_server
from timewell.config.notify import (
    AppriseNotifier,
    CommandNotifier,
    EmailNotifier,
    FileNotifier,
    LogNotifier,
    WebhookNotifier,
)
from timewell.errors import AddressRefused, DeliveryFailed, DeliveryRefused, UnknownNotifier
from timewell.watch.message import Message, one_line
from timewell.watch.notifiers import send, slack
from timewell.watch.routes import route
from timewell.watch.trial import try_notifiers

HOSTILE = "late <!channel> & \x1b[31m\r\nBcc: all@company"


def message(**given) -> Message:
    plain = {
        "id": "abc-1", "kind": "breach", "severity": "page", "key": ("shop", "spend", "v1", "freshness"),
        "status": "breach", "title": "[BREACH] spend@v1: Features are stale", "lines": ("cause: SOURCE_LATE",),
        "owners": ("risk@company",), "at_us": 0,
    }  # fmt: skip
    return Message(**(plain | given))


DOCUMENT = message().document()


def test_the_log_has_the_message_on_one_line(caplog, tmp_path) -> None:
    with caplog.at_level(logging.INFO, logger="timewell.alerts"):
        send(LogNotifier(name="log"), DOCUMENT, root=tmp_path)
        send(LogNotifier(name="log"), message(kind="resolved").document(), root=tmp_path)
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    assert caplog.messages[0] == "[BREACH] spend@v1: Features are stale | cause: SOURCE_LATE"


def test_a_file_gets_one_line_of_json_for_each_message_whatever_was_cut_short_before(tmp_path) -> None:
    notifier = FileNotifier(name="file", path="logs/alerts.jsonl")
    send(notifier, DOCUMENT, root=tmp_path)
    file = tmp_path / "logs" / "alerts.jsonl"
    with file.open("a") as opened:
        opened.write('{"id": "cut sho')
    send(notifier, DOCUMENT, root=tmp_path)
    first, _, last = file.read_text().splitlines()
    assert json.loads(first) == json.loads(last) == DOCUMENT


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path) -> None:
    (tmp_path / "alerts.jsonl").mkdir()
    with pytest.raises(DeliveryFailed) as failed:
        send(FileNotifier(name="file", path="alerts.jsonl"), DOCUMENT, root=tmp_path)
    assert not isinstance(failed.value, DeliveryRefused)


def test_a_plain_webhook_gets_the_whole_message_and_its_key_in_a_header(receiver, tmp_path) -> None:
    notifier = WebhookNotifier(
        name="hook", url=receiver.url, allow=("127.0.0.1",), headers={"Authorization": "Bearer x"}
    )
    send(notifier, DOCUMENT, root=tmp_path)
    assert receiver.got == [("abc-1", DOCUMENT)]
    assert receiver.headers[0]["Authorization"] == "Bearer x"
    assert receiver.paths == ["/hooks/secret-token"]


def test_a_slack_webhook_gets_blocks_that_call_nobody(receiver, tmp_path) -> None:
    hostile = message(title=one_line(HOSTILE)).document()
    send(WebhookNotifier(name="hook", url=receiver.url, format="slack", allow=("127.0.0.0/8",)), hostile, root=tmp_path)
    [(key, body)] = receiver.got
    assert (key, set(body)) == ("abc-1", {"text", "blocks"})
    assert "<!channel>" not in json.dumps(body)
    assert [block["type"] for block in body["blocks"]] == ["section", "section", "context"]
    assert body == slack(hostile)


@pytest.mark.parametrize(
    ("answer", "refused"), [(400, True), (404, True), (302, True), (500, False), (503, False), (429, False), (0, False)]
)
def test_a_webhook_says_whether_another_try_may_help(receiver, tmp_path, answer, refused) -> None:
    receiver.answer = answer
    with pytest.raises(DeliveryFailed) as failed:
        send(WebhookNotifier(name="hook", url=receiver.url, allow=("127.0.0.1",)), DOCUMENT, root=tmp_path)
    assert isinstance(failed.value, DeliveryRefused) == refused
    assert "secret-token" not in f"{failed.value} {failed.value.hint} {failed.value.facts}"


def test_a_webhook_to_this_machine_is_refused_unless_it_is_allowed(receiver, tmp_path) -> None:
    with pytest.raises(AddressRefused, match=r"127\.0\.0\.1, which is not public") as refused:
        send(WebhookNotifier(name="hook", url=receiver.url), DOCUMENT, root=tmp_path)
    assert 'allow = ["127.0.0.1"]' in refused.value.hint
    assert receiver.paths == []


def test_a_mail_has_the_message_and_its_key_and_no_header_of_anybody_elses(tmp_path) -> None:
    with mail_server() as (port, mails, _):
        notifier = EmailNotifier(
            name="mail", host="127.0.0.1", port=port, sender="timewell@company", to=("risk@company", "ops@company"),
            security="none",
        )  # fmt: skip
        send(notifier, message(title=one_line(HOSTILE)).document(), root=tmp_path)
    [text] = mails
    mail = message_from_string(text)
    assert (mail["To"], mail["Message-ID"], mail["Bcc"]) == ("risk@company, ops@company", "<abc-1@timewell>", None)
    assert "cause: SOURCE_LATE" in mail.get_payload()


@pytest.mark.parametrize(("code", "refused"), [(550, True), (451, False)])
def test_a_mail_server_that_takes_no_recipient_says_for_how_long(tmp_path, code, refused) -> None:
    with mail_server() as (port, mails, codes):
        codes.append(code)
        notifier = EmailNotifier(
            name="mail", host="127.0.0.1", port=port, sender="t@company", to=("a@company",), security="none"
        )
        with pytest.raises(DeliveryFailed, match=str(code)) as failed:
            send(notifier, DOCUMENT, root=tmp_path)
    assert (isinstance(failed.value, DeliveryRefused), mails) == (refused, [])


def test_a_mail_server_without_encryption_is_refused_unless_the_settings_say_so(tmp_path) -> None:
    with mail_server() as (port, mails, _):
        notifier = EmailNotifier(name="mail", host="127.0.0.1", port=port, sender="t@company", to=("a@company",))
        with pytest.raises(DeliveryRefused):
            send(notifier, DOCUMENT, root=tmp_path)
    assert mails == []


def test_a_command_gets_the_message_on_its_standard_input_and_no_shell_reads_it(tmp_path) -> None:
    script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    notifier = CommandNotifier(name="run", command=(sys.executable, "-c", script, "$(touch hacked); a b"))
    send(notifier, DOCUMENT, root=tmp_path)
    assert json.loads((tmp_path / "$(touch hacked); a b").read_text()) == DOCUMENT
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize(
    ("command", "timeout", "told"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "10s", "code 3"),
        ((sys.executable, "-c", "import time; time.sleep(60)"), "100ms", "in time"),
        (("no-such-program-here",), "10s", "No such file"),
    ],
)
def test_a_command_that_fails_hangs_or_is_not_there_is_told(tmp_path, command, timeout, told) -> None:
    with pytest.raises(DeliveryFailed, match=told):
        send(CommandNotifier(name="run", command=command, timeout=timeout), DOCUMENT, root=tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what it imports itself
def test_apprise_sends_through_its_own_hundred_ways(receiver, tmp_path) -> None:
    pytest.importorskip("apprise")
    receiver.answer = 200
    notifier = AppriseNotifier(name="others", urls=(f"json://127.0.0.1:{receiver.port}/in",))
    send(notifier, DOCUMENT, root=tmp_path)
    assert receiver.got[0][1]["title"] == DOCUMENT["title"]
    assert "id: abc-1" in receiver.got[0][1]["message"]
    with pytest.raises(DeliveryRefused):
        send(AppriseNotifier(name="others", urls=("nonsense",)), DOCUMENT, root=tmp_path)


# --- routes and trials ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wants", "goes"),
    [
        ({}, True),
        ({"owners": ("risk@*",)}, True),
        ({"owners": ("RISK@company",)}, True),
        ({"owners": ("growth@*",)}, False),
        ({"severities": ("page", "ticket")}, True),
        ({"severities": ("info",)}, False),
        ({"groups": ("sp*",), "rules": ("freshness",)}, True),
        ({"groups": ("sp*",), "rules": ("latency",)}, False),
    ],
)
def test_a_message_goes_where_owner_group_rule_and_severity_are_wanted(wants, goes) -> None:
    chosen = FileNotifier(name="file", path="x", **wants)
    assert route(message(), [chosen]) == (("file",) if goes else ("log",))


def test_a_trial_tries_each_notifier_and_says_what_is_wrong(open_project, receiver) -> None:
    command = '[[notify]]\nname = "gone"\ntype = "command"\ncommand = ["no-such-program-here"]\n'
    project = open_project(webhook(receiver) + command)
    hook, gone = try_notifiers(project)
    assert (hook.problem, hook.receiver) == ("", f"http://127.0.0.1:{receiver.port}")
    assert ("No such file" in gone.problem, bool(gone.hint)) == (True, True)
    assert [body["kind"] for _, body in receiver.got] == ["test"]
    assert [one.name for one in try_notifiers(project, "hook")] == ["hook"]
    with pytest.raises(UnknownNotifier, match=r"hock.*Did you mean 'hook'"):
        try_notifiers(project, "hock")


def test_a_project_without_notifiers_tells_the_log(open_project, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="timewell.alerts"):
        [trial] = try_notifiers(open_project())
    assert (trial.kind, trial.problem) == ("log", "")
    assert "this notifier works" in caplog.text


def test_a_notifier_shows_none_of_its_secrets() -> None:
    notifier = EmailNotifier(name="mail", host="h", sender="s", to=("t",), username="u", password="hush-hush")
    hook = WebhookNotifier(name="hook", url="https://hooks.example/hush-hush", headers={"A": "hush-hush"})
    assert "hush" not in f"{notifier!r} {hook!r} {[notifier, hook]}"
