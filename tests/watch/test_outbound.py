"""Addresses from settings are resolved once, checked, and pinned; nothing leads a call elsewhere."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from timewell import outbound
from timewell.errors import AddressRefused, DeliveryFailed, DeliveryRefused
from timewell.outbound import Post, may_call, post

INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0",
    "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::127.0.0.1", "2001:db8::1",
    "not an address", "",
]  # fmt: skip
OUTSIDE = ["93.184.215.14", "1.1.1.1", "2606:2800:220:1::1", "::ffff:1.1.1.1"]


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_not_public_is_not_called(address) -> None:
    assert not may_call(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_public_is_called(address) -> None:
    assert may_call(address)


def test_what_is_allowed_is_called_and_nothing_beside_it() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("::1")]
    asked = ["10.1.2.3", "::1", "::ffff:10.1.2.3", "10.2.0.1", "127.0.0.1"]
    assert [may_call(address, allowed) for address in asked] == [True, True, True, False, False]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://0x7f.1:{port}/", "http://2130706433:{port}/",
        "http://0177.0.0.1:{port}/", "http://127.1:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/",
        "http://0.0.0.0:{port}/",
    ],
)  # fmt: skip
def test_no_spelling_of_this_machine_gets_through(receiver, url) -> None:
    with pytest.raises(DeliveryFailed):
        post(Post(url=url.format(port=receiver.port), body=b"{}"))
    assert receiver.paths == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/", "http://", "http://user:pw@93.184.215.14/"]
)
def test_no_other_scheme_and_no_user_in_an_address(url) -> None:
    with pytest.raises(DeliveryRefused):
        post(Post(url=url, body=b"{}"))


def test_a_redirect_is_not_followed(receiver) -> None:
    receiver.answer, receiver.location = 302, receiver.url
    with pytest.raises(DeliveryRefused, match="redirects are not followed"):
        post(Post(url=receiver.url, body=b"{}", allow=["127.0.0.1"]))
    assert len(receiver.paths) == 1


def answering(monkeypatch, *answers: list[str]) -> list[str]:
    """Let names lead to these addresses, one list for each time that one is asked for; returns who was asked for."""
    asked: list[str] = []

    def resolve(host, port, **_):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in answers[len(asked) - 1]]

    monkeypatch.setattr(outbound.socket, "getaddrinfo", resolve)
    return asked


def test_a_name_that_leads_to_one_inner_address_among_others_is_refused(monkeypatch) -> None:
    answering(monkeypatch, ["93.184.215.14", "169.254.169.254"])
    with pytest.raises(AddressRefused, match=r"169\.254\.169\.254"):
        post(Post(url="https://rebind.example/", body=b"{}"))


def test_the_address_that_was_checked_is_the_one_that_is_called(receiver, monkeypatch) -> None:
    """A name that leads elsewhere the second time it is asked for: it is asked for once."""
    connected = []

    def connect(address, timeout):
        connected.append(address)
        asked = socket.socket()
        asked.settimeout(timeout)
        asked.connect(("127.0.0.1", receiver.port))
        return asked

    monkeypatch.setattr(outbound.socket, "create_connection", connect)
    asked = answering(monkeypatch, ["93.184.215.14"])
    assert post(Post(url="http://rebind.example/in?a=1", body=b"{}")) == 200
    assert (asked, connected) == (["rebind.example"], [("93.184.215.14", 80)])
    assert (receiver.paths, receiver.headers[0]["Host"]) == (["/in?a=1"], "rebind.example")


def test_a_proxy_of_the_environment_is_not_used(receiver, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    assert post(Post(url=receiver.url, body=b"{}", allow=["127.0.0.1"])) == 200


def test_who_dribbles_an_answer_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        done = threading.Event()

        def dribble() -> None:
            taken, _ = server.accept()
            with taken:
                while not done.wait(0.02):
                    try:
                        taken.send(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=dribble)
        thread.start()
        port = server.getsockname()[1]
        with pytest.raises(DeliveryFailed):
            post(Post(url=f"http://127.0.0.1:{port}/", body=b"{}", timeout_s=0.2, allow=["127.0.0.1"]))
        done.set()
        thread.join()


def test_a_name_that_nobody_knows_is_tried_again_later(monkeypatch) -> None:
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(outbound.socket, "getaddrinfo", unknown)
    with pytest.raises(DeliveryFailed, match="not found") as failed:
        post(Post(url="https://nowhere.example/", body=b"{}"))
    assert not isinstance(failed.value, DeliveryRefused)


@pytest.mark.parametrize("header", ["a\r\nEvil: 1", "ok"])
def test_no_header_smuggles_another(receiver, header) -> None:
    order = Post(url=receiver.url, body=b"{}", headers={"X-Test": header}, allow=["127.0.0.1"])
    if header == "ok":
        assert post(order) == 200
    else:
        with pytest.raises(DeliveryFailed):
            post(order)
    assert all("Evil" not in headers for headers in receiver.headers)
