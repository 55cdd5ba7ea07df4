"""Attacks on every route there is: strangers, other sites, scripts in every field, guessing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from portal import ANA, OFFICER, Scene, wallet
from scene import LENDER

from duly.domain.consent import Channel
from duly.interfaces.web import ROUTERS
from duly.interfaces.web.security import RATES, Rate
from duly.services import transactions
from duly.store.vault import MasterKey, Vault

PUBLIC = {
    "GET /": "says what this is",
    "GET /healthz": "says that it lives",
    "GET /sign-in": "lets in",
    "POST /sign-in": "wants a signature",
    "POST /sign-in/message": "says what to sign",
    "POST /sign-out": "ends what there is",
    "POST /language": "changes the words",
    "GET /verify": "is for everybody",
    "POST /verify": "is for everybody",
    "GET /transactions/{transaction}": "tells of a transaction what the chain tells",
    "GET /calendar/{language}/{secret}.ics": "wants a secret",
}
"""The routes that answer somebody who has not signed in."""

SCRIPTS = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}<svg onload=alert(1)>",
    "javascript:alert(1)//",
)
HARMFUL = re.compile(r"<script>alert|<img src=x|<svg onload|(?:href|src|action)=[\"']?javascript:")


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(transactions, "why_refused", lambda app, call, sender: None)
    found = Scene()
    found.lend(ANA, 1)
    found.app.vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
    found.app.vault.add(ANA.address.lower(), Channel.EMAIL, "borrower@example.org")
    return found


def routes() -> Iterator[tuple[str, APIRoute]]:
    """Each with its method."""
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods):
                yield method, route


def path_of(scene: Scene, route: APIRoute) -> str:
    """As for Ana."""
    named = {"loan": scene.ana.id.hex(), "channel": "email", "grievance": "hardship", "form": "json",
             "name": "report.html", "language": "en"}  # fmt: skip
    return re.sub(r"\{(\w+)\}", lambda found: named.get(found[1], "0"), route.path)


def fields_of(route: APIRoute) -> list[str]:
    """What a form sends there, and what its address asks."""
    dependant = route.dependant
    return [each.alias for each in (*dependant.body_params, *dependant.query_params)]


def pages(scene: Scene, browser: TestClient) -> Iterator[tuple[str, str]]:
    """All that somebody can look at."""
    for method, route in routes():
        if method == "GET":
            path = path_of(scene, route)
            yield path, browser.get(path).text


def test_strangers_see_what_is_public_and_nothing_else(scene: Scene) -> None:
    nobody, answered = scene.browser(), set()
    for method, route in routes():
        answer = nobody.request(method, path_of(scene, route))
        if answer.status_code not in (303, 401, 403) or not answer.headers.get("location", "").startswith(
            "/sign-in"
        ):
            answered.add(f"{method} {route.path}")
        assert scene.ana.id.hex() not in answer.text, route.path
    private = answered - PUBLIC.keys()
    # What a script asks is answered with 401, not led to another page.
    for each in sorted(private):
        method, path = each.split()
        route = next(found for it, found in routes() if (it, found.path) == (method, path))
        assert nobody.request(method, path_of(scene, route)).status_code in (401, 403), each


def test_borrowers_are_not_let_to_the_desk(scene: Scene) -> None:
    ana, count = scene.signed_in(ANA), 0
    for method, route in routes():
        if route.path.startswith(("/desk", "/supervisor")):
            count += 1
            assert ana.request(method, path_of(scene, route)).status_code in (403, 404), route.path
    assert count >= 12


@pytest.mark.parametrize("attack", ["without its token", "with another's token", "from another site"])
def test_every_form_is_refused(scene: Scene, attack: str) -> None:
    count = 0
    for who in (ANA, OFFICER):
        browser = scene.signed_in(who)
        if attack == "without its token":
            del browser.headers["x-csrf-token"]
        elif attack == "with another's token":
            browser.headers["x-csrf-token"] = scene.csrf(scene.signed_in(wallet(99)))
        else:
            browser.headers.update({"origin": "https://evil.example", "sec-fetch-site": "cross-site"})
        for method, route in routes():
            if method != "GET" and route.path not in ("/verify", "/language", "/sign-in", "/sign-in/message"):
                count += 1
                answer = browser.request(method, path_of(scene, route), data={})
                assert answer.status_code == 403, (route.path, attack)
    assert count >= 40


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_gets_into_a_page_by_any_field(scene: Scene, script: str) -> None:
    tried = 0
    for who in (ANA, OFFICER):
        browser = scene.signed_in(who)
        for method, route in routes():
            if "sign-out" in route.path:
                continue
            fields = fields_of(route)
            for wrong in fields:
                tried += 1
                given = {field: script if field == wrong else "1" for field in fields}
                known = {"purpose": "api", "language": "en", "kind": "repay", "sent": "yes"}
                given |= {
                    field: value for field, value in known.items() if field in fields and field != wrong
                }
                path = path_of(scene, route)
                answer = (
                    browser.get(path, params=given) if method == "GET" else browser.post(path, data=given)
                )
                assert answer.status_code < 500 or answer.status_code == 503, (route.path, wrong)
                assert not HARMFUL.search(answer.text), (route.path, wrong)
                assert "49<svg" not in answer.text
        for path, text in pages(scene, browser):
            assert not HARMFUL.search(text), path
    assert tried >= 30


def test_a_script_for_a_name_is_shown_as_the_text_that_it_is(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    made = ana.post("/programs", data={"purpose": "api", "name": "<script>alert(1)</script>"})
    assert made.status_code == 200
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in ana.get("/programs").text


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_gets_into_a_page_by_its_address(scene: Scene, script: str) -> None:
    browser = scene.signed_in(ANA)
    for method, route in routes():
        path = re.sub(r"\{\w+\}", lambda found: script.replace("/", "%2F"), route.path)
        answer = browser.request(method, f"{path}?next={script}&code={script}&{script}=1")
        assert answer.status_code < 500 or answer.status_code == 503, route.path
        if "html" in answer.headers.get("content-type", ""):
            assert not HARMFUL.search(answer.text), route.path
        assert "evil" not in answer.headers.get("location", "")


def test_who_guesses_codes_has_to_wait_wherever_they_ask() -> None:
    browser = Scene(rates=RATES | {"verify": Rate(10, 0.001)}).browser()
    for number in range(5):
        code = number.to_bytes(32, "big").hex()
        assert browser.post("/verify", data={"message": f"0x{code}"}).status_code != 429
        assert browser.get(f"/api/v1/notices/0x{code}").status_code != 429
    for answer in (
        browser.post("/verify", data={"message": "0x" + "01" * 32}),
        browser.get("/api/v1/notices/0x" + "01" * 32),
    ):
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
    # Who asks for something else is not kept waiting by it.
    assert browser.get("/").status_code == 200


def test_a_lenders_notice_page_knows_no_notice_of_another(scene: Scene) -> None:
    browser = scene.signed_in(OFFICER)
    for number in range(20):
        code = number.to_bytes(32, "big").hex()
        for act in ("settle", "requeue"):
            answer = browser.post(f"/desk/notices/{code}/{act}", data={"sent": "yes"})
            assert answer.status_code == 404
            assert LENDER not in answer.text
