"""Where a transaction stands, for the pages that wait for one."""

import re
from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import Response

from duly.chain.errors import decode_refusal
from duly.interfaces.web.acting import in_words
from duly.interfaces.web.visit import NotFound, SignedIn
from duly.services import transactions

router = APIRouter(prefix="/transactions")
_HASH = re.compile(r"0x([0-9a-fA-F]{64})")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2}){0,2000}")


@router.get("/{transaction}")
def state(visit: SignedIn, transaction: str) -> Response:
    """The state of one; as a part of a page it asks again until nothing changes any more."""
    match = _HASH.fullmatch(transaction)
    if match is None:
        raise NotFound
    progress = transactions.progress(visit.app, bytes.fromhex(match[1]))
    refusal = in_words(progress.refusal, visit.write) if progress.refusal else ""
    template = "transaction_part.html" if visit.in_part else "transaction.html"
    return visit.show(template, progress=progress, refusal=refusal)


@router.post("/refusal")
def refusal(visit: SignedIn, data: Annotated[str, Form(max_length=5_000)] = "") -> Response:
    """What a wallet was told when it tried, in words."""
    if not _DATA.fullmatch(data):
        raise NotFound
    return visit.show(
        "refusal_part.html", refusal=in_words(decode_refusal(bytes.fromhex(data[2:])), visit.write)
    )
