"""Apprise against a real HTTP server, through its own json:// service."""

from __future__ import annotations

import logging
import socket

import pytest
from test_gateway import Server, cut_off, hang, message

from duly.channels.apprise import AppriseCarrier
from duly.channels.message import CarrierUnavailable, CodeMessage, Receipt, Result
from duly.domain.consent import Channel

TOKEN = "device:A1b2-C3"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def carrier_to(server: Server, **options: float) -> AppriseCarrier:
    url = server.url.replace("http://", "json://").replace("/messages", "/to/{address}")
    return AppriseCarrier(Channel.PUSH, url, **options)


def test_a_message_goes_to_the_borrowers_own_contact(server, caplog):
    caplog.set_level(logging.DEBUG)
    carrier = carrier_to(server)
    carrier.ready()
    assert carrier.send(message(address=TOKEN)) == Receipt(Result.SENT)
    assert carrier.send(CodeMessage(TOKEN, "Code", "123456\n", "en", 1)) == Receipt(Result.SENT)
    carrier.close()
    (path, _, body), (_, _, code) = server.requests
    assert path.replace("%3A", ":").rstrip("/") == f"/to/{TOKEN}"
    assert body["title"] == message().subject
    assert body["message"].strip() == message().body.strip()
    assert code["message"].strip() == "123456"
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("address", ["a,b", "a/b", "a?to=b", "a b", "a@b.example.org", "", "a%2Fb", "a&b"])
def test_borrower_1_one_contact_never_becomes_several(server, address):
    carrier = carrier_to(server)
    assert carrier.send(message(address=address)) == Receipt(Result.REFUSED, "malformed")
    assert server.requests == []


def test_gate_2_a_failure_leaves_it_open(server):
    server.answers += [(500, {}, b""), cut_off]
    carrier = carrier_to(server)
    for _ in range(2):
        assert carrier.send(message(address=TOKEN)) == Receipt(Result.UNKNOWN, "Apprise failed")
    server.answers.append(hang)
    slow = carrier_to(server, deadline=0.2)
    assert slow.send(message(address=TOKEN)) == Receipt(Result.UNKNOWN, "no answer in time")
    assert len(server.requests) == 3
    carrier.close()


def test_what_cannot_be_reached_or_understood_is_told_before():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CarrierUnavailable, match="cannot be reached"):
        AppriseCarrier(Channel.PUSH, f"json://127.0.0.1:{port}/{{address}}").ready()
    with pytest.raises(CarrierUnavailable, match="does not understand DULY_SMS_APPRISE"):
        AppriseCarrier(Channel.SMS, "nothing://{address}").ready()
