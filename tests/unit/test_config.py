"""The environment, read once."""

from pathlib import Path

import pytest

from duly.config import Endpoint, Finality, InvalidSettings, LogFormat, LogLevel, MailSecurity, Settings
from duly.domain.consent import Channel

SECRET = "ab" * 32


def read(**variables: str) -> Settings:
    return Settings.from_environment({f"DULY_{name}": value for name, value in variables.items()})


def test_nothing_is_needed() -> None:
    settings = Settings.from_environment({"PATH": "/bin"})
    assert settings == Settings()
    assert settings.rpc == "http://127.0.0.1:8545"
    assert settings.deployments == Path("deployments")
    assert (settings.private_key, settings.mail, settings.finality) == (None, None, None)


def test_everything_is_read(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    settings = read(
        RPC="wss://node.example/v3",
        DEPLOYMENTS="/srv/duly",
        KEY_FILE=str(key),
        KEY_PASSPHRASE=" with spaces ",
        PRIVATE_KEY="0x" + SECRET,
        FINALITY="SAFE",
        DATABASE="sqlite:///x.db",
        VAULT="sqlite:///y.db",
        MASTER_KEY_FILE="~/none-yet.key",
        SMTP_HOST="mail.example",
        SMTP_SENDER="Duly <notices@example.org>",
        SMTP_USER="me",
        SMTP_PASSWORD="pass",
    )
    assert settings.rpc == "wss://node.example/v3"
    assert settings.key_passphrase == " with spaces "
    assert settings.private_key == bytes.fromhex(SECRET)
    assert settings.finality is Finality.SAFE
    assert settings.master_key_file == Path.home() / "none-yet.key"
    assert settings.mail is not None
    assert (settings.mail.port, settings.mail.security) == (587, MailSecurity.STARTTLS)


def test_finality_may_be_a_number_of_blocks() -> None:
    assert read(FINALITY="12").finality == 12
    assert read(FINALITY="0").finality == 0
    for wrong in ("-1", "1.5", "soon", "1234567"):
        with pytest.raises(InvalidSettings, match="nor a number of blocks"):
            read(FINALITY=wrong)


def test_a_websocket_that_wakes() -> None:
    assert read(RPC_WS="wss://node.example/key").rpc_ws == "wss://node.example/key"
    for wrong in ("http://node.example/key", "ws://", "node"):
        with pytest.raises(InvalidSettings, match="RPC_WS") as raised:
            read(RPC_WS=wrong)
        assert "key" not in str(raised.value)


@pytest.mark.parametrize(("tls", "port"), [("tls", 465), ("none", 25), ("STARTTLS", 587)])
def test_the_mail_port_follows_the_security(tls: str, port: int) -> None:
    settings = read(SMTP_HOST="h", SMTP_SENDER="a@b.example", SMTP_TLS=tls)
    assert settings.mail is not None
    assert settings.mail.port == port


def test_secrets_do_not_show() -> None:
    settings = read(
        PRIVATE_KEY=SECRET,
        MASTER_KEY=SECRET,
        KEY_PASSPHRASE="hunter2",
        DATABASE="postgresql://me:hunter2@db/x",
        SMTP_HOST="h",
        SMTP_SENDER="a@b.example",
        SMTP_USER="u",
        SMTP_PASSWORD="hunter2",
    )
    shown = repr(settings)
    assert "hunter2" not in shown
    assert SECRET not in shown
    assert str(bytes.fromhex(SECRET)) not in shown


def test_all_problems_are_told_at_once_without_secrets() -> None:
    with pytest.raises(InvalidSettings) as caught:
        read(
            RPC="node.example/hunter2",
            KEY_FILE="/nowhere/key.json",
            PRIVATE_KEY="hunter2",
            FINALITY="soon",
            SMTP_TLS="some",
            SMTP_PORT="99999",
            SMTP_HOST="h",
            SMTP_USER="hunter2",
            MASTER_KEY="hunter2",
            MASTER_KEY_FILE="x",
            RCP="typo",
        )
    text = str(caught.value)
    for name in ("RPC", "KEY_FILE", "PRIVATE_KEY", "FINALITY", "SMTP_TLS", "SMTP_PORT", "SMTP_SENDER",
                 "SMTP_USER", "MASTER_KEY", "RCP"):  # fmt: skip
        assert f"DULY_{name}" in text
    assert "hunter2" not in text
    assert "finalized, safe, latest" in text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SMTP_PORT": "25"}, "DULY_SMTP_HOST: missing, though DULY_SMTP_PORT"),
        ({"SMTP_HOST": "h", "SMTP_SENDER": "nobody"}, "not a mail address"),
        ({"SMTP_HOST": "h", "SMTP_SENDER": "a@b", "SMTP_PORT": "0"}, "not a port"),
        ({"RPC": "http://"}, "DULY_RPC"),
        ({"RPC": "http://[::1"}, "DULY_RPC"),
        ({"SIGNER_URL": "127.0.0.1:9000"}, "DULY_SIGNER_URL: not an address"),
        ({"SIGNER_URL": "http://h", "PRIVATE_KEY": SECRET}, "DULY_PRIVATE_KEY is set as well"),
        ({"SIGNER_ADDRESS": "0x12"}, "DULY_SIGNER_ADDRESS: '0x12' is not an address"),
        ({"FEE_CEILING": "-1"}, "DULY_FEE_CEILING: '-1' is not a number of gwei"),
    ],
)
def test_single_problems(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        read(**variables)


def test_a_network_is_named_and_fees_are_in_gwei() -> None:
    assert read(RPC="sepolia").rpc == "sepolia"
    assert read().fee_ceiling == 500 * 10**9
    assert read(FEE_CEILING="0.05").fee_ceiling == 50_000_000


def test_an_empty_variable_is_none() -> None:
    assert read(RPC="", PRIVATE_KEY=" ", FINALITY="") == Settings()


def test_every_variable_stands_in_the_documentation() -> None:
    import duly.config

    with pytest.raises(InvalidSettings) as caught:
        read(UNHEARD="x")
    names = str(caught.value).split("there are ")[1].split(")")[0].split(", ")
    for name in set(names) - {"DULY_ANVIL_PORT"}:
        assert f"`{name}`" in (duly.config.__doc__ or ""), name


def test_templates_of_ones_own_are_a_folder(tmp_path):
    assert Settings.from_environment({"DULY_TEMPLATES": str(tmp_path)}).templates == tmp_path
    with pytest.raises(InvalidSettings, match="DULY_TEMPLATES: there is no folder"):
        Settings.from_environment({"DULY_TEMPLATES": str(tmp_path / "nowhere")})


def test_limits_of_channels_and_connections_to_the_mail_server() -> None:
    mail = {"DULY_SMTP_HOST": "mail.example.org", "DULY_SMTP_SENDER": "notices@example.org"}
    settings = Settings.from_environment(
        mail | {"DULY_PER_MINUTE": "email=600, sms = 60", "DULY_SMTP_CONNECTIONS": "8"}
    )
    assert settings.per_minute == {Channel.EMAIL: 600, Channel.SMS: 60}
    assert settings.mail is not None
    assert settings.mail.connections == 8
    for wrong in ("email", "email=0", "pigeon=3", "email=many"):
        with pytest.raises(InvalidSettings, match="PER_MINUTE"):
            Settings.from_environment({"DULY_PER_MINUTE": wrong})
    with pytest.raises(InvalidSettings, match="SMTP_CONNECTIONS"):
        Settings.from_environment(mail | {"DULY_SMTP_CONNECTIONS": "0"})


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    for name, content in (("passphrase", " open sesame \n"), ("database", "sqlite:///of-a-file.db\r\n")):
        (tmp_path / name).write_text(content)
    settings = read(
        KEY_PASSPHRASE_FILE=str(tmp_path / "passphrase"), DATABASE_FILE=str(tmp_path / "database")
    )
    assert settings.key_passphrase == " open sesame "
    assert settings.database == "sqlite:///of-a-file.db"


SECRETS = {
    "RPC": "https://node.example/key",
    "RPC_WS": "wss://node.example/key",
    "DATABASE": "postgresql://me:key@host/duly",
    "VAULT": "postgresql://me:key@host/vault",
    "KEY_PASSPHRASE": "open sesame",
    "SIGNER_URL": "https://me:key@signer.example",
    "SMTP_PASSWORD": "hunter2",
    "SMS_URL": "https://sms.example/key",
    "SMS_TOKEN": "hunter3",
    "PUSH_APPRISE": "ntfys://key@ntfy.example.org/{address}",
    "WEBHOOK_URL": "https://books.example/key",
    "WEBHOOK_SECRET": "whsec_" + "a" * 44,
}


def test_every_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    files = {}
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value + "\n")
        files[f"{name}_FILE"] = str(tmp_path / name)
    more = {"SMTP_HOST": "mail.example", "SMTP_SENDER": "a@b.example", "SMTP_USER": "me"}
    settings = read(**files, **more)
    assert settings == read(**SECRETS, **more)
    told = repr(settings)
    assert not any(value in told for value in SECRETS.values())


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"WEBHOOK_URL": "https://books.example"}, "go together"),
        ({"WEBHOOK_SECRET": "whsec_" + "a" * 44}, "go together"),
        ({"WEBHOOK_URL": "http://books.example", "WEBHOOK_SECRET": "whsec_" + "a" * 44}, "https"),
        ({"WEBHOOK_URL": "https://me:key@books.example", "WEBHOOK_SECRET": "whsec_" + "a" * 44}, "https"),
        ({"WEBHOOK_URL": "https://books.example", "WEBHOOK_SECRET": "hunter2"}, "duly webhook secret"),
    ],
)
def test_a_webhook_has_an_address_and_a_secret(values: dict[str, str], wanted: str) -> None:
    with pytest.raises(InvalidSettings, match=wanted) as refused:
        read(**values)
    assert "hunter2" not in str(refused.value)


