"""Wires the floors together: one `Application`, whose parts are made when they are first asked for.

    application = Application.from_environment(rpc="http://127.0.0.1:8545")
    application.contracts.ledger.payoff(loan)
    application.sender.send(application.contracts.ledger.flag_missed(loan))

What a command does not ask for is neither imported nor connected to, and its settings are not needed.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from duly.config import Finality, Settings

if TYPE_CHECKING:
    from web3 import Web3

    from duly.chain.clock import Clock
    from duly.chain.contracts import Contracts
    from duly.chain.deployments import Deployment
    from duly.chain.keys import Signer
    from duly.chain.outbox import Outbox
    from duly.chain.sender import Sender
    from duly.chain.wake import Wake
    from duly.channels.message import Carrier
    from duly.domain.consent import Channel
    from duly.services.contact import Contact
    from duly.services.deliver import Deliverer
    from duly.services.desk import Desk
    from duly.services.help import Help
    from duly.services.index import Indexer
    from duly.services.papers import Papers
    from duly.services.portal import Portal
    from duly.services.portfolio import Portfolio
    from duly.services.queue import Queue
    from duly.services.relief import Relief
    from duly.services.serve import Server
    from duly.services.supervision import Supervision
    from duly.services.templates import TemplateSet
    from duly.services.webhook import Teller
    from duly.store.actions import ActionLog
    from duly.store.leases import Leases
    from duly.store.notices import NoticeStore
    from duly.store.offers import OfferStore
    from duly.store.readmodel import ReadModel
    from duly.store.reports import ReportStore
    from duly.store.sessions import SessionStore
    from duly.store.tokens import TokenStore
    from duly.store.vault import Vault

AskPassphrase = Callable[[Path], str]
"""Asks a person for the passphrase of a key file."""


class Application:
    """The parts of the program, for one chain.

    rpc: the node, where it is another than the settings say. ask: for the passphrase of the key file, where
    the settings do not hold it. deployment: given where it is recorded in no file, as that of a chain in this
    process.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        rpc: str | None = None,
        w3: "Web3 | None" = None,
        deployment: "Deployment | None" = None,
        account: "Signer | None" = None,
        ask: AskPassphrase | None = None,
    ) -> None:
        self.settings = settings
        self.rpc = rpc or settings.rpc
        self._ask = ask
        # A cached property that is set beforehand is never computed.
        if w3 is not None:
            self.w3 = w3
        if deployment is not None:
            self.deployment = deployment
        if account is not None:
            self.account = account

    @classmethod
    def from_environment(
        cls, *, rpc: str | None = None, ask: AskPassphrase | None = None, keystore: str | None = None
    ) -> Self:
        """The application that this process's environment describes.

        keystore: the name of the keystore to sign with, whatever else is set.

        Raises: InvalidSettings, naming every variable that is wrong; KeyRefused, where there is no such
        keystore.
        """
        settings = Settings.from_environment()
        if keystore is not None:
            from duly.chain.keys import find_keystore

            settings = replace(settings, key_file=find_keystore(keystore), signer_url=None)
        return cls(settings, rpc=rpc, ask=ask)

    # ------------------------------------------------------------------------------------ the chain

    @cached_property
    def w3(self) -> "Web3":
        """The chain. Raises: ChainUnavailable."""
        from duly.chain import networks

        return networks.connect(self.rpc)

    @cached_property
    def chain_id(self) -> int:
        """Its id."""
        from duly.chain.errors import explained

        with explained():
            return int(self.w3.eth.chain_id)

    @property
    def is_local(self) -> bool:
        """A chain for development."""
        from duly.chain import networks

        return networks.is_local(self.chain_id)

    @property
    def is_in_process(self) -> bool:
        """A chain that ends with this process."""
        from duly.chain import networks

        return networks.is_in_process(self.w3)

    @property
    def records(self) -> Path | None:
        """The folder of the deployments' records; None where the chain ends with this process."""
        return None if self.is_in_process else self.settings.deployments

    @cached_property
    def deployment(self) -> "Deployment":
        """What is deployed on the chain, and still there.

        Raises: NotDeployed, DeploymentLost, InvalidRecord.
        """
        from duly.chain import deployments

        found = deployments.load(self.settings.deployments, self.chain_id)
        deployments.check_chain(self.w3, found)
        return found

    @cached_property
    def contracts(self) -> "Contracts":
        """Its contracts. Raises: as `deployment`."""
        from duly.chain.contracts import Contracts

        return Contracts.at(self.w3, self.deployment)

    @cached_property
    def account(self) -> "Signer":
        """The key to sign with: the remote signer's, or the keystore file's; on local chains also a raw one,
        or that of development account 0, whose key everyone knows.

        Raises: KeyRefused, SignerUnavailable.
        """
        from eth_account import Account

        from duly.chain import networks
        from duly.chain.errors import KeyRefused
        from duly.chain.keys import RemoteSigner, check_raw_key, read_key_file

        settings = self.settings
        if settings.signer_url is not None:
            return RemoteSigner.of(settings.signer_url, settings.signer_address)
        if settings.key_file is not None:
            passphrase = settings.key_passphrase
            if passphrase is None and self._ask is not None:
                passphrase = self._ask(settings.key_file)
            if passphrase is None:
                raise KeyRefused(
                    f"the key file {settings.key_file} needs its passphrase",
                    remedy="Set DULY_KEY_PASSPHRASE.",
                )
            return read_key_file(settings.key_file, passphrase)
        if settings.private_key is not None:
            check_raw_key(self.chain_id)
            account: Signer = Account.from_key(settings.private_key)
            return account
        if self.is_local:
            return networks.development_account(self.w3)
        raise KeyRefused(
            f"there is no key to send transactions on chain {networks.chain_name(self.chain_id)} with",
            wanted="DULY_KEY_FILE, an encrypted keystore file, or DULY_SIGNER_URL, a remote signer",
        )

    @cached_property
    def sender(self) -> "Sender":
        """Sends transactions with that key.

        Raises: KeyRefused.
        """
        from duly.chain.sender import Sender

        return Sender(self.w3, self.account, self._outbox, ceiling=self.settings.fee_ceiling)

    @property
    def _outbox(self) -> "Outbox | None":
        """What all programs that use the database send from; None where there is no database yet, or the
        chain ends with this process.
        """
        from duly.store.database import exists

        if self.is_in_process or not ("read_model" in self.__dict__ or exists(self.settings.database)):
            return None
        from duly.chain.deployments import genesis_of
        from duly.store.outgoing import Outgoing

        return Outgoing(self.read_model.engine, bytes.fromhex(genesis_of(self.w3)[2:]))

    @cached_property
    def clock(self) -> "Clock":
        """The chain's time on local chains, this machine's elsewhere."""
        from duly.chain.clock import clock_of

        return clock_of(self.w3)

    @property
    def finality(self) -> Finality | int:
        """Which blocks to act on; a number: those with so many built upon them."""
        if self.settings.finality is not None:
            return self.settings.finality
        return Finality.LATEST if self.is_local else Finality.FINALIZED

    @cached_property
    def wake(self) -> "Wake | None":
        """What tells of each new block; None where no websocket is known."""
        from duly.chain.wake import Wake

        return Wake(self.websocket) if self.websocket else None

    @cached_property
    def websocket(self) -> str | None:
        """The address of the node's websocket, where one is known. Raises: InvalidNetwork."""
        from duly.chain import networks

        if self.settings.rpc_ws is not None:
            return self.settings.rpc_ws
        address = networks.address_of(self.rpc)
        return address if address.startswith(("ws://", "wss://")) else None

    # ------------------------------------------------------------------------------------ the store

    @cached_property
    def read_model(self) -> "ReadModel":
        """What the events tell, for questions. Raises: DatabaseError."""
        from duly.store.readmodel import ReadModel

        return ReadModel.open(self.settings.database)

    @cached_property
    def vault(self) -> "Vault":
        """The borrowers' contacts, encrypted. Raises: NoMasterKey, InvalidMasterKey, VaultError."""
        from duly.store.vault import MasterKey, NoMasterKey, Vault

        settings = self.settings
        if settings.master_key is not None:
            key = MasterKey.from_text(settings.master_key)
        elif settings.master_key_file is not None:
            file = settings.master_key_file
            guarded = settings.credentials is not None and file.is_relative_to(settings.credentials)
            key = MasterKey.from_file(file, guarded=guarded)
        elif settings.master_key_keyring is not None:
            key = MasterKey.from_keyring(settings.master_key_keyring)
        else:
            raise NoMasterKey(
                "there is no key to open the vault with",
                wanted="DULY_MASTER_KEY_FILE, DULY_MASTER_KEY_KEYRING or DULY_MASTER_KEY",
                remedy="Make one: duly vault init.",
            )
        return Vault.open(settings.vault, key)

    @cached_property
    def notice_store(self) -> "NoticeStore":
        """Words, claims and deliveries, in the read model's database. Raises: DatabaseError."""
        from duly.store.notices import NoticeStore

        return NoticeStore(self.read_model.engine)

    @cached_property
    def reports(self) -> "ReportStore":
        """What carriers report, in the read model's database. Raises: DatabaseError."""
        from duly.store.reports import ReportStore

        return ReportStore(self.read_model.engine)

    @cached_property
    def sessions(self) -> "SessionStore":
        """Who signed in to the portal, in the read model's database. Raises: DatabaseError."""
        from duly.store.sessions import SessionStore

        return SessionStore(self.read_model.engine)

    @cached_property
    def actions(self) -> "ActionLog":
        """What was done at the portal's desk, in the read model's database. Raises: DatabaseError."""
        from duly.store.actions import ActionLog

        return ActionLog(self.read_model.engine)

    # ----------------------------------------------------------------------------------- the channels

    @cached_property
    def carriers(self) -> "dict[Channel, Carrier]":
        """The ways to reach a borrower that are set. Raises: InvalidInput."""
        return self.new_carriers()

    @property
    def reaches_out(self) -> bool:
        """Whether any channel is set that goes to the borrower; the inbox alone waits until they look."""
        from duly.domain.consent import Channel

        return any(channel is not Channel.IN_APP for channel in self.carriers)

    def new_carriers(self) -> "dict[Channel, Carrier]":
        """The same, with connections of their own: a carrier is for one thread at a time."""
        from duly.channels.email import EmailCarrier
        from duly.channels.gateway import GatewayCarrier
        from duly.channels.inapp import InAppCarrier

        found: dict[Channel, Carrier] = {InAppCarrier.channel: InAppCarrier(lambda: self.vault)}
        if self.settings.mail is not None:
            found[EmailCarrier.channel] = EmailCarrier(self.settings.mail)
        for channel, gateway in self.settings.gateways.items():
            found[channel] = GatewayCarrier(channel, gateway)
        for channel, url in self.settings.apprise.items():
            from duly.channels.apprise import AppriseCarrier

            found[channel] = AppriseCarrier(channel, url)
        return found

    # ----------------------------------------------------------------------------------- the services

    @cached_property
    def offers(self) -> "OfferStore":
        """Offers of other terms that borrowers are shown. Raises: DatabaseError."""
        from duly.store.offers import OfferStore

        return OfferStore(self.read_model.engine)

    @cached_property
    def tokens(self) -> "TokenStore":
        """What lets programs into the portal. Raises: DatabaseError."""
        from duly.store.tokens import TokenStore

        return TokenStore(self.read_model.engine)

    @cached_property
    def teller(self) -> "Teller | None":
        """Tells the webhook's receiver what happens to loans; None where there is none."""
        from duly.services.webhook import Teller
        from duly.store.webhooks import WebhookStore

        if self.settings.webhook is None:
            return None
        store = WebhookStore(self.read_model.engine)
        return Teller(self.settings.webhook, store, self.read_model, self.deployment)

    @cached_property
    def indexer(self) -> "Indexer":
        """Reads the chain into the read model."""
        from duly.services.index import Indexer

        return Indexer.of(self.w3, self.deployment, self.read_model, self.finality)

    @cached_property
    def templates(self) -> "TemplateSet":
        """What notices are rendered from. Raises: InvalidTemplates."""
        from duly.services.render import load_templates

        return load_templates(self.settings.templates)

    @cached_property
    def server(self) -> "Server":
        """Serves notices with the application's key. Raises: InvalidTemplates."""
        from duly.services.serve import Server, place_of

        _ = self.read_model  # so that the sender keeps its transactions beside it
        return Server(
            contracts=self.contracts,
            sender=self.sender,
            read_model=self.read_model,
            store=self.notice_store,
            vault=self.vault,
            place=place_of(self.deployment),
            templates=self.templates,
        )

    @cached_property
    def deliverer(self) -> "Deliverer":
        """Delivers the notices that were served with the application's key."""
        return self.deliverer_with(self.carriers)

    def deliverer_with(self, carriers: "dict[Channel, Carrier]") -> "Deliverer":
        """The same, over other carriers."""
        from duly.services.deliver import Deliverer

        return Deliverer(
            server=self.account.address.lower(),
            contracts=self.contracts,
            read_model=self.read_model,
            store=self.notice_store,
            vault=self.vault,
            carriers=carriers,
            clock=self.clock,
        )

    @cached_property
    def queue(self) -> "Queue":
        """The queue of what is to be delivered. From then on the read model puts notices into it.

        Raises: InvalidInput, DatabaseError.
        """
        from duly.services.queue import Queue

        queue = Queue(self.read_model.engine, self.notice_store, self.settings.per_minute)
        self.read_model.on_served = queue.on_served
        return queue

    @cached_property
    def portal(self) -> "Portal":
        """What the web portal shows. Raises: as `deployment`, DatabaseError."""
        from duly.services.portal import Portal

        return Portal(self)

    @cached_property
    def contact(self) -> "Contact":
        """How borrowers are reached, for the portal. Raises: as `portal`."""
        from duly.services.contact import Contact

        return Contact(self)

    @cached_property
    def help(self) -> "Help":
        """What borrowers can ask for on a loan. Raises: as `portal`."""
        from duly.services.help import Help

        return Help(self)

    @cached_property
    def relief(self) -> "Relief":
        """Flexible repayment: what lenders offer, and borrowers accept. Raises: as `portal`."""
        from duly.services.relief import Relief

        return Relief(self)

    @cached_property
    def papers(self) -> "Papers":
        """What a borrower has in writing. Raises: as `portal`."""
        from duly.services.papers import Papers

        return Papers(self)

    @cached_property
    def portfolio(self) -> "Portfolio":
        """What a servicer's desk shows of many loans. Raises: as `portal`."""
        from duly.services.portfolio import Portfolio

        return Portfolio(self, self.portal)

    @cached_property
    def desk(self) -> "Desk":
        """What is done at the servicer's desk. Raises: as `portal`."""
        from duly.services.desk import Desk

        return Desk(self)

    @cached_property
    def supervision(self) -> "Supervision":
        """What a supervisor looks at. Raises: as `deployment`, DatabaseError."""
        from duly.services.supervision import Supervision

        return Supervision(self)

    @cached_property
    def leases(self) -> "Leases":
        """Who does what on this database. Raises: DatabaseError."""
        from duly.store.leases import Leases

        return Leases(self.read_model.engine, self.notice_store.worker)

    def close(self) -> None:
        """Let go of what was opened: connections to the mail server and the databases."""
        for carrier in self.__dict__.get("carriers", {}).values():
            carrier.close()
        if "queue" in self.__dict__:
            self.queue.close()
        if (wake := self.__dict__.get("wake")) is not None:
            wake.close()
        if "vault" in self.__dict__:
            self.vault.close()
        if "read_model" in self.__dict__:
            self.read_model.engine.dispose()
