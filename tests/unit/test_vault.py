"""The contact vault."""

from __future__ import annotations

import contextlib
import multiprocessing
import stat

import pytest
from databases import execute, rows, stored
from eth_abi import encode
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st

from duly.domain.consent import Channel
from duly.domain.errors import DulyError
from duly.domain.preferences import NO_PREFERENCES, Preferences
from duly.store import vault as module
from duly.store.database import DatabaseError, DatabaseTooNew, NotADatabase, open_engine
from duly.store.migrations import SERVICE
from duly.store.vault import (
    Handout,
    InvalidContact,
    InvalidMasterKey,
    MasterKey,
    NoMasterKey,
    Reading,
    UnknownBorrower,
    Vault,
    VaultError,
    WrongMasterKey,
    masked,
    normalise,
)

BORROWER = "0x" + "b1" * 20
OTHER = "0x" + "b2" * 20
ADDRESS = "wang.fang@example.org"


@pytest.fixture
def key() -> MasterKey:
    return MasterKey.generate()


@pytest.fixture
def url(vault_url) -> str:
    return vault_url


@pytest.fixture
def vault(url, key):
    with Vault.open(url, key) as vault:
        yield vault


def address_of(vault: Vault, borrower: str, channel: Channel) -> str | None:
    contact = vault.contact(borrower, channel, Reading("test"))
    return contact.address if contact else None


def prove(vault: Vault, borrower: str = BORROWER, channel: Channel = Channel.EMAIL) -> bytes:
    """Have a code sent and told; the commitment."""
    code = vault.new_code(borrower, channel)
    return vault.check_code(borrower, channel, code.code).hash


# ---------------------------------------------------------------------------------------------- what is kept


def test_borrower_1_the_schema_has_a_place_for_the_borrower_alone():
    # The row's key is the borrower of the loan; nothing else names, describes or relates a person.
    columns = {
        table.name: {column.name for column in table.columns} for table in module.metadata.sorted_tables
    }
    assert columns == {
        "vault": {
            *("id", "generation", "key_check", "own_key", "next_check", "next_own_key", "bridge"),
            *("log_count", "log_seal"),
        },
        "borrowers": {"borrower", "language", "preferences", "added_at"},
        "keys": {"borrower", "generation", "wrapped_key"},
        "contacts": {
            *("borrower", "channel", "sealed_address", "added_at", "changed_at"),
            *("verified_at", "verified_by"),
        },
        "persons": {"borrower", "channel", "generation", "person"},
        "codes": {"borrower", "channel", "hash", "sent_at", "tries"},
        "inbox": {"borrower", "name", "sealed_letter", "at", "expires_at"},
        "sent_codes": {"id", "borrower", "address_hash", "at"},
        "claims": {"notice", "claim", "at"},
        "log": {"id", "at", "borrower", "channel", "purpose", "about", "by", "seal"},
    }
    assert [column.name for column in module.contacts_table.primary_key] == ["borrower", "channel"]


def test_what_was_added_comes_back(vault):
    vault.add(BORROWER, Channel.EMAIL, f" {ADDRESS} ", language="zh")
    vault.add(BORROWER, Channel.SMS, "+44 (0)20".replace("(0)", "") + " 7946 0000", language="zh")
    assert address_of(vault, BORROWER, Channel.EMAIL) == ADDRESS
    assert address_of(vault, BORROWER.upper().replace("0X", "0x"), Channel.SMS) == "+442079460000"
    assert address_of(vault, OTHER, Channel.EMAIL) is None
    assert address_of(vault, BORROWER, Channel.PUSH) is None
    assert vault.language_of(BORROWER) == "zh"
    assert vault.language_of(OTHER) == "en"
    assert vault.channels_of(BORROWER) == [Channel.EMAIL, Channel.SMS]
    assert vault.borrowers() == [BORROWER]


def test_a_new_address_takes_the_place_of_the_old(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    before = prove(vault)
    vault.add(BORROWER, Channel.EMAIL, "new@example.org")
    assert address_of(vault, BORROWER, Channel.EMAIL) == "new@example.org"
    assert vault.commitment(BORROWER, Channel.EMAIL) is None
    assert before != prove(vault) == vault.commitment(BORROWER, Channel.EMAIL)


def test_a_commitment_is_the_hash_of_salt_channel_and_address(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    salt = vault.salt_for(BORROWER, b"contact\x00")
    assert prove(vault) == keccak(encode(["bytes32", "uint8", "string"], [salt, 0, ADDRESS]))


def test_equal_addresses_of_two_borrowers_have_nothing_in_common_on_chain(vault):
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, ADDRESS)])
    assert prove(vault) != prove(vault, OTHER)
    assert vault.salt_for(BORROWER, b"x") != vault.salt_for(OTHER, b"x")