def test_two_ways_for_one_channel_are_found_in_files_too(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://sms.example")
    with pytest.raises(InvalidSettings, match="DULY_SMS_URL_FILE is set as well"):
        read(SMS_APPRISE="ntfys://ntfy.example.org/{address}", SMS_URL_FILE=str(tmp_path / "url"))


def test_service_and_vault_are_not_in_one_database() -> None:
    with pytest.raises(InvalidSettings, match="DULY_VAULT: the same as DULY_DATABASE"):
        read(DATABASE="postgresql:///duly", VAULT="postgresql:///duly")


def test_a_secret_stands_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(InvalidSettings) as caught:
        read(
            KEY_PASSPHRASE="hunter2",
            KEY_PASSPHRASE_FILE=str(tmp_path / "empty"),
            VAULT_FILE=str(tmp_path / "nowhere"),
        )
    text = str(caught.value)
    assert "DULY_KEY_PASSPHRASE: DULY_KEY_PASSPHRASE_FILE is set as well" in text
    assert "empty is empty" in text
    assert "DULY_VAULT_FILE" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("text", ["127.0.0.1:9464", "[::1]:9464", "metrics.example:0"])
def test_where_to_listen(text: str) -> None:
    found = read(LISTEN=text).listen
    assert found is not None
    assert str(found) == text


@pytest.mark.parametrize("text", ["9464", "::1:9464", "host:65536", "http://host:1", ":9464"])
def test_nowhere_to_listen(text: str) -> None:
    assert Endpoint.parse(text) is None
    with pytest.raises(InvalidSettings, match="DULY_LISTEN"):
        read(LISTEN=text)


def test_the_log() -> None:
    settings = read(LOG_FORMAT="JSON", LOG_LEVEL="debug")
    assert (settings.log_format, settings.log_level) == (LogFormat.JSON, LogLevel.DEBUG)
    with pytest.raises(InvalidSettings, match="DULY_LOG_LEVEL: 'loud' is none of debug, info"):
        read(LOG_LEVEL="loud")
