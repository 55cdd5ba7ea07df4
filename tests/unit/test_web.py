"""The portal: who may see what, and what is refused before anything is shown."""

import re

import pytest
from fastapi.routing import APIRoute
from portal import ANA, AUDITOR, BO, OFFICER, ORIGIN, Scene, sign, sign_in
from scene import LENDER, SERVICER, moment
from starlette.requests import Request

from duly.chain.errors import KeyRefused
from duly.domain.events import InstalmentMissed, Repaid
from duly.interfaces.web import ROUTERS
from duly.interfaces.web.security import BODY, MESSAGE_BODY, RATES, Limiter, Rate, local_path
from duly.interfaces.web.visit import Role, Visit
from duly.store.sessions import NONCE_SECONDS, SESSION_SECONDS, SessionStore

NOW = moment("2027-02-10 12:00")


@pytest.fixture(scope="module")
def scene() -> Scene:
    found = Scene()
    found.lend(ANA, 1)
    found.lend(BO, 2)
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """This machine's time, to be moved."""
    now = [1_800_000_000]
    monkeypatch.setattr("time.time", lambda: float(now[0]))
    return now


# ---------------------------------------------------------------------------------------- every answer


@pytest.mark.parametrize("path", ["/", "/sign-in", "/loans", "/nothing", "/static/style.css", "/healthz"])
def test_every_answer_binds_the_browser(scene: Scene, path: str) -> None:
    headers = scene.browser().get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_pages_are_not_kept_and_files_are(scene: Scene) -> None:
    browser = scene.browser()
    page = browser.get("/")
    assert page.headers["cache-control"] == "no-store"
    file = re.search(r'href="(/static/style\.css\?\w+)"', page.text)
    assert file
    assert "immutable" in browser.get(file[1]).headers["cache-control"]


def test_no_page_has_a_script_or_style_in_it(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    for path in (
        "/",
        "/sign-in",
        "/loans",
        f"/loans/{scene.ana.id.hex()}",
        f"/loans/{scene.ana.id.hex()}/pay",
    ):
        text = ana.get(path, follow_redirects=True).text
        assert not re.search(
            r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://(?!www\.w3\.org)", text
        ), path


def test_over_https_cookies_are_bound_to_the_host() -> None:
    browser = Scene(origin="https://portal.example").browser()
    answer = sign_in(browser, ANA)
    [cookie] = [each for each in answer.headers.get_list("set-cookie") if "duly-session" in each]
    assert cookie.startswith("__Host-duly-session=")
    for attribute in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "domain" not in cookie.lower()
    assert answer.headers["strict-transport-security"].startswith("max-age=")


def test_another_name_of_the_machine_leads_to_the_right_one(scene: Scene) -> None:
    browser = scene.browser()
    answer = browser.get("/loans?x=1", headers={"host": "evil.example"})
    assert (answer.status_code, answer.headers["location"]) == (307, f"{ORIGIN}/loans?x=1")
    assert browser.post("/sign-out", headers={"host": "evil.example"}).status_code == 421


# ---------------------------------------------------------------------------------------- signing in


def test_who_signs_is_signed_in(scene: Scene) -> None:
    browser = scene.browser()
    assert browser.get("/loans").headers["location"] == "/sign-in?next=/loans"
    answer = sign_in(browser, ANA, next="/loans")
    assert answer.json() == {"next": "/loans"}
    page = browser.get("/loans")
    assert page.status_code == 200
    assert scene.ana.id.hex() in page.text
    assert scene.bo.id.hex() not in page.text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("portal.example wants", "evil.example wants"),
        ("URI: http://portal.example", "URI: http://evil.example"),
        ("Chain ID: 31337", "Chain ID: 1"),
        (r"Nonce: \w+", "Nonce: 0123456789abcdef0123456789abcdef"),
        (r"Expiration Time: \S+", "Expiration Time: 2020-01-01T00:00:00Z"),
        (r"\nExpiration Time: \S+", ""),
        ("Version: 1", "Version: 2"),
        ("wants you", "asks you"),
    ],
)
def test_a_message_for_anything_else_is_refused(scene: Scene, old: str, new: str) -> None:
    browser = scene.browser()
    answer = sign_in(browser, ANA, lambda message: re.sub(old, new, message, count=1))
    assert answer.status_code == 403
    assert answer.json()["error"].endswith(".")
    assert browser.get("/loans").status_code == 303


def test_a_message_signs_in_once(scene: Scene) -> None:
    browser = scene.browser()
    text = browser.post("/sign-in/message", json={"address": ANA.address}).json()["message"]
    nonce = browser.cookies["duly-nonce"]
    body = {"message": text, "signature": sign(ANA, text)}
    assert browser.post("/sign-in", json=body).status_code == 200
    again = scene.browser(cookie=f"duly-nonce={nonce}").post("/sign-in", json=body)
    assert again.status_code == 403
    assert "used before" in again.json()["error"]