def test_what_is_kept_is_all_that_a_decision_takes(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS, language="zh")
    commitment = prove(vault)
    kept = module.Kept(
        BORROWER, Channel.EMAIL, commitment, "zh", vault.salt_for(BORROWER, b"x"), verified=True
    )
    assert vault.kept(BORROWER, Channel.EMAIL, b"x") == kept
    contact = vault.contact(BORROWER, Channel.EMAIL, Reading("test"), b"x")
    assert contact == module.Contact(kept, ADDRESS)
    assert vault.kept(OTHER, Channel.EMAIL) is None


def test_salts_depend_on_their_purpose_and_stay(vault, url, key):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    salt = vault.salt_for(BORROWER, b"a")
    assert salt != vault.salt_for(BORROWER, b"b")
    with Vault.open(url, key) as again:
        assert again.salt_for(BORROWER, b"a") == salt


def test_a_salt_of_nobody(vault):
    with pytest.raises(UnknownBorrower):
        vault.salt_for(OTHER, b"a")


def test_all_or_none_are_added(vault):
    with pytest.raises(InvalidContact):
        vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "nobody")])
    assert vault.borrowers() == []


# ------------------------------------------------------------------------------------------ who may send it

FIRST, SECOND = b"\x01" * 32, b"\x02" * 32


def handed_out(vault: Vault, *claims: str, notices: tuple[bytes, ...] = (FIRST,)) -> list[str] | None:
    """The addresses that a message goes to, for whoever has these claims; None where another has it."""
    asked = tuple((BORROWER, Channel.EMAIL, Reading("delivery", "0x" + each.hex()), each) for each in notices)
    [contacts] = vault.hand_out([Handout(notices, claims, asked)])
    return None if contacts is None else [each.address for each in contacts]


