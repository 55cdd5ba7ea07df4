"""Auditing a real chain: what the real gate let through, nothing in it breaks a rule."""

from world import Crowd, World, anvil

from duly.chain import networks
from duly.chain.logs import LogReader
from duly.domain.audit import Audit
from duly.domain.events import NoticeServed
from duly.services.audit import audit
from duly.store.readmodel import ReadModel

STEPS = 400


def test_whatever_a_crowd_does_the_gate_keeps_the_rules() -> None:
    with anvil() as url:
        world = World(networks.connect(url))
        model = ReadModel.open("sqlite://")
        crowd, indexer = Crowd(world, seed=7), world.indexer(model)
        indexer.run()
        for _ in range(STEPS):
            crowd.act(model)
            indexer.run()
        findings = audit(world.w3, world.source, tokens=world.token.address).audit.findings
        assert findings.violations == []
        # The crowd asks for much that it must not get.
        assert findings.notices >= 10
        assert findings.refused
        assert findings.loans >= 5
        # Looked for in another token, none of the money that moved is found.
        elsewhere = audit(world.w3, world.source, tokens=world.ledger.address).audit.findings
        assert set(elsewhere.broken) == {"LEDGER-2"}
        assert elsewhere.broken["LEDGER-2"] >= findings.loans

        # The same chain, had its gate let one notice through an hour before midnight instead.
        reader = LogReader(world.w3, world.source.addresses)
        auditor = Audit()
        for logged in reader.decode(
            reader.fetch(world.source.identity.first_block, world.w3.eth.block_number)
        ):
            if isinstance(logged.event, NoticeServed) and not auditor.findings.served:
                logged = logged._replace(timestamp=logged.timestamp - logged.timestamp % 86_400 - 3600)
            auditor.see(logged)
        assert "HOURS-1" in {violation.rule for violation in auditor.findings.violations}