def test_a_message_is_good_for_five_minutes(scene: Scene, clock: list[int]) -> None:
    for late, code in ((NONCE_SECONDS - 1, 200), (NONCE_SECONDS, 403)):
        browser = scene.browser()
        text = browser.post("/sign-in/message", json={"address": ANA.address}).json()["message"]
        nonce = browser.cookies["duly-nonce"]
        clock[0] += late
        body = {"message": text, "signature": sign(ANA, text)}
        later = scene.browser(cookie=f"duly-nonce={nonce}")
        assert later.post("/sign-in", json=body).status_code == code


def test_nobody_signs_another_browser_in(scene: Scene) -> None:
    text = scene.browser().post("/sign-in/message", json={"address": BO.address}).json()["message"]
    answer = scene.browser().post("/sign-in", json={"message": text, "signature": sign(BO, text)})
    assert answer.status_code == 403
    assert "another browser" in answer.json()["error"]


@pytest.mark.parametrize(
    "signature", ["0x", "0x00", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "ab" * 64, "x"]
)
def test_a_signature_that_is_none_is_refused(scene: Scene, signature: str) -> None:
    browser = scene.browser()
    text = browser.post("/sign-in/message", json={"address": ANA.address}).json()["message"]
    assert browser.post("/sign-in", json={"message": text, "signature": signature}).status_code == 403


def test_anothers_signature_is_refused(scene: Scene) -> None:
    browser = scene.browser()
    text = browser.post("/sign-in/message", json={"address": ANA.address}).json()["message"]
    assert browser.post("/sign-in", json={"message": text, "signature": sign(BO, text)}).status_code == 403


