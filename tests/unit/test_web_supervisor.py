"""The supervisor's page: the audit beside the requests, its files, and policies beside their packs."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from history import CONTACT, LENDING
from portal import ANA, AUDITOR, OFFICER, Scene
from scene import LENDER

from duly.domain.audit import Audit
from duly.domain.events import PolicyPublished
from duly.services.audit import Audited
from duly.services.policy import load_pack
from duly.store.actions import What


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    """A portal whose chain has nothing in it to audit; `go` lets the audit end."""
    found = Scene()
    found.go = threading.Event()  # type: ignore[attr-defined]

    def audit(w3: object, source: object, progress: Callable[[int, int], None], **_: Any) -> Audited:
        progress(3, 7)
        assert found.go.wait(10)  # type: ignore[attr-defined]
        return Audited(Audit(), found.model.cursor().block)

    monkeypatch.setattr("duly.services.audit.audit", audit)
    return found


def test_the_audit_runs_beside_the_requests_and_is_kept(scene: Scene) -> None:
    auditor = scene.signed_in(AUDITOR)
    assert "Audit the chain" in auditor.get("/supervisor").text
    assert auditor.get("/supervisor/report/report.json").status_code == 404
    assert auditor.post("/supervisor/audit").status_code == 303
    assert not scene.app.supervision.begin()
    assert "is being audited" in auditor.get("/supervisor").text
    part = {"hx-request": "true"}
    assert auditor.get("/supervisor/audit", headers=part).status_code == 200
    scene.go.set()  # type: ignore[attr-defined]
    scene.app.supervision.wait(10)
    over = auditor.get("/supervisor/audit", headers=part)
    assert (over.status_code, over.headers["hx-redirect"]) == (204, "/supervisor")
    page = auditor.get("/supervisor").text
    assert "No rule was broken" in page
    assert "HOURS-1" in page
    # Up to date until the chain goes on.
    assert not scene.app.supervision.begin()
    scene.tell(at=1_790_000_100)
    assert "Audit up to now" in auditor.get("/supervisor").text


def test_the_report_is_downloaded_and_that_is_logged(scene: Scene) -> None:
    scene.go.set()  # type: ignore[attr-defined]
    assert scene.app.supervision.begin()
    scene.app.supervision.wait(10)
    officer = scene.signed_in(OFFICER)
    found = officer.get("/supervisor/report/report.json")
    assert found.json()["clean"] is True
    assert found.headers["content-disposition"] == 'attachment; filename="duly-report.json"'
    assert "<html" in officer.get("/supervisor/report/report.html").text
    assert officer.get("/supervisor/report/notices.csv").text.startswith("time_utc,")
    for name in ("..%2Freport.json", "x.csv"):
        assert officer.get(f"/supervisor/report/{name}").status_code in (404, 422)
    assert [action.what for _, action in scene.app.actions.latest(9)] == [What.DOWNLOADED] * 3


def test_a_policy_stands_beside_the_pack_of_its_hash(scene: Scene) -> None:
    strict = load_pack("STRICT")
    templates = scene.app.templates.hash
    scene.tell(
        PolicyPublished(2, LENDER, strict.lending_limits, strict.contact_limits, templates, strict.pack_hash),
        PolicyPublished(3, LENDER, LENDING, CONTACT, templates, strict.pack_hash),
    )
    unknown, same, other = scene.app.supervision.in_force()
    assert (unknown.pack, unknown.as_the_pack_says) == (None, False)
    assert (same.pack, same.deviations, same.as_the_pack_says) == (strict, (), True)
    assert other.deviations
    assert not other.as_the_pack_says
    page = scene.signed_in(AUDITOR).get("/supervisor").text
    assert page.count("0x" + strict.pack_hash.hex()) == 4


def test_it_is_for_auditors_and_officers(scene: Scene) -> None:
    scene.lend(ANA, 1)
    ana = scene.signed_in(ANA)
    for method, path in (
        ("GET", "/supervisor"),
        ("GET", "/supervisor/audit"),
        ("POST", "/supervisor/audit"),
        ("GET", "/supervisor/report/report.json"),
    ):
        assert ana.request(method, path).status_code == 403
    assert scene.app.supervision.audit().running is None
    auditor = scene.signed_in(AUDITOR)
    del auditor.headers["x-csrf-token"]
    assert auditor.post("/supervisor/audit").status_code == 403
