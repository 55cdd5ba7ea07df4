"""Reads the environment, once, and says everything that is wrong with it at once.

| variable | meaning | default |
|---|---|---|
| `DULY_RPC`, `DULY_RPC_FILE` | node: address, name (`--network`) or `tester:` | http://127.0.0.1:8545 |
| `DULY_DEPLOYMENTS` | folder of the deployments' records | deployments |
| `DULY_KEY_FILE` | encrypted key (keystore, JSON) that sends transactions | |
| `DULY_KEY_PASSPHRASE`, `DULY_KEY_PASSPHRASE_FILE` | its passphrase; asked for where it is missing | |
| `DULY_PRIVATE_KEY` | raw key in hex, for local chains only | the well-known development account there |
| `DULY_SIGNER_URL`, `DULY_SIGNER_URL_FILE` | remote signer (Web3Signer, Clef) that has the key instead | |
| `DULY_SIGNER_ADDRESS` | which of the signer's accounts, where it has several | |
| `DULY_FEE_CEILING` | gwei for a unit of gas that a transaction offers at most | 500 |
| `DULY_TEMPLATES` | folder of notice templates of one's own (docs/words.md) | those of the program |
| `DULY_RPC_WS`, `DULY_RPC_WS_FILE` | the node's websocket, which wakes `duly run` | `DULY_RPC` if it is |
| `DULY_FINALITY` | act on `finalized`, `safe` or `latest` blocks, or N deep | `finalized`; `latest` locally |
| `DULY_DATABASE`, `DULY_DATABASE_FILE` | read model, as an SQLAlchemy address | sqlite:///duly.db |
| `DULY_VAULT`, `DULY_VAULT_FILE` | contact vault, as an SQLAlchemy address | sqlite:///duly-vault.db |
| `DULY_MASTER_KEY` | the vault's master key: 32 bytes, in hex or base64 | |
| `DULY_MASTER_KEY_FILE` | file that holds it instead (`duly vault init` makes one) | |
| `DULY_MASTER_KEY_KEYRING` | entry of the system's keyring that holds it instead: service/name | |
| `DULY_PER_MINUTE` | most messages a minute on a channel, such as email=600,sms=60 | no limit |
| `DULY_SMTP_HOST` | mail server; without it no e-mail is sent | |
| `DULY_SMTP_PORT` | its port | 465 with `tls`, 587 with `starttls`, 25 with `none` |
| `DULY_SMTP_TLS` | `starttls`, `tls` or `none` | `starttls` |
| `DULY_SMTP_USER`, `DULY_SMTP_PASSWORD`, `DULY_SMTP_PASSWORD_FILE` | log-in, where the server wants one | |
| `DULY_SMTP_SENDER` | address that mail comes from | |
| `DULY_SMTP_BOUNCES` | address that takes `name+anything@`, to which undeliverable mail goes | the sender |
| `DULY_SMTP_CONNECTIONS` | connections to the mail server at once, in each worker | 4 |
| `DULY_SMS_URL`, `DULY_SMS_URL_FILE` | HTTP gateway for SMS (docs/channels.md) | |
| `DULY_SMS_TOKEN`, `DULY_SMS_TOKEN_FILE` | bearer token for it | |
| `DULY_SMS_APPRISE`, `DULY_SMS_APPRISE_FILE` | instead: an Apprise URL with `{address}` in it | |
| `DULY_PUSH_URL`, `DULY_PUSH_URL_FILE` | HTTP gateway for push messages | |
| `DULY_PUSH_TOKEN`, `DULY_PUSH_TOKEN_FILE` | bearer token for it | |
| `DULY_PUSH_APPRISE`, `DULY_PUSH_APPRISE_FILE` | instead: an Apprise URL | |
| `DULY_LISTEN` | where `duly run` answers to a monitoring system: host:port | |
| `DULY_WEB_LISTEN` | where `duly web` answers: host:port | 127.0.0.1:8080 |
| `DULY_WEB_ORIGIN` | how browsers reach it, such as https://loans.example.org | where it answers |
| `DULY_WEB_OFFICERS` | addresses of the compliance officers who may sign in | |
| `DULY_WEB_AUDITORS` | addresses of the auditors who may sign in | |
| `DULY_WEB_PROXIES` | addresses of proxies in front of it, whose word on who asks is taken | |
| `DULY_WEBHOOK_URL`, `DULY_WEBHOOK_URL_FILE` | a program that is told what happens to loans (docs/api.md) | |
| `DULY_WEBHOOK_SECRET`, `DULY_WEBHOOK_SECRET_FILE` | what requests to it are signed with | |
| `DULY_LOG_FORMAT` | how `duly run` writes its log: `json` or `console` | `console` on a terminal |
| `DULY_LOG_LEVEL` | from `debug`, `info`, `warning` or `error` on | `info`; `warning` with `console` |

A name that ends in `_FILE` is that of a file which holds the value: how containers and service managers hand
over what is secret.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from duly.domain.consent import Channel
from duly.domain.errors import InvalidInput

DEFAULT_RPC: Final = "http://127.0.0.1:8545"
MAIL_CONNECTIONS: Final = 4

_Choice = TypeVar("_Choice", bound=StrEnum)
_PREFIX: Final = "DULY_"
_KEY = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_CHANNELS: Final = {channel.label: channel for channel in Channel}
_GWEI: Final = 10**9
_IN_MEMORY: Final = ("sqlite://", "sqlite:///:memory:")
_SCHEMES: Final = ("http", "https", "ws", "wss")
_BOUNCES: Final = re.compile(r"[A-Za-z0-9._-]{1,15}@[A-Za-z0-9.-]+")


class InvalidSettings(InvalidInput):
    """The settings in the environment cannot be right."""


class Finality(StrEnum):
    """Which blocks to act on: those that cannot be, are unlikely to be, or may well be undone."""

    FINALIZED = "finalized"
    SAFE = "safe"
    LATEST = "latest"


class LogFormat(StrEnum):
    """How the log is written: a line of JSON for each event, or words for people."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """From where on events are written to the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class MailSecurity(StrEnum):
    """How the connection to a mail server is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


_MAIL_PORTS: Final = {MailSecurity.STARTTLS: 587, MailSecurity.TLS: 465, MailSecurity.NONE: 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A mail server, and whom its mail comes from."""

    host: str
    port: int
    security: MailSecurity
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = MAIL_CONNECTIONS
    bounces: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where something listens. An IPv6 address stands without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """From host:port, such as 127.0.0.1:9464; port 0 takes any that is free. None where it is not."""
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:/\[\]]+)):([0-9]{1,5})", text, re.ASCII)
        if match is None or int(match[3]) > 65_535:
            return None
        return cls(match[1] or match[2], int(match[3]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """An HTTP gateway that carries messages."""

    url: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A program that is told what happens to loans, and what it knows our requests by."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Web:
    """The portal.

    origin: scheme, host and port as browsers see them; None where nothing stands in front of it. officers,
    auditors: lower-case addresses of who may sign in as one. proxies: whose word on who asks is taken.
    """

    listen: Endpoint = Endpoint("127.0.0.1", 8080)
    origin: str | None = None
    officers: frozenset[str] = frozenset()
    auditors: frozenset[str] = frozenset()
    proxies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the environment says. What it says nothing about is None, or the default of the table
    above.

    Secrets do not show when settings are printed.
    """

    rpc: str = field(default=DEFAULT_RPC, repr=False)
    deployments: Path = Path("deployments")
    key_file: Path | None = None
    key_passphrase: str | None = field(default=None, repr=False)
    private_key: bytes | None = field(default=None, repr=False)
    signer_url: str | None = field(default=None, repr=False)
    signer_address: str | None = None
    fee_ceiling: int = 500 * _GWEI
    templates: Path | None = None
    rpc_ws: str | None = field(default=None, repr=False)
    finality: Finality | int | None = None
    database: str = field(default="sqlite:///duly.db", repr=False)
    vault: str = field(default="sqlite:///duly-vault.db", repr=False)
    master_key: str | None = field(default=None, repr=False)
    master_key_file: Path | None = None
    master_key_keyring: str | None = None
    mail: MailServer | None = None
    gateways: Mapping[Channel, Gateway] = field(default_factory=dict)
    apprise: Mapping[Channel, str] = field(default_factory=dict, repr=False)
    per_minute: Mapping[Channel, int] = field(default_factory=dict)
    listen: Endpoint | None = None
    web: Web = field(default_factory=Web)
    webhook: Webhook | None = None
    log_format: LogFormat | None = None
    log_level: LogLevel | None = None
    credentials: Path | None = None
    """The folder in which systemd hands over secrets; others than their owner cannot enter it."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The settings that an environment holds; by default, that of this process.

        Raises: InvalidSettings, naming every variable that is wrong or unknown.
        """
        reader = _Reader(os.environ if environment is None else environment)
        settings = cls(
            rpc=reader.rpc(),
            deployments=Path(reader.text("DEPLOYMENTS", "deployments")),
            key_file=reader.file("KEY_FILE"),
            key_passphrase=reader.secret("KEY_PASSPHRASE"),
            private_key=reader.key("PRIVATE_KEY"),
            signer_url=reader.signer(),
            signer_address=reader.address("SIGNER_ADDRESS"),
            fee_ceiling=reader.gwei("FEE_CEILING", 500),
            templates=reader.folder("TEMPLATES"),
            rpc_ws=reader.websocket(),
            finality=reader.finality(),
            **reader.databases(),
            master_key=reader.master_key(),
            master_key_file=reader.path("MASTER_KEY_FILE"),
            master_key_keyring=reader.keyring(),
            mail=reader.mail(),
            gateways=reader.gateways(),
            apprise=reader.apprise(),
            per_minute=reader.per_minute(),
            listen=reader.endpoint("LISTEN"),
            web=reader.web(),
            webhook=reader.webhook(),
            log_format=reader.choice("LOG_FORMAT", LogFormat, None),
            log_level=reader.choice("LOG_LEVEL", LogLevel, None),
            credentials=reader.credentials,
        )
        reader.finish()
        return settings


class _Reader:
    """Reads variables, and gathers what is wrong with them. No message repeats a secret."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {
            name.removeprefix(_PREFIX): value
            for name, value in environment.items()
            # An empty variable is how shells and containers say that there is none.
            if name.startswith(_PREFIX) and value.strip()
        }
        self._known: set[str] = {"ANVIL_PORT"}  # read by tools/brownie_launcher.py
        self._problems: list[str] = []
        folder = environment.get("CREDENTIALS_DIRECTORY")
        self.credentials = Path(folder) if folder else None

    def finish(self) -> None:
        unknown = sorted(self._values.keys() - self._known)
        if unknown:
            known = ", ".join(_PREFIX + name for name in sorted(self._known))
            names = ", ".join(_PREFIX + name for name in unknown)
            self._problems.append(f"{names}: no such setting (there are {known})")
        if self._problems:
            raise InvalidSettings(
                "\n".join(self._problems), remedy="Correct these environment variables and try again."
            )

    def problem(self, name: str, problem: str) -> None:
        self._problems.append(f"{_PREFIX}{name}: {problem}")

    def optional(self, name: str, *, strip: bool = True) -> str | None:
        self._known.add(name)
        value = self._values.get(name)
        return value.strip() if value is not None and strip else value

    def given(self, *names: str) -> list[str]:
        """Which of these variables are set, or name a file that holds their value."""
        return [each for name in names for each in (name, f"{name}_FILE") if each in self._values]

    def secret(self, name: str, *, strip: bool = False) -> str | None:
        """A value that may stand in a file of its own, less the end of its line.

        strip: blanks around it are none of it.
        """
        value = self.optional(name, strip=strip)
        path = self.path(f"{name}_FILE")
        if path is None:
            return value
        if value is not None:
            self.problem(name, f"{_PREFIX}{name}_FILE is set as well; give one of them")
        try:
            found = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            self.problem(f"{name}_FILE", f"{path} cannot be read: {reason}")
            return None
        if not found.strip():
            self.problem(f"{name}_FILE", f"{path} is empty")
        return (found.strip() if strip else found) or None

    def databases(self) -> dict[str, str]:
        database = self.secret("DATABASE", strip=True) or "sqlite:///duly.db"
        vault = self.secret("VAULT", strip=True) or "sqlite:///duly-vault.db"
        if database == vault and vault not in _IN_MEMORY:
            self.problem("VAULT", "the same as DULY_DATABASE; the vault needs a database of its own")
        return {"database": database, "vault": vault}

    def endpoint(self, name: str) -> Endpoint | None:
        value = self.optional(name)
        if value is None:
            return None
        found = Endpoint.parse(value)
        if found is None:
            self.problem(name, f"{value!r} is not host:port, such as 127.0.0.1:9464")
        return found

    def web(self) -> Web:
        return Web(
            listen=self.endpoint("WEB_LISTEN") or Web().listen,
            origin=self.origin("WEB_ORIGIN"),
            officers=self.addresses("WEB_OFFICERS"),
            auditors=self.addresses("WEB_AUDITORS"),
            proxies=tuple(self.listed("WEB_PROXIES")),
        )

    def origin(self, name: str) -> str | None:
        value = self.optional(name)
        if value is None:
            return None
        value = value.removesuffix("/").lower()
        match = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", value, re.ASCII)
        if match is None:
            self.problem(name, f"{value!r} is not an origin, such as https://loans.example.org")
        elif match[1] == "http" and not _here(match[2].strip("[]")):
            self.problem(name, "https is needed for any host but this machine's own")
        return value

    def listed(self, name: str) -> list[str]:
        return [each for each in re.split(r"[,\s]+", self.optional(name) or "") if each]

    def addresses(self, name: str) -> frozenset[str]:
        found = self.listed(name)
        for value in found:
            if not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
                self.problem(name, f"{value!r} is not an address")
        return frozenset(value.lower() for value in found)

    def text(self, name: str, default: str) -> str:
        return self.optional(name) or default

    def choice(self, name: str, kind: type[_Choice], default: _Choice | None) -> _Choice | None:
        value = self.optional(name)
        if value is None:
            return default
        try:
            return kind(value.lower())
        except ValueError:
            self.problem(name, f"{value!r} is none of {', '.join(kind)}")
            return default

    def rpc(self) -> str:
        value = self.secret("RPC", strip=True) or DEFAULT_RPC
        try:
            parts = urlsplit(value)
            named = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", value) is not None
            right = value == "tester:" or named or (parts.scheme in _SCHEMES and bool(parts.hostname))
        except ValueError:
            right = False
        if not right:
            # Addresses of providers carry keys: not repeated.
            self.problem(
                "RPC", "neither an address such as http://127.0.0.1:8545, wss://… or tester:, nor a name"
            )
        return value

    def websocket(self) -> str | None:
        value = self.secret("RPC_WS", strip=True)
        if value is not None:
            try:
                parts = urlsplit(value)
                right = parts.scheme in ("ws", "wss") and bool(parts.hostname)
            except ValueError:
                right = False
            if not right:
                self.problem("RPC_WS", "not an address such as ws://127.0.0.1:8545 or wss://…")
        return value

    def finality(self) -> Finality | int | None:
        value = self.optional("FINALITY")
        if value is not None and re.fullmatch(r"[0-9]{1,6}", value, re.ASCII):
            return int(value)
        if value is not None and value.lower() not in list(Finality):
            self.problem(
                "FINALITY", f"{value!r} is none of {', '.join(Finality)}, nor a number of blocks such as 12"
            )
            return None
        return None if value is None else Finality(value.lower())

    def key(self, name: str) -> bytes | None:
        value = self.optional(name)
        if value is None:
            return None
        match = _KEY.fullmatch(value)
        if not match:
            self.problem(name, "not a key of 64 hexadecimal digits")
            return None
        return bytes.fromhex(match[1])

    def signer(self) -> str | None:
        value = self.secret("SIGNER_URL", strip=True)
        if value is None:
            return None
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", value):
            self.problem("SIGNER_URL", "not an address such as http://127.0.0.1:9000")
        for other in ("KEY_FILE", "PRIVATE_KEY"):
            if other in self._values:
                self.problem("SIGNER_URL", f"{_PREFIX}{other} is set as well; give one of them")
        return value

    def address(self, name: str) -> str | None:
        value = self.optional(name)
        if value is not None and not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
            self.problem(name, f"{value!r} is not an address")
        return value

    def gwei(self, name: str, default: int) -> int:
        value = self.optional(name)
        if value is None:
            return default * _GWEI
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value, re.ASCII):
            self.problem(name, f"{value!r} is not a number of gwei")
            return default * _GWEI
        whole, _, part = value.partition(".")
        return int(whole) * _GWEI + int(part.ljust(9, "0") or 0)

    def file(self, name: str) -> Path | None:
        value = self.optional(name)
        if value is None:
            return None
        path = Path(value).expanduser()
        if not path.is_file():
            self.problem(name, f"there is no file {value}")
        return path

    def folder(self, name: str) -> Path | None:
        value = self.optional(name)
        if value is None:
            return None
        path = Path(value).expanduser()
        if not path.is_dir():
            self.problem(name, f"there is no folder {value}")
        return path

    def master_key(self) -> str | None:
        value = self.optional("MASTER_KEY")
        if value is not None and "MASTER_KEY_FILE" in self._values:
            self.problem("MASTER_KEY", "DULY_MASTER_KEY_FILE is set as well; give one of them")
        return value

    def keyring(self) -> str | None:
        value = self.optional("MASTER_KEY_KEYRING")
        if value is None:
            return None
        if not re.fullmatch(r".+/[^/]+", value):
            self.problem("MASTER_KEY_KEYRING", "not an entry such as duly/vault: service/name")
        for other in ("MASTER_KEY", "MASTER_KEY_FILE"):
            if other in self._values:
                self.problem("MASTER_KEY_KEYRING", f"{_PREFIX}{other} is set as well; give one of them")
        return value

    def path(self, name: str) -> Path | None:
        value = self.optional(name)
        return Path(value).expanduser() if value is not None else None

    def mail(self) -> MailServer | None:
        host, sender = self.optional("SMTP_HOST"), self.optional("SMTP_SENDER")
        user, password = self.optional("SMTP_USER"), self.secret("SMTP_PASSWORD")
        security = self.choice("SMTP_TLS", MailSecurity, MailSecurity.STARTTLS) or MailSecurity.STARTTLS
        port = self._port(_MAIL_PORTS[security])
        connections = self._connections()
        bounces = self.optional("SMTP_BOUNCES")
        if host is None:
            orphans = [
                _PREFIX + name
                for name in self.given(
                    "SMTP_PORT",
                    "SMTP_TLS",
                    "SMTP_USER",
                    "SMTP_PASSWORD",
                    "SMTP_SENDER",
                    "SMTP_CONNECTIONS",
                    "SMTP_BOUNCES",
                )
            ]
            if orphans:
                self.problem("SMTP_HOST", f"missing, though {', '.join(orphans)} is set")
            return None
        if sender is None:
            self.problem("SMTP_SENDER", "missing: the address that mail comes from")
        elif not re.fullmatch(r"[^@\s<>]+@[^@\s<>]+|[^@<>]*<[^@\s<>]+@[^@\s<>]+>", sender):
            self.problem("SMTP_SENDER", "not a mail address")
        if (user is None) != (password is None):
            self.problem("SMTP_USER", "DULY_SMTP_USER and DULY_SMTP_PASSWORD go together")
        if bounces is not None and not _BOUNCES.fullmatch(bounces):
            # A tag takes 49 of the 64 characters that there are before the @.
            self.problem(
                "SMTP_BOUNCES", "not a mail address with at most 15 characters before the @, and no +"
            )
        return MailServer(
            host=host,
            port=port,
            security=security,
            sender=sender or "",
            user=user,
            password=password,
            connections=connections,
            bounces=bounces,
        )

    def gateways(self) -> dict[Channel, Gateway]:
        found: dict[Channel, Gateway] = {}
        for channel in (Channel.SMS, Channel.PUSH):
            url = self.secret(f"{channel.name}_URL", strip=True)
            token = self.secret(f"{channel.name}_TOKEN", strip=True)
            if url is None:
                if token is not None:
                    self.problem(f"{channel.name}_URL", f"missing, though DULY_{channel.name}_TOKEN is set")
                continue
            self.check_https(f"{channel.name}_URL", url)
            if token is not None and not re.fullmatch(r"[!-~]+", token):
                self.problem(f"{channel.name}_TOKEN", "not a token: it has blanks, or letters beyond ASCII")
            found[channel] = Gateway(url=url, token=token)
        return found

    def check_https(self, name: str, url: str) -> None:
        """That something of ours may be sent there. It is not repeated: it may hold a secret."""
        try:
            parts = urlsplit(url)
            named = bool(parts.hostname) and not parts.username and (parts.port or True)
            right = named and (parts.scheme == "https" or (parts.scheme == "http" and _here(parts.hostname)))
        except ValueError:
            right = False
        if not right:
            self.problem(name, "not an address such as https://… (http:// for this machine alone)")

    def webhook(self) -> Webhook | None:
        url, secret = self.secret("WEBHOOK_URL", strip=True), self.secret("WEBHOOK_SECRET", strip=True)
        if url is None or secret is None:
            if (url is None) != (secret is None):
                self.problem("WEBHOOK_URL", "DULY_WEBHOOK_URL and DULY_WEBHOOK_SECRET go together")
            return None
        self.check_https("WEBHOOK_URL", url)
        if not re.fullmatch(r"whsec_[A-Za-z0-9+/]{32,}={0,2}", secret):
            self.problem("WEBHOOK_SECRET", "not a secret such as `duly webhook secret` makes")
        return Webhook(url=url, secret=secret)

    def apprise(self) -> dict[Channel, str]:
        found: dict[Channel, str] = {}
        for channel in (Channel.SMS, Channel.PUSH):
            name = f"{channel.name}_APPRISE"
            url = self.secret(name, strip=True)
            if url is None:
                continue
            if not re.fullmatch(r"[a-z0-9]+://[^\s,]+", url) or url.count("{address}") != 1:
                self.problem(name, "not one URL such as ntfys://ntfy.example.org/{address}")
            for other in self.given(f"{channel.name}_URL"):
                self.problem(name, f"{_PREFIX}{other} is set as well; give one of them")
            found[channel] = url
        return found

    def per_minute(self) -> dict[Channel, int]:
        value = self.optional("PER_MINUTE")
        found: dict[Channel, int] = {}
        for part in (value or "").split(","):
            if not part.strip():
                continue
            name, _, number = (each.strip() for each in part.partition("="))
            channel = _CHANNELS.get(name.lower())
            if channel is None or not re.fullmatch(r"[1-9][0-9]{0,6}", number, re.ASCII):
                self.problem(
                    "PER_MINUTE",
                    f"{part.strip()!r} is not such as email=600: a channel of "
                    f"{', '.join(_CHANNELS)}, and how many messages a minute",
                )
            else:
                found[channel] = int(number)
        return found

    def _connections(self) -> int:
        value = self.optional("SMTP_CONNECTIONS")
        if value is None:
            return MAIL_CONNECTIONS
        if not re.fullmatch(r"[0-9]{1,2}", value, re.ASCII) or not 1 <= int(value) <= 64:
            self.problem("SMTP_CONNECTIONS", f"{value!r} is not a number from 1 to 64")
            return MAIL_CONNECTIONS
        return int(value)

    def _port(self, default: int) -> int:
        value = self.optional("SMTP_PORT")
        if value is None:
            return default
        if not re.fullmatch(r"[0-9]{1,5}", value, re.ASCII) or not 1 <= int(value) <= 65_535:
            self.problem("SMTP_PORT", f"{value!r} is not a port from 1 to 65535")
            return default
        return int(value)


def _here(host: str | None) -> bool:
    """The host is this machine: nobody reads on the way."""
    return host in ("localhost", "::1") or (host or "").startswith("127.")
