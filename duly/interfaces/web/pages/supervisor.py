"""What a supervisor sees: whether the rules were kept, and the policies in force. Auditors and officers."""

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from starlette.responses import Response

from duly.interfaces.web.visit import NotFound, Role, Visit, role
from duly.services.supervision import FILES, NoAudit
from duly.store.actions import Action, What

router = APIRouter(prefix="/supervisor")
Supervisor = Annotated[Visit, Depends(role(Role.AUDITOR, Role.OFFICER))]
_TYPES = {"html": "text/html", "json": "application/json", "csv": "text/csv"}


@router.get("")
def page(visit: Supervisor) -> Response:
    supervision = visit.app.supervision
    return visit.show(
        "supervisor/page.html",
        audit=supervision.audit(),
        is_old=supervision.is_old,
        policies=supervision.in_force(),
        files=FILES,
    )


@router.get("/audit")
def audit(visit: Supervisor) -> Response:
    """How far it is; as a part of a page it asks again until it is over."""
    found = visit.app.supervision.audit()
    if visit.in_part and found.running is None:
        return Response(status_code=204, headers={"hx-redirect": "/supervisor"})
    if not visit.in_part:
        return visit.go("/supervisor")
    return visit.show("supervisor/running_part.html", running=found.running)


@router.post("/audit")
def begin(visit: Supervisor) -> Response:
    """Audits the chain anew, beside the requests."""
    visit.app.supervision.begin()
    return visit.go("/supervisor")


@router.get("/report/{name}")
def report(
    visit: Supervisor,
    name: Literal["report.html", "report.json", "notices.csv", "refused.csv", "violations.csv"],
) -> Response:
    """A file of the last audit, to be saved."""
    try:
        content = visit.app.supervision.file(name)
    except NoAudit:
        raise NotFound from None
    found = visit.app.supervision.audit().found
    about = (found.block if found else 0).to_bytes(32, "big")
    as_what = Role.AUDITOR if Role.AUDITOR in visit.roles else Role.OFFICER
    visit.app.actions.record(Action(int(time.time()), visit.address, as_what, What.DOWNLOADED, about))
    headers = {"content-disposition": f'attachment; filename="duly-{name}"'}
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)