def test_gate_2_the_first_to_ask_has_the_address_and_then_their_next_claim(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    assert handed_out(vault, "a1") == [ADDRESS]
    assert handed_out(vault, "b1") is None
    # Nobody is given it twice for one claim that has been followed, nor for what came before.
    assert handed_out(vault, "a1", "a2") == [ADDRESS]
    assert handed_out(vault, "a1") is None
    assert handed_out(vault, "a1", "b2") is None
    assert handed_out(vault, "a1", "a2", "a3") == [ADDRESS]


def test_gate_2_a_message_is_given_out_as_a_whole(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    assert handed_out(vault, "b1", notices=(SECOND,)) == [ADDRESS]
    assert handed_out(vault, "a1", notices=(FIRST, SECOND)) is None
    # Of what was refused nothing is taken, and nothing read.
    assert handed_out(vault, "b2", notices=(FIRST,)) == [ADDRESS]
    assert [entry.about for entry in vault.log()] == ["0x" + each.hex() for each in (SECOND, FIRST)]


def test_gate_2_of_two_who_ask_at_once_for_the_same_one_has_it(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    asked = ((BORROWER, Channel.EMAIL, Reading("delivery"), b""),)
    both = [Handout((FIRST, SECOND), ("a1",), asked), Handout((FIRST,), ("b1",), asked)]
    (mine, theirs) = vault.hand_out(both)
    assert (mine is None) != (theirs is None)


def test_gate_2_who_has_a_notice_is_known_for_days(url, key):
    now = 1_800_000_000
    with Vault.open(url, key, clock=lambda: now) as vault:
        vault.add(BORROWER, Channel.EMAIL, ADDRESS)
        assert handed_out(vault, "a1") == [ADDRESS]
        now += module.CLAIMED_SECONDS
        assert handed_out(vault, "b1") is None
        now += 3_600
        assert handed_out(vault, "b1", notices=(SECOND,)) == [ADDRESS]
        assert [row[0] for row in rows(url)["claims"]] == [SECOND]


# ---------------------------------------------------------------------------------------------------- person


def test_cap_1_addresses_of_one_person_are_found(vault):
    third, fourth = "0x" + "b3" * 20, "0x" + "b4" * 20
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    vault.add(OTHER, Channel.EMAIL, ADDRESS.replace("wang", "WANG"))
    vault.add(OTHER, Channel.SMS, "+4915112345678")
    vault.add(third, Channel.SMS, "+49 151 12345678")
    vault.add(fourth, Channel.EMAIL, "someone.else@example.org")
    person = vault.person_of(BORROWER)
    assert person == vault.person_of(OTHER) == vault.person_of(third)
    assert len({person, vault.person_of(fourth), vault.person_of("0x" + "b5" * 20)}) == 3
    assert vault.persons() == {one: vault.person_of(one) for one in (BORROWER, OTHER, third, fourth)}


def test_who_wrote_from_an_address_is_found(vault):
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
    assert vault.borrowers_at(Channel.EMAIL, ADDRESS.upper()) == [BORROWER]
    assert vault.borrowers_at(Channel.EMAIL, "nobody@example.org") == []
    assert vault.borrowers_at(Channel.PUSH, ADDRESS) == []
    vault.erase(BORROWER)
    assert vault.borrowers_at(Channel.EMAIL, ADDRESS) == []


def test_the_person_index_does_not_tell_the_address(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    elsewhere = Vault.open("sqlite://", MasterKey.generate())
    elsewhere.add(BORROWER, Channel.EMAIL, ADDRESS)
    assert vault.person_of(BORROWER) != elsewhere.person_of(BORROWER)
    elsewhere.close()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([Channel.EMAIL, Channel.SMS]), st.integers(0, 5)))
)
def test_cap_1_asking_for_one_and_for_all_agree(links):
    vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
    vault.add_all(
        (f"0x{who:040x}", channel, f"a{what}@example.org" if channel == 0 else f"+4915112345{what:02}")
        for who, channel, what in links
    )
    assert vault.persons() == {borrower: vault.person_of(borrower) for borrower in vault.borrowers()}
    vault.close()


# --------------------------------------------------------------------------------------------------- sealing


def test_priv_1_nothing_readable_is_in_the_file(vault, url):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    data = stored(url)
    assert bytes.fromhex(BORROWER[2:]) in data
    assert b"wang" not in data
    assert b"example" not in data


def test_what_was_sealed_for_one_cannot_be_read_as_anothers(vault, url):
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
    execute(url, "UPDATE contacts SET sealed_address = (SELECT max(sealed_address) FROM contacts)")
    with pytest.raises(VaultError, match="was altered"):
        [address_of(vault, one, Channel.EMAIL) for one in (BORROWER, OTHER)]


def test_a_key_moved_to_another_borrower_is_refused(vault, url):
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
    execute(url, "UPDATE keys SET wrapped_key = (SELECT max(wrapped_key) FROM keys)")
    with pytest.raises(VaultError, match="was altered"):
        [vault.salt_for(one, b"x") for one in (BORROWER, OTHER)]


def test_sealed_addresses_do_not_tell_their_length(vault, url):
    vault.add_all(
        [(BORROWER, Channel.EMAIL, "a@b.cc"), (OTHER, Channel.EMAIL, "a.longer.address@example.org")]
    )
    assert execute(url, "SELECT count(DISTINCT length(sealed_address)) FROM contacts") == [(1,)]


# --------------------------------------------------------------------------------------------------- erasing


def sealed(url) -> list[bytes]:
    queries = (
        "SELECT wrapped_key FROM keys",
        "SELECT sealed_address FROM contacts",
        "SELECT person FROM persons",
    )
    return [value for query in queries for (value,) in execute(url, query)]


def test_priv_1_erasing_leaves_no_byte_behind(vault, url):
    borrowers = [f"0x{keccak(bytes([number]))[:20].hex()}" for number in range(200)]
    vault.add_all((borrower, Channel.EMAIL, f"{borrower}@example.org") for borrower in borrowers)
    before, data = sealed(url), stored(url)
    assert all(value in data for value in before)
    assert vault.erase(*borrowers[::2]) == 100
    kept, data = set(sealed(url)), stored(url)
    lost = [value for value in before if value not in kept]
    assert len(lost) == 300
    assert not [value for value in lost if value in data]
    assert set(vault.borrowers()) == set(borrowers[1::2])


def test_priv_1_who_comes_back_is_somebody_else(vault):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    old = prove(vault)
    salt = vault.salt_for(BORROWER, b"content")
    assert vault.erase(BORROWER) == 1
    assert vault.erase(BORROWER) == 0
    assert address_of(vault, BORROWER, Channel.EMAIL) is None
    # The same person, back again: a new key, so neither hash can be made again.
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    assert prove(vault) != old
    assert vault.salt_for(BORROWER, b"content") != salt


def guessed(data: bytes, master: MasterKey, commitment: bytes, candidates: list[str]) -> list[str]:
    """Whose commitment it may be, for somebody who has the vault's bytes, the master key and a list of
    candidates: every key that was ever wrapped in the file is tried, and every 32 bytes of it as key or salt.
    """
    keys = set()
    wrapper = module.AESGCM(master.derive(b"wrap"))
    borrower = bytes.fromhex(BORROWER[2:])
    for at in range(len(data) - 59):
        if keys:
            break
        with contextlib.suppress(module.InvalidTag):
            # Nonce, sealed key, tag: what a wrapped key looks like wherever it lies.
            keys.add(wrapper.decrypt(data[at : at + 12], data[at + 12 : at + 60], b"duly/key/1" + borrower))
    salts = {module._salt(key, b"contact\x00") for key in keys}
    salts |= {data[at : at + 32] for at in range(0, len(data) - 31, 4)}
    salts |= {master.derive(purpose) for purpose in (b"check", b"wrap", b"person", b"bridge")}
    return [
        address
        for address in candidates
        if any(
            keccak(encode(["bytes32", "uint8", "string"], [salt, 0, address])) == commitment for salt in salts
        )
    ]


def test_priv_1_after_erasing_nothing_can_be_linked(vault, key, url):
    candidates = ["someone.else@example.org", ADDRESS]
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
    code = vault.new_code(BORROWER, Channel.EMAIL)
    commitment = vault.check_code(BORROWER, Channel.EMAIL, code.code).hash
    content = keccak(vault.salt_for(BORROWER, b"content") + b"words")
    ((wrapped,),) = execute(url, "SELECT own_key FROM vault")
    own_key = module._Keys.of(key).unwrap(b"duly/vault/own/1", wrapped)
    # What of the address is in the file, in forms that whoever has the master key can make again.
    traces = [
        module._person(key.derive(b"person"), Channel.EMAIL, ADDRESS),
        module._limited(module.derive(own_key, b"duly/codes/1"), Channel.EMAIL, ADDRESS),
    ]
    before = stored(url)
    assert guessed(before, key, commitment, candidates) == [ADDRESS]
    assert all(trace in before for trace in traces)

    vault.erase(BORROWER)
    after = stored(url)
    assert guessed(after, key, commitment, candidates) == []
    assert not any(trace in after for trace in traces)
    # Nor a content hash, though the words are known.
    salts = {keccak(after[at : at + 32] + b"words") for at in range(len(after) - 31)}
    assert content not in salts
    with pytest.raises(UnknownBorrower):
        vault.salt_for(BORROWER, b"content")
    # The log still tells of the borrower's readings, and of nobody's address.
    assert [entry.purpose for entry in vault.log(BORROWER)] == ["verification", "erasure"]


def test_wishes_are_kept_beside_the_language_and_erased_with_the_rest(vault, url):
    wishes = Preferences(hours=(1080, 1230), zone="Europe/Athens", days_before=(7, 1), on_due_day=False)
    with pytest.raises(UnknownBorrower):
        vault.prefer(BORROWER, wishes)
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, "other@example.org")])
    assert vault.preferences() == {}
    assert vault.preferences_of(BORROWER) == NO_PREFERENCES
    vault.prefer(BORROWER, wishes)
    vault.add(BORROWER, Channel.EMAIL, "new@example.org", language="zh")
    vault.rotate(MasterKey.generate())
    assert vault.preferences() == {BORROWER: wishes}
    assert vault.preferences_of(BORROWER) == vault.record(BORROWER).preferences == wishes
    assert vault.record(OTHER).preferences == NO_PREFERENCES
    assert b"Europe/Athens" in stored(url)
    vault.erase(BORROWER)
    assert b"Europe/Athens" not in stored(url)
    assert vault.preferences_of(BORROWER) == NO_PREFERENCES
    # Who takes all wishes back is like whoever never told any.
    vault.prefer(OTHER, wishes)
    vault.prefer(OTHER, NO_PREFERENCES)
    assert vault.preferences() == {}