def test_signing_out_ends_the_session_everywhere(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    token = ana.cookies["duly-session"]
    assert ana.post("/sign-out").status_code == 303
    assert scene.browser(cookie=f"duly-session={token}").get("/loans").status_code == 303


def test_a_session_ends_by_itself(scene: Scene, clock: list[int]) -> None:
    ana = scene.signed_in(ANA)
    token = ana.cookies["duly-session"]
    clock[0] += SESSION_SECONDS - 1
    assert scene.browser(cookie=f"duly-session={token}").get("/loans").status_code == 200
    clock[0] += 1
    assert scene.browser(cookie=f"duly-session={token}").get("/loans").status_code == 303


def test_of_tokens_and_nonces_only_hashes_are_kept(scene: Scene) -> None:
    store = SessionStore(scene.model.engine)
    token, nonce = store.begin("0x" + "ab" * 20, 5), store.new_nonce(5)
    with scene.model.engine.connect() as connection:
        for table in ("web_sessions", "web_nonces"):
            kept = repr(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
            assert token not in kept
            assert nonce not in kept


def test_roles_come_from_the_chain_and_the_settings(scene: Scene) -> None:
    def roles(who: str) -> set[Role]:
        token = scene.app.sessions.begin(who.lower(), 2**33)
        headers = [(b"cookie", f"duly-session={token}".encode())]
        return set(Visit(Request({"type": "http", "headers": headers, "app": scene.web})).roles)

    assert roles(ANA.address) == {Role.BORROWER}
    assert roles(LENDER) == {Role.BORROWER, Role.SERVICER}
    assert roles(SERVICER) == {Role.BORROWER, Role.SERVICER}
    assert roles(OFFICER.address) == {Role.BORROWER, Role.OFFICER}
    assert roles(AUDITOR.address) == {Role.BORROWER, Role.AUDITOR}


# ---------------------------------------------------------------------------------------- who may see what


def test_anothers_loan_is_as_good_as_none(scene: Scene) -> None:
    ana, nobody = scene.signed_in(ANA), scene.browser()
    routes = [
        each
        for router in ROUTERS
        for each in router.routes
        if isinstance(each, APIRoute) and "{loan}" in each.path
    ]
    assert len(routes) >= 3
    for route in routes:
        for method in route.methods:
            own, other, none = (
                re.sub(r"\{\w+\}", "0", route.path.replace("{loan}", which))
                for which in (scene.ana.id.hex(), scene.bo.id.hex(), "00" * 32)
            )
            assert ana.request(method, own).status_code != 403
            refused, unknown = ana.request(method, other), ana.request(method, none)
            assert refused.status_code == 404, route.path
            hidden = refused.text.replace(scene.bo.id.hex(), ""), unknown.text.replace("00" * 32, "")
            assert hidden[0] == hidden[1]
            assert nobody.request(method, own).status_code in (303, 401), route.path


@pytest.mark.parametrize("loan", ["x", "00", "0x", "' OR 1=1", "..%2Fhealthz", "00" * 33, "\u0661" * 64])
def test_what_is_no_loan_is_not_found(scene: Scene, loan: str) -> None:
    assert scene.signed_in(ANA).get(f"/loans/{loan}").status_code == 404


# ---------------------------------------------------------------------------------------- other sites


def test_a_form_of_another_site_is_refused(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    for headers in (
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
        {"origin": "null", "sec-fetch-site": "none"},
    ):
        del ana.headers["origin"], ana.headers["sec-fetch-site"]
        assert ana.post("/sign-out", headers=headers).status_code == 403, headers
        ana.headers.update({"origin": ORIGIN, "sec-fetch-site": "same-origin"})
    assert ana.get("/loans").status_code == 200


def test_who_does_not_say_where_a_form_comes_from_is_refused(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    del ana.headers["origin"], ana.headers["sec-fetch-site"]
    assert ana.post("/sign-out").status_code == 403


def test_a_form_without_its_sessions_token_is_refused(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    token = ana.headers.pop("x-csrf-token")
    other = scene.csrf(scene.signed_in(BO))
    for wrong in ("", "x", token[:-1], other, "\u00e9"):
        assert ana.post("/sign-out", data={"csrf": wrong}).status_code == 403
    assert "no longer good" in ana.post("/sign-out").text
    assert ana.get("/loans").status_code == 200
    assert ana.post("/sign-out", data={"csrf": token}).status_code == 303


@pytest.mark.parametrize(
    "next",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\/evil", "/\nevil", "javascript:x", ""],
)
def test_nothing_leads_to_another_site(scene: Scene, next: str) -> None:
    assert local_path(next) == "/"
    browser = scene.browser()
    assert browser.post("/language", data={"language": "zh", "next": next}).headers["location"] == "/"
    assert sign_in(browser, ANA, next=next).json()["next"] == "/loans"


# ---------------------------------------------------------------------------------------- too much


def test_what_is_too_large_is_refused(scene: Scene) -> None:
    browser = scene.browser()
    assert browser.post("/sign-in", content=b"x" * (BODY + 1)).status_code == 413
    # Without saying beforehand how much it will be.
    pieces = (b"x" * 1024 for _ in range(BODY // 1024 + 2))
    assert browser.post("/sign-in", content=pieces).status_code == 413
    assert browser.post("/verify", content=b"x" * (MESSAGE_BODY + 1)).status_code == 413


def test_who_asks_too_often_has_to_wait() -> None:
    browser = Scene(rates=RATES | {"page": Rate(3, 0.001)}).browser()
    answers = [browser.get("/") for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    assert 950 <= int(answers[-1].headers["retry-after"]) <= 1_000
    assert "Please wait" in answers[-1].text
    assert browser.get("/healthz").status_code == 200


def test_a_bucket_fills_up_again_and_networks_count_as_one() -> None:
    now = [0.0]
    limiter = Limiter({"page": Rate(2, 0.5)}, lambda: now[0])
    assert [limiter.wait(("2001:db8::1", 1), "page") for _ in range(2)] == [0, 0]
    assert limiter.wait(("2001:db8::2", 1), "page") == 2
    assert limiter.wait(("2001:db8:0:1::2", 1), "page") == 0
    assert limiter.wait(("10.0.0.1", 1), "page") == 0
    now[0] = 2
    assert limiter.wait(("2001:db8::3", 1), "page") == 0


def test_an_error_that_nobody_expected_is_told_without_its_words(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    ana = scene.signed_in(ANA)
    monkeypatch.setattr("duly.services.portal.Portal.loans_of", fail)
    answer = ana.get("/loans")
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "content-security-policy" in answer.headers


# ---------------------------------------------------------------------------------------- what is shown


def test_what_is_overdue_is_told_with_its_reason() -> None:
    scene = Scene()
    loan = scene.lend(ANA)
    scene.tell(Repaid(loan.id, ANA.address.lower(), 50_000, 50_000), at=loan.opened_at + 86_400)
    scene.tell(InstalmentMissed(loan.id, 1, 1, 4_000), at=NOW)
    text = scene.signed_in(ANA).get(f"/loans/{loan.id.hex()}").text
    assert "Instalment 1 was due on 29 Jan 2027; 561.82 TUSD of it is unpaid." in text
    assert "Late fees of 40.00 TUSD: 40.00 TUSD once for each instalment" in text
    assert "601.82 TUSD" in text
    assert "After that: 1,061.82 TUSD by 28 Feb 2027." in text or "After that: 1,061.82 TUSD" in text


def test_an_amount_that_is_none_is_refused_in_words_and_shown_as_text(scene: Scene) -> None:
    ana = scene.signed_in(ANA)
    path = f"/loans/{scene.ana.id.hex()}/pay"
    for amount in ("", "0", "-5", "1e999", "ten", '"><script>alert(1)</script>', "1.234"):
        answer = ana.post(path, data={"amount": amount})
        assert answer.status_code == 422
        assert "Please give an amount" in answer.text
        assert "<script>alert" not in answer.text


def test_nothing_is_said_where_there_is_nothing_to_say(scene: Scene) -> None:
    ana = scene.signed_in(ANA, **{"accept-language": "zh"})
    text = ana.get(f"/loans/{scene.ana.id.hex()}/pay").text
    assert "付款" in text
    assert 'role="alert"' not in text


def test_pages_speak_the_visitors_language(scene: Scene) -> None:
    assert 'lang="zh-Hans"' in scene.browser(**{"accept-language": "zh-CN,zh;q=0.9,en;q=0.5"}).get("/").text
    assert 'lang="en"' in scene.browser(**{"accept-language": "de,en;q=0.5,zh;q=0.4"}).get("/").text
    browser = scene.browser()
    assert (
        browser.post("/language", data={"language": "zh", "next": "/sign-in"}).headers["location"]
        == "/sign-in"
    )
    assert "登录" in browser.get("/sign-in").text
    assert browser.post("/language", data={"language": "xx"}).status_code == 422


@pytest.mark.parametrize("message", ["", "\x00", "0x12", "<script>alert(1)</script>", "0x" + "ab" * 32])
def test_a_notice_that_cannot_be_looked_up_is_told_so(scene: Scene, message: str) -> None:
    answer = scene.browser().post("/verify", data={"message": message})
    # The chain that is not there is asked about codes alone.
    assert answer.status_code == {"": 422, "0x" + "ab" * 32: 503}.get(message, 200)
    assert "<script>alert" not in answer.text


# ---------------------------------------------------------------------------------------- the demo wallet


def test_the_demo_wallet_exists_on_local_chains_alone() -> None:
    keys = {"Ana": "0x" + bytes(ANA.key).hex()}
    with pytest.raises(KeyRefused, match="known to everyone"):
        Scene(chain_id=1, demo_keys=keys)
    scene = Scene(chain_id=31337, demo_keys=keys)
    scene.lend(ANA)
    browser = scene.browser()
    assert [each["address"] for each in browser.get("/demo/wallets.json").json()] == [ANA.address]
    for method in ("evm_setNextBlockTimestamp", "anvil_setBalance", "eth_sendTransaction", "eth_accounts"):
        assert browser.post("/rpc", json={"id": 1, "method": method}).status_code == 403
    for chain_id in (1, 31337):
        plain = Scene(chain_id=chain_id).browser()
        assert plain.get("/demo/wallets.json").status_code == 404
        assert plain.post("/rpc", json={"id": 1, "method": "eth_chainId"}).status_code == 404
        assert "data-demo" not in plain.get("/sign-in").text


def test_settling_early_shows_what_closes_the_loan_and_prepares_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ana = f"/loans/{scene.ana.id.hex()}/settle", scene.signed_in(ANA)
    payoff = scene.app.portal.standing(scene.ana).payoff
    assert f"{payoff / 100:,.2f}" in ana.get(path).text
    monkeypatch.setattr(type(scene.app.contracts.currency), "allowance", lambda *_: 0)
    prepared = ana.post(path)
    assert prepared.status_code == 200, prepared.text
    assert scene.app.deployment.address_of("LoanLedger").lower() in prepared.text.lower()
    assert scene.signed_in(BO).post(path).status_code == 404


def test_cool_1_withdrawing_shows_what_is_given_back_and_prepares_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ana = f"/loans/{scene.ana.id.hex()}/rescind", scene.signed_in(ANA)
    monkeypatch.setattr(scene.app.portal, "now", lambda: scene.ana.opened_at)
    rescission = scene.app.portal.rescission(scene.ana)
    assert rescission is not None
    assert f"{rescission.amount / 100:,.2f}" in ana.get(path).text
    monkeypatch.setattr(type(scene.app.contracts.currency), "allowance", lambda *_: 0)
    prepared = ana.post(path)
    assert prepared.status_code == 200, prepared.text
    assert scene.app.deployment.address_of("LoanLedger").lower() in prepared.text.lower()
    monkeypatch.setattr(scene.app.portal, "now", lambda: scene.ana.opened_at + 60 * 86_400)
    assert "no longer" in ana.get(path).text
    assert scene.signed_in(BO).post(path).status_code == 404
