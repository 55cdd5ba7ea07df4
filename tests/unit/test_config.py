"""The environment, read once."""

from pathlib import Path

import pytest

from duly.config import Endpoint, Finality, InvalidSettings, LogFormat, LogLevel, MailSecurity, Settings

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
    ],
)
def test_single_problems(variables: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        read(**variables)


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


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    for name, content in (("passphrase", " open sesame \n"), ("database", "sqlite:///of-a-file.db\r\n")):
        (tmp_path / name).write_text(content)
    settings = read(
        KEY_PASSPHRASE_FILE=str(tmp_path / "passphrase"), DATABASE_FILE=str(tmp_path / "database")
    )
    assert settings.key_passphrase == " open sesame "
    assert settings.database == "sqlite:///of-a-file.db"


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
