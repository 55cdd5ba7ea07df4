"""Is this message genuine? For anybody, without an account; it tells nothing that the message does not."""

from typing import Annotated, Final

from fastapi import APIRouter, Form, UploadFile
from markupsafe import Markup
from starlette.responses import Response

from duly.channels.received import MOST_BYTES, NotAMessage, Received, parse_code, read
from duly.interfaces.web.language import N_
from duly.interfaces.web.qr import qr
from duly.interfaces.web.visit import AnyVisit
from duly.services import genuine
from duly.services.genuine import SHORT, Verdict, Words

router = APIRouter()

# (verdict, words): what it means.
_WHY: Final = {
    (Verdict.GENUINE, Words.SAME): N_("Every word is as it was let through."),
    (Verdict.GENUINE, Words.NONE): N_(
        "A notice with this code was let through. Whether a message has its words, only the whole message "
        "tells."
    ),
    (Verdict.ALTERED, Words.OTHER): N_(
        "A notice with this code was let through, but not this message: something in it was changed."
    ),
    (Verdict.UNKNOWN, Words.UNCHECKED): N_(
        "The code is genuine. The words could not be checked, as only the whole mail carries what that "
        "needs: save it in your mail program, and choose the file here."
    ),
}
_NO_CODE: Final = N_("It names no notice code. Every notice does.")
_NO_NOTICE: Final = N_("No notice with this code was ever let through. It does not come from your lender.")


@router.get("/verify")
def page(visit: AnyVisit, code: str = "") -> Response:
    """The form; with a code, as a QR code leads here, already filled in."""
    return _show(visit, None, "", "", code[:200])


@router.post("/verify")
def check(visit: AnyVisit, message: Annotated[str, Form()] = "", mail: UploadFile | None = None) -> Response:
    """What the chain says of a message, a mail as a file, or a code alone."""
    data = mail.file.read(MOST_BYTES + 1) if mail is not None and mail.filename else b""
    asked: Received | bytes | None = None
    problem = ""
    try:
        if data:
            asked = read(data)
        elif message.strip():
            asked = parse_code(message) or read(message.encode())
        else:
            problem = N_("Please paste a notice or its code, or choose a file.")
    except NotAMessage:
        problem = N_("This is no message that can be read.")
    if asked is None:
        return _show(visit, None, "", problem, message)
    answer = genuine.check(asked, visit.app.w3, visit.app.deployment, finality=visit.app.finality)
    why = _why(answer, named=isinstance(asked, bytes) or bool(asked.codes))
    return _show(visit, answer, why, "", message if not data else "")


def _why(answer: genuine.Answer, *, named: bool) -> str:
    if answer.served:
        return _WHY[answer.verdict, answer.words]
    return _NO_NOTICE if named else _NO_CODE


def _qr(visit: AnyVisit, message: str) -> Markup | None:
    """What leads another device to the check of this code, where it is one alone."""
    code = parse_code(message)
    if code is None:
        return None
    return qr(
        f"{visit.site.origin}/verify?code=0x{code.hex()}", visit.write.text(N_("QR code of this check"))
    )


def _show(visit: AnyVisit, answer: genuine.Answer | None, why: str, problem: str, message: str) -> Response:
    return visit.show(
        "verify.html",
        422 if problem else 200,
        answer=answer,
        why=visit.write.text(why),
        problem=visit.write.text(problem),
        message=message[:20_000],
        digits=SHORT,
        qr=_qr(visit, message),
    )
