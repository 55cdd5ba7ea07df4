"""SMS and push messages against a real HTTP server: what is sent, and what is known when something goes
wrong.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from duly.channels.gateway import GatewayCarrier
from duly.channels.message import CarrierUnavailable, CodeMessage, Message, Proof, Receipt, Result
from duly.config import Gateway
from duly.domain.consent import Channel

ADDRESS = "+306900000001"
TAG = "abcd" * 12
TOKEN = "secret-token"


def message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "tag": TAG,
        "proofs": (Proof(b"\1" * 32, b"\5" * 32),),
        "address": ADDRESS,
        "subject": "A message for you (reference 3f2a91bc)",
        "body": "您的贷款: 12.00 TUSD.\n",
        "language": "en",
        "at": 1_800_000_000,
    }
    return Message(**(values | changes))


class Server:
    """An HTTP gateway that answers as it is told: (status, headers, body), or what it does instead."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[Any] = []
        self.connections = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                outer.connections += 1
                super().setup()

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, dict(self.headers), json.loads(data)))
                answer = outer.answers.pop(0) if outer.answers else (202, {}, b'{"id": "sms-17"}')
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/messages"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def carrier_to(url: str, channel: Channel = Channel.SMS, answer: float = 5.0) -> GatewayCarrier:
    return GatewayCarrier(channel, Gateway(url=url, token=TOKEN), connect=2.0, answer=answer)


@pytest.fixture
def carrier(server: Server) -> Iterator[GatewayCarrier]:
    carrier = carrier_to(server.url)
    yield carrier
    carrier.close()


def test_a_request_says_what_is_to_be_sent_and_to_whom(server, carrier):
    carrier.ready()
    assert carrier.send(message()) == Receipt(Result.SENT, reference="sms-17")
    [(path, headers, body)] = server.requests
    assert path == "/messages"
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Idempotency-Key"] == TAG
    assert headers["Content-Type"] == "application/json"
    # The words whose hash is on chain, and nothing else.
    text = "A message for you (reference 3f2a91bc)\n\n您的贷款: 12.00 TUSD.\n"
    assert body == {"id": TAG, "channel": "sms", "address": ADDRESS, "language": "en", "text": text}


def test_a_push_message_has_its_subject_apart(server):
    carrier = carrier_to(server.url, Channel.PUSH)
    assert carrier.send(message(address="token:1")).result is Result.SENT
    carrier.close()
    [(_, _, body)] = server.requests
    assert (body["channel"], body["subject"], body["text"]) == ("push", message().subject, message().body)


def test_a_code_has_a_name_of_its_own(server, carrier):
    code = CodeMessage(ADDRESS, "Your code", "123456\n", "en", 1)
    assert carrier.send(code).result is carrier.send(code).result is Result.SENT
    names = [body["id"] for _, _, body in server.requests]
    assert len(set(names)) == 2


def test_one_connection_carries_many_messages(server, carrier):
    for _ in range(5):
        assert carrier.send(message()).result is Result.SENT
    assert server.connections == 1
    receipts = carrier.send_all([message(tag=f"{n:048}") for n in range(20)])
    assert {receipt.result for receipt in receipts} == {Result.SENT}
    assert server.connections <= carrier.at_once


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.SENT),
        (202, Result.SENT),
        (400, Result.REFUSED),
        (410, Result.REFUSED),
        (422, Result.REFUSED),
        (429, Result.DEFERRED),
        (503, Result.DEFERRED),
        # The service is wrong, not the message: it must not be lost for it.
        (401, Result.DEFERRED),
        (403, Result.DEFERRED),
        (404, Result.DEFERRED),
        (302, Result.DEFERRED),
        # The gateway may have passed it on before it failed.
        (500, Result.UNKNOWN),
        (502, Result.UNKNOWN),
        (504, Result.UNKNOWN),
        (409, Result.UNKNOWN),
    ],
)
def test_what_an_answer_means(server, carrier, status, result):
    server.answers.append((status, {"Location": server.url}, ADDRESS.encode()))
    receipt = carrier.send(message())
    assert receipt.result is result
    assert receipt.reason == (None if result is Result.SENT else f"HTTP {status}")
    assert len(server.requests) == 1


