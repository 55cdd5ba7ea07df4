"""Whether the policies of a chain are what the packs say, from the packs and the chain alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from duly.chain.contracts import PolicyBook
from duly.domain.errors import InvalidInput
from duly.domain.pack import Comparison, PolicyPack, limit_values, text_of
from duly.domain.policy import ContactLimits, LendingLimits
from duly.domain.replay import Policy


class UnknownNumber(InvalidInput):
    """No policy has this number."""


@dataclass(frozen=True, slots=True)
class Published:
    """A policy as the chain has it."""

    number: int
    retired: bool
    lending: LendingLimits
    contact: ContactLimits
    templates: bytes
    pack: bytes


@dataclass(frozen=True, slots=True)
class Deviation:
    """A limit, or a hash, that is another on the chain than the pack says.

    allowed: a contact limit that is tighter than the pack's: it was tightened since, as it may be.
    """

    field: str
    chain: str
    pack: str
    allowed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of comparing one policy.

    name: of its pack, or the one that it is recorded under; None where neither is known. pack: what it was
    compared with; None where there was nothing.
    """

    policy: Published
    name: str | None
    pack: PolicyPack | None
    deviations: tuple[Deviation, ...]

    @property
    def passed(self) -> bool:
        """It is what its pack says, or tighter."""
        return self.pack is not None and all(item.allowed for item in self.deviations)


def verify(
    book: PolicyBook,
    packs: Iterable[PolicyPack],
    templates: bytes,
    *,
    recorded: Mapping[str, int],
    number: int | None = None,
) -> list[Verdict]:
    """Compare every published policy, or the one of that number, with its pack: that of its hash, else that
    of the name that it is recorded under.

    templates: the hash of those that are here. recorded: the numbers by name.

    Raises: UnknownNumber; ChainUnavailable.
    """
    count = book.count()
    if number is not None and not 1 <= number <= count:
        raise UnknownNumber(
            f"there is no policy {number}",
            wanted=f"a number from 1 to {count}" if count else "one that is published; there is none",
        )
    by_hash = {pack.pack_hash: pack for pack in packs}
    by_name = {pack.name: pack for pack in by_hash.values()}
    names = {found: name.upper() for name, found in recorded.items()}
    verdicts = []
    for each in range(1, count + 1) if number is None else (number,):
        policy = _read(book, each)
        name = names.get(each)
        pack = by_hash.get(policy.pack) or by_name.get(name or "")
        found = tuple(deviations(policy, pack, templates)) if pack else ()
        verdicts.append(Verdict(policy, pack.name if pack else name, pack, found))
    return verdicts


def _read(book: PolicyBook, number: int) -> Published:
    templates, pack = book.hashes_of(number)
    return Published(
        number=number,
        retired=book.state_of(number)[1],
        lending=book.lending_of(number),
        contact=book.contact_of(number),
        templates=templates,
        pack=pack,
    )


def deviations(policy: Published | Policy, pack: PolicyPack, templates: bytes) -> Iterable[Deviation]:
    """Where a policy on the chain is another than its pack says. templates: as for `verify`."""
    entries = pack.entries()
    for path, value in (limit_values(policy.lending) | limit_values(policy.contact)).items():
        entry = entries[path]
        comparison = entry.tightness.compare(value, entry.found.value)
        if comparison is not Comparison.SAME:
            # Only contact limits can be tightened after they were published.
            allowed = comparison is Comparison.TIGHTER and not path.startswith("lending.")
            yield Deviation(path, text_of(value, entry.tightness.unit), entry.text, allowed)
    for field, chain, wanted in (
        ("pack hash", policy.pack, pack.pack_hash),
        ("templates hash", policy.templates, templates),
    ):
        if chain != wanted:
            yield Deviation(field, "0x" + chain.hex(), "0x" + wanted.hex())
