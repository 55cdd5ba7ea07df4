"""What has to be true whatever failed: the read model is what the chain tells, and every notice went out once
or is accounted for.

The truth is the chain, read from block zero into an empty database, and the mail that arrived.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Engine, select

from duly.domain.errors import DulyError
from duly.services import run
from duly.services.chaos.scene import ONCE, Scene
from duly.services.index import Indexer
from duly.store import schema
from duly.store.database import open_engine, reading
from duly.store.notices import Delivery, NoticeStore, State
from duly.store.readmodel import ReadModel

_PATIENCE: Final = 1_200
"""Seconds of the chain's time after which whatever was put off is tried again."""
_ROUNDS: Final = 6


@dataclass(slots=True)
class Found:
    """What a look at a scene came to.

    notices: that the gate let through and that are on the chain. mails: that arrived. uncertain: shown to a
    person. vanished: sent, and their event left the chain. dropped: certainly not sent, by reason.
    duplicates, lost: notices that arrived more than once; that ought to have arrived and did not. wrong: in
    words, everything that must not be, those included.
    """

    blocks: int = 0
    events: int = 0
    notices: int = 0
    mails: int = 0
    uncertain: int = 0
    vanished: int = 0
    dropped: "Counter[str]" = field(default_factory=Counter)
    duplicates: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)


def dump(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the read model's tables."""
    with reading(engine) as connection:
        return {
            table.name: sorted(
                (tuple(row) for row in connection.execute(select(table))),
                key=lambda row: tuple((value is not None, str(value)) for value in row),
            )
            for table in schema.READ_MODEL
        }


def rebuilt(scene: Scene) -> ReadModel:
    """A read model in memory, made from the chain as it is, from its first block on."""
    model = ReadModel.open("sqlite://")
    Indexer.of(scene.w3, scene.deployment, model, "latest").run()
    return model


def differences(scene: Scene, truth: ReadModel) -> Iterator[str]:
    """Where the read model is not what a rebuild from block zero makes."""
    mine, theirs = dump(scene.app.read_model.engine), dump(truth.engine)
    for name, rows in theirs.items():
        if mine[name] != rows:
            surplus = [row for row in mine[name] if row not in rows]
            missing = [row for row in rows if row not in mine[name]]
            yield f"read model, {name}: {len(surplus)} rows too many, {len(missing)} missing"


def finish(scene: Scene) -> None:
    """With nothing failing any more, let the service finish whatever is left, by single rounds.

    Raises: ServiceFailed.
    """
    for _ in range(_ROUNDS):
        scene.pass_time(_PATIENCE)
        scene.once(*ONCE, allowed=(0, 1))
        if not waiting(scene):
            return


def waiting(scene: Scene) -> int:
    """How many notices could be served or delivered now, and were not yet."""
    app, now = scene.app, scene.stage.now
    if app.read_model.find_cursor() is None:
        return 0
    store = NoticeStore(app.read_model.engine)
    pending = sum(map(len, store.pending(scene.server, now)))
    return pending + len(run.planned(app, now)) + len(store.deliveries(states=[State.DEFERRED]))


def look(scene: Scene, found: Found, others: Sequence[str] = ()) -> None:
    """Compare what the service made of it all with the truth. Nothing of the service runs meanwhile.

    others: databases of further services, which may have delivered what the first one did not.
    """
    truth = rebuilt(scene)
    engines = [scene.app.read_model.engine, *map(open_engine, others)]
    stores = [NoticeStore(engine) for engine in engines]
    found.wrong += differences(scene, truth)
    on_chain = {each.id: each for each in truth.notices() if each.server.lower() == scene.server}
    arrived = Counter(notice for mail in scene.mail.mails() for notice in mail.notices)
    rows: dict[bytes, Delivery] = {}
    for each in (each for store in stores for each in store.deliveries()):
        known = rows.get(each.notice.id)
        if known is None or known.state in (State.DROPPED, State.DEFERRED):
            rows[each.notice.id] = each
    listed = {each.notice.id for store in stores for each in store.uncertain()}
    vanished = {each.notice.id for store in stores for each in store.vanished()}
    for notice, count in arrived.items():
        row = rows.get(notice)
        if count > 1:
            found.duplicates += 1
            found.wrong.append(f"{_name(notice)} arrived {count} times")
        if row is None or row.state in (State.DROPPED, State.DEFERRED):
            state = "nothing" if row is None else f"{row.state} ({row.reason})"
            found.wrong.append(f"{_name(notice)} arrived, and {state} is recorded of it")
        if notice not in on_chain and notice not in vanished:
            found.wrong.append(f"{_name(notice)} arrived, is not on the chain, and is not listed as such")
    for notice in on_chain:
        row = rows.get(notice)
        if row is None or row.state is State.DEFERRED:
            found.lost += 1
            found.wrong.append(f"{_name(notice)} was never delivered ({row.reason if row else 'no record'})")
    for notice, row in rows.items():
        if row.state is State.SENT and not arrived[notice]:
            found.lost += 1
            found.wrong.append(f"{_name(notice)} is recorded as sent, and did not arrive")
        if row.state in (State.UNCERTAIN, State.CLAIMED) and notice not in listed:
            found.wrong.append(f"{_name(notice)} may have been sent, and is not listed")
    left = len(run.planned(scene.app, scene.stage.now))
    if left:
        found.lost += left
        found.wrong.append(f"{left} notices are due, and were not served")
    found.blocks = scene.w3.eth.block_number
    found.events = sum(1 for _ in truth.events())
    found.notices, found.mails = len(on_chain), arrived.total()
    found.uncertain, found.vanished = len(listed), len(vanished)
    found.dropped = Counter(row.reason or "" for row in rows.values() if row.state is State.DROPPED)
    for engine in (truth.engine, *engines[1:]):
        engine.dispose()


def settled(scene: Scene) -> bool:
    """The running service has read the whole chain, and has nothing to do at the moment."""
    app = scene.app
    try:
        cursor = app.read_model.find_cursor()
        head = scene.stage.ask("eth_getBlockByNumber", "latest", False)
        if cursor is None or cursor.block.hash != bytes.fromhex(head["hash"][2:]):
            return False
        store = NoticeStore(app.read_model.engine)
        if store.pending(scene.server, scene.stage.now) or run.planned(app, scene.stage.now):
            return False
        return not [
            each for each in store.deliveries(states=[State.CLAIMED]) if each.notice.id not in _listed(store)
        ]
    except DulyError:
        return False


def _listed(store: NoticeStore) -> set[bytes]:
    return {each.notice.id for each in store.uncertain()}


def _name(notice: bytes) -> str:
    return f"notice 0x{notice.hex()[:16]}…"