def test_what_another_process_erased_is_gone_at_once(vault, url, key):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    with Vault.open(url, key) as other:
        assert address_of(other, BORROWER, Channel.EMAIL) == ADDRESS
        vault.erase(BORROWER)
        assert address_of(other, BORROWER, Channel.EMAIL) is None


# ------------------------------------------------------------------------------------------------ master key


def test_a_wrong_master_key_is_told_at_opening_and_loses_nothing(vault, url, key):
    vault.add(BORROWER, Channel.EMAIL, ADDRESS)
    before = rows(url)
    with pytest.raises(WrongMasterKey, match="nothing was changed"):
        Vault.open(url, MasterKey.generate())
    assert rows(url) == before
    assert address_of(Vault.open(url, key), BORROWER, Channel.EMAIL) == ADDRESS


def test_rotating_keeps_addresses_commitments_and_salts(vault, url, key):
    vault.add_all([(BORROWER, Channel.EMAIL, ADDRESS), (OTHER, Channel.EMAIL, ADDRESS)], language="zh")
    prove(vault)
    commitment, salt = vault.commitment(BORROWER, Channel.EMAIL), vault.salt_for(OTHER, b"x")
    stale = Vault.open(url, key)
    new = MasterKey.generate()
    assert vault.rotate(new) == 2
    with pytest.raises(WrongMasterKey):
        Vault.open(url, key)
    with pytest.raises(WrongMasterKey):
        stale.add("0x" + "b3" * 20, Channel.EMAIL, ADDRESS)
    for rotated in (vault, Vault.open(url, new)):
        assert address_of(rotated, BORROWER, Channel.EMAIL) == ADDRESS
        assert rotated.commitment(BORROWER, Channel.EMAIL) == commitment
        assert rotated.salt_for(OTHER, b"x") == salt
        assert rotated.person_of(BORROWER) == rotated.person_of(OTHER)
        assert rotated.language_of(OTHER) == "zh"