def test_a_gateway_that_asks_to_wait_is_left_alone(server, carrier):
    server.answers.append((429, {"Retry-After": "120"}, b""))
    assert carrier.send(message()) == Receipt(Result.DEFERRED, "HTTP 429", retry_after=120)
    with pytest.raises(CarrierUnavailable, match=r"does not take messages \(HTTP 429"):
        carrier.ready()


def test_a_date_to_wait_for_is_understood_and_a_stray_one_ignored(server, carrier):
    server.answers += [
        (503, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, b""),
        (503, {"Retry-After": "soon"}, b""),
        (503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, b""),
    ]
    assert [carrier.send(message()).retry_after for _ in range(3)] == [86_400, None, None]


def test_a_gateway_that_does_not_let_us_in_says_so(server, carrier):
    server.answers.append((401, {}, b""))
    carrier.send(message())
    with pytest.raises(CarrierUnavailable) as raised:
        carrier.ready()
    assert "DULY_SMS_TOKEN" in (raised.value.remedy or "")
    assert TOKEN not in f"{raised.value} {carrier!r}"


@pytest.mark.parametrize(
    ("body", "reference"),
    [
        (b'{"id": 4711}', "4711"),
        (b'{"id": "a b"}', None),
        (b'{"id": "x306900000001"}', None),
        (b"[1]", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_what_a_gateway_calls_a_message_is_kept_unless_it_names_the_borrower(
    server, carrier, body, reference
):
    server.answers.append((200, {}, body))
    assert carrier.send(message()) == Receipt(Result.SENT, reference=reference)


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)
    handler.close_connection = True


def cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def trickle(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: no wait for one of them is long."""
    handler.close_connection = True
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 40:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.1)
    except OSError:
        pass


def accept_and_cut_off(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b'HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{"id"')
    cut_off(handler)


@pytest.mark.parametrize(
    ("does", "receipt"),
    [
        (hang, Receipt(Result.UNKNOWN, "no answer in time")),
        (trickle, Receipt(Result.UNKNOWN, "no answer in time")),
        (cut_off, Receipt(Result.UNKNOWN, "connection lost")),
        # Its status says that it has the message.
        (accept_and_cut_off, Receipt(Result.SENT)),
    ],
)
def test_gate_2_an_answer_that_does_not_come_leaves_it_open(server, does, receipt):
    server.answers.append(does)
    carrier = GatewayCarrier(Channel.SMS, Gateway(url=server.url), connect=0.3, answer=0.3)
    assert carrier.send(message()) == receipt
    assert len(server.requests) == 1
    carrier.close()


def test_where_no_connection_was_made_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    carrier = carrier_to(f"http://127.0.0.1:{port}/")
    assert carrier.send(message()) == Receipt(Result.DEFERRED, "no connection")
    with pytest.raises(CarrierUnavailable, match="cannot be reached"):
        carrier.ready()
    carrier.close()


def test_a_server_that_is_none_is_no_connection(server):
    # Plain HTTP behind an https address: the handshake fails before anything is sent.
    carrier = carrier_to(server.url.replace("http://", "https://"))
    assert carrier.send(message()).result is Result.DEFERRED
    assert server.requests == []
    carrier.close()


def test_control_characters_are_refused(server, carrier):
    assert carrier.send(message(body="a\x00b")) == Receipt(Result.REFUSED, "malformed")
    assert server.requests == []


def test_priv_1_nothing_is_logged(server, carrier, caplog):
    caplog.set_level(logging.DEBUG)
    server.answers += [(202, {}, b""), (500, {}, ADDRESS.encode())]
    carrier.send(message())
    carrier.send(message())
    assert ADDRESS[1:] not in caplog.text
    assert TOKEN not in caplog.text


def test_neither_address_nor_text_nor_token_is_printed():
    gateway = Gateway(url="https://sms.example.org/?key=hidden", token=TOKEN)
    shown = f"{message()!r} {gateway!r} {GatewayCarrier(Channel.SMS, gateway)!r}"
    assert not {ADDRESS, "贷", TOKEN, "hidden"} & {
        part for part in (ADDRESS, "贷", TOKEN, "hidden") if part in shown
    }
