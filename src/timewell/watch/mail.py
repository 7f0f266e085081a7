"""Mail: one message by SMTP."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any

from timewell.config.notify import EmailNotifier
from timewell.errors import DeliveryFailed, DeliveryRefused


def send_mail(notifier: EmailNotifier, document: Mapping[str, Any], *, where: str, timeout_s: float) -> None:
    """Send one mail; returns once the server has taken it for every recipient.

    Raises
    ------
    DeliveryFailed, DeliveryRefused
        A later try may help; it will not.
    """
    mail = _mail(notifier, document)
    try:
        with _smtp(notifier, timeout_s) as server:
            if notifier.username is not None:
                server.login(notifier.username, notifier.password or "")
            server.send_message(mail)
    except (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError) as problem:
        raise DeliveryRefused(receiver=where, problem=type(problem).__name__) from None
    except smtplib.SMTPRecipientsRefused as problem:
        codes = [code for code, _ in problem.recipients.values()]
        kind = DeliveryRefused if all(code >= 500 for code in codes) else DeliveryFailed
        raise kind(receiver=where, problem=f"it takes no mail for these addresses ({max(codes)})") from None
    except smtplib.SMTPResponseException as problem:
        kind = DeliveryRefused if problem.smtp_code >= 500 else DeliveryFailed
        raise kind(receiver=where, problem=f"it answered {problem.smtp_code}") from None
    except (OSError, smtplib.SMTPException) as problem:
        told = getattr(problem, "strerror", None) or type(problem).__name__
        raise DeliveryFailed(receiver=where, problem=str(told)) from None


def _mail(notifier: EmailNotifier, document: Mapping[str, Any]) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = str(document["title"])
    mail["From"] = notifier.sender
    mail["To"] = ", ".join(notifier.to)
    mail["Message-ID"] = f"<{document['id']}@timewell>"  # equal at each try: who has it shows it once
    mail["Idempotency-Key"] = str(document["id"])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(str(document["text"]) + "\n")
    return mail


def _smtp(notifier: EmailNotifier, timeout_s: float) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if notifier.security == "tls":
        return smtplib.SMTP_SSL(notifier.host, notifier.port, timeout=timeout_s, context=context)
    server = smtplib.SMTP(notifier.host, notifier.port, timeout=timeout_s)
    if notifier.security == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server