def test_key_texts():
    secret = bytes(range(32))
    for text in (secret.hex(), "0x" + secret.hex(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"):
        assert MasterKey.from_text(text).derive(b"x") == MasterKey(secret).derive(b"x")
    for text in ("", "abc", "sesame" * 5, secret.hex()[:-2], "é" * 44):
        with pytest.raises(InvalidMasterKey) as caught:
            MasterKey.from_text(text)
        assert not text or text not in str(caught.value)


def test_a_key_is_not_printed(key, tmp_path):
    key.create_file(tmp_path / "key")
    text = (tmp_path / "key").read_text().strip()
    assert text not in f"{key!r}{key}{vars(type(key))}"


def test_a_key_file_is_its_owners_alone(key, tmp_path):
    path = tmp_path / "keys" / "key"
    key.create_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKey.from_file(path).derive(b"x") == key.derive(b"x")
    with pytest.raises(VaultError, match="already"):
        key.create_file(path)
    path.chmod(0o640)
    with pytest.raises(InvalidMasterKey, match="others may read"):
        MasterKey.from_file(path)
    with pytest.raises(NoMasterKey):
        MasterKey.from_file(tmp_path / "none")


# -------------------------------------------------------------------------------------------------- database


def test_the_vaults_file_is_its_owners_alone(key, tmp_path):
    with Vault.open(f"sqlite:///{tmp_path / 'a.db'}", key) as vault:
        vault.add(BORROWER, Channel.EMAIL, ADDRESS)
        assert [each.name for each in tmp_path.iterdir()] == ["a.db"]
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


def test_another_database_is_not_taken_for_a_vault(empty, key):
    execute(empty, "CREATE TABLE loans (id INTEGER)", "INSERT INTO loans VALUES (1)")
    with pytest.raises(VaultError, match="another database"):
        Vault.open(empty, key)
    assert rows(empty) == {"loans": [(1,)]}


def test_vault_and_service_are_not_kept_in_one_database(url, empty, key):
    engine = open_engine(empty)
    SERVICE.prepare(engine)
    before = rows(empty)
    with pytest.raises(DulyError) as caught:
        Vault.open(empty, key)
    assert "DULY_VAULT" in caught.value.remedy
    assert rows(empty) == before
    engine.dispose()
    Vault.open(url, key).close()
    engine = open_engine(url)
    with pytest.raises(DatabaseError, match="this database is the contact vault"):
        SERVICE.prepare(engine)
    engine.dispose()


def test_a_vault_of_a_later_program_is_refused_and_left_alone(vault, url, key):
    execute(url, "UPDATE alembic_version SET version_num = 'vault_9999'")
    before = rows(url)
    with pytest.raises(DatabaseTooNew, match="vault_9999"):
        Vault.open(url, key)
    assert rows(url) == before


@pytest.mark.parametrize("wrong", ["oracle://user:sesame@host/x", "nonsense"])
def test_other_urls(wrong, key):
    with pytest.raises(DatabaseError, match="no database URL") as caught:
        Vault.open(wrong, key)
    assert caught.value.remedy == "Correct DULY_VAULT."
    assert "sesame" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path, key):
    (tmp_path / "text").write_text("nothing of the kind" * 100)
    with pytest.raises(NotADatabase) as caught:
        Vault.open(f"sqlite:///{tmp_path / 'text'}", key)
    assert "DULY_VAULT" in caught.value.remedy
    with pytest.raises(VaultError, match="cannot be opened"):
        Vault.open(f"sqlite:///{tmp_path / 'no' / 'where'}", key)


def _open_and_add(url: str, number: int) -> None:
    with Vault.open(url, MasterKey.from_text("5a" * 32)) as vault:
        for i in range(5):
            vault.add(f"0x{number * 100 + i:040x}", Channel.EMAIL, f"b{number}.{i}@example.org")


def test_many_processes_at_once(url):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_open_and_add, args=(url, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    with Vault.open(url, MasterKey.from_text("5a" * 32)) as vault:
        assert len(vault.borrowers()) == 20


# ------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        ("a@example.org", "a@example.org"),
        (" First.Last+tag@Example.ORG\n", "First.Last+tag@example.org"),
        ("o'brien@sub.example.co", "o'brien@sub.example.co"),
        ("a@xn--fiqs8s.xn--fiqs8s", "a@xn--fiqs8s.xn--fiqs8s"),
    ],
)
def test_e_mail_addresses(given_, kept):
    assert normalise(Channel.EMAIL, given_) == kept


@pytest.mark.parametrize(
    "address",
    [
        "", "@", "a", "a@", "@b.cc", "a@b", "a@b.c", "a@@b.cc", "a b@c.dd", "a@b..cc", ".a@b.cc", "a.@b.cc",
        "a..b@c.dd", "a@-b.cc", "a@b-.cc", "a@b.123", "a@[127.0.0.1]", '"a"@b.cc', "a@b.cc,d@e.ff",
        "a@b.cc\r\nBcc: d@e.ff", "a\n@b.cc", "Name <a@b.cc>", "é@b.cc", "a@é.cc", "a@b.cc\x00",
        "x" * 65 + "@b.cc", "a@" + "b" * 64 + ".cc", "a@" + "b." * 130 + "cc",
    ],
)  # fmt: skip
def test_what_is_no_e_mail_address(address):
    with pytest.raises(InvalidContact) as caught:
        normalise(Channel.EMAIL, address)
    assert len(address) < 3 or address not in f"{caught.value}{caught.value.wanted}{caught.value.remedy}"


@pytest.mark.parametrize(
    "address", ["", "12345678", "+0123456789", "+12", "+49 151 abc", "+1234567890123456"]
)
def test_what_is_no_telephone_number(address):
    with pytest.raises(InvalidContact):
        normalise(Channel.SMS, address)


@given(st.text())
def test_whatever_is_accepted_has_no_control_characters_and_stays(text):
    for channel in Channel:
        try:
            kept = normalise(channel, text)
        except InvalidContact:
            continue
        assert kept.isascii()
        assert kept.isprintable()
        assert " " not in kept
        assert normalise(channel, kept) == kept


@given(st.text(max_size=60))
def test_a_contact_in_the_borrowers_place_is_not_repeated(text):
    vault = Vault.open("sqlite://", MasterKey.from_text("5a" * 32))
    with pytest.raises(DulyError) as caught:
        vault.add(text + "@example.org", Channel.EMAIL, ADDRESS)
    assert "example.org" not in str(caught.value)
    vault.close()


def test_masked():
    assert masked(Channel.EMAIL, ADDRESS) == "w***@e***.org"
    assert masked(Channel.SMS, "+442079460000") == "***00"
    kept = module.Kept(BORROWER, Channel.EMAIL, b"", "en", b"", verified=True)
    assert ADDRESS not in repr(module.Contact(kept, ADDRESS))
    assert ADDRESS not in repr(module.Code(BORROWER, Channel.EMAIL, ADDRESS, "en", "123456"))
