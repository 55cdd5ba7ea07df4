"""What is handed to operators names what exists: figures, options, settings, files, chapters."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import REGISTRY

from duly.config import InvalidSettings, Settings
from duly.domain.consent import Channel
from duly.interfaces.cli import app
from duly.interfaces.cli.run import _roles
from duly.services import telemetry
from duly.services.run import Role

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
OPERATING = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
UNITS = ROOT / "deploy/systemd"
SERVICE = (UNITS / "duly@.service").read_text()
DULY_CONF = ROOT / "deploy/etc/duly.conf"

ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "duly"}

# Of Prometheus itself.
FOREIGN = {"up": {"job", "instance"}, "process_resident_memory_bytes": {"job", "instance"}}


def figures() -> dict[str, set[str]]:
    """Every series of the program, with its labels, those that Prometheus adds among them."""
    found: dict[str, set[str]] = {}
    for collector in list(REGISTRY._collector_to_names):
        if collector not in vars(telemetry).values():
            continue
        labels = {*getattr(collector, "_labelnames", ()), "job", "instance"}
        kind, name = collector._type, collector._name  # type: ignore[attr-defined]
        ends = {"counter": ["_total"], "gauge": [""], "info": ["_info"]}.get(
            kind, ["_bucket", "_sum", "_count"]
        )
        for end in ends:
            more = {"le"} if end == "_bucket" else {"version", "python"} if end == "_info" else set()
            found[name + end] = labels | more
    return found


FIGURES = figures()


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of the alerts and the dashboard."""
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in json.loads((ROOT / "deploy/grafana/duly.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


_WORDS = {"sum", "max", "min", "count", "by", "or", "and", "time", "absent", "rate", "increase", "le",
          "histogram_quantile"}  # fmt: skip


def named(expression: str) -> Iterator[tuple[str, set[str]]]:
    """The series that an expression names, each with the labels that it is chosen by."""
    grouped = {
        label for inside in re.findall(r"by \(([^)]*)\)", expression) for label in re.findall(r"\w+", inside)
    }
    bare = re.sub(r"by \([^)]*\)|\"[^\"]*\"|\[\w+\]", "", expression)
    for match in re.finditer(r"(?<![\w.])([a-zA-Z_]\w*)(?:\{([^}]*)\})?", bare):
        if match[1] in _WORDS or (
            match.start() and bare[: match.start()].count("{") > bare[: match.start()].count("}")
        ):
            continue
        yield match[1], set(re.findall(r"(\w+)\s*=", match[2] or "")) | grouped


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_expression_names_figures_that_exist(where: str, expression: str) -> None:
    found = list(named(expression))
    assert found, where
    for name, labels in found:
        known = FIGURES.get(name) or FOREIGN.get(name)
        assert known is not None, f"{where}: there is no {name}"
        assert labels <= known, f"{where}: {name} has no {labels - known}"


@pytest.mark.parametrize(
    "expression", ["max(duly_heed_block)", 'duly_up{prat="node"} == 0', "sum by (x) (duly_up)"]
)
def test_such_an_expression_would_be_found(expression: str) -> None:
    (found,) = named(expression)
    name, labels = found
    assert name not in FIGURES or not labels <= FIGURES[name]


def test_every_figure_is_told_of_and_shown() -> None:
    shown = {name for _, expression in expressions() for name, _ in named(expression)}
    for name in FIGURES:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{base}`" in OPERATING, name
        assert {name, base + "_bucket"} & shown or base.endswith("_indexed_timestamp_seconds"), name
    assert set(re.findall(r"`(duly_\w+)`", OPERATING)) <= {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in FIGURES
    }


def test_values_of_labels_that_are_chosen_exist() -> None:
    text = " ".join(expression for _, expression in expressions())
    assert set(re.findall(r'role="(\w+)"', text)) == set(Role)
    from duly.services import deliver, serve
    from duly.store.notices import State

    reasons = set(re.findall(r'reason="(\w+)"', text))
    assert reasons == {deliver.TOO_OFTEN, serve.OTHER_TEMPLATES}
    assert set(re.findall(r'outcome="(\w+)"', text)) <= {state.value for state in State}
    assert set(re.findall(r'part="(\w+)"', text)) == {"node", "database", "channels", "webhook"}


def test_every_alert_has_its_chapter() -> None:
    chapters = re.findall(r"^### (Duly\w+)$", RUNBOOK, re.M)
    assert chapters == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("warning", "critical")
        chapter = RUNBOOK.split(f"### {rule['alert']}\n")[1].split("\n#")[0]
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in chapter, f"{rule['alert']}: {part}"


# ------------------------------------------------------------------------------------ commands, settings


def parsed(arguments: list[str], *, loosely: bool = False) -> Any:
    """The arguments of a `duly` command, as the program takes them; fails where it does not.

    loosely: some may be missing.
    """
    group: Any = typer.main.get_command(app)
    context = group.make_context("duly", list(arguments), resilient_parsing=True)
    while hasattr(group, "commands"):
        name, *arguments = arguments
        group = group.commands[name]
        context = group.make_context(name, list(arguments), parent=context, resilient_parsing=loosely)
    return context


@pytest.fixture(scope="module")
def settings() -> set[str]:
    """The names of all settings."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_environment({"DULY_UNHEARD": "x"})
    return set(re.findall(r"DULY_\w+", str(caught.value))) - {"DULY_UNHEARD"}


MUST = {"DULY_SMTP_HOST": "mail.example", "DULY_SMTP_USER": "me", "DULY_SMTP_SENDER": "notices@example.org"}
EVERYTHING = MUST | {
    "DULY_RPC_WS_FILE": "/run/secrets/rpc_ws",
    "DULY_KEY_FILE": "",
    "DULY_KEY_PASSPHRASE_FILE": "",
    "DULY_SIGNER_URL_FILE": "/run/secrets/signer",
    "DULY_SIGNER_ADDRESS": "0x" + "5e" * 20,
    "DULY_FEE_CEILING": "20",
    "DULY_FINALITY": "12",
    "DULY_PER_MINUTE": "email=600,sms=60",
    "DULY_SMTP_BOUNCES": "bounces@example.org",
    "DULY_SMTP_CONNECTIONS": "8",
    "DULY_SMS_URL": "https://sms.example",
    "DULY_SMS_TOKEN_FILE": "/run/secrets/sms",
    "DULY_PUSH_APPRISE_FILE": "/run/secrets/push",
    "DULY_WEBHOOK_URL": "https://books.example/duly",
    "DULY_WEBHOOK_SECRET_FILE": "/run/secrets/webhook",
}
"""What may stand in .env."""
SECRETS = {
    "rpc": "http://node.example:8545",
    "rpc_ws": "wss://node.example",
    "database": "postgresql+psycopg://x/duly",
    "vault": "postgresql+psycopg://x/duly_vault",
    "signer": "https://signer.example",
    "push": "ntfys://ntfy.example.org/{address}",
    "webhook": "whsec_" + "a" * 44,
}


def filled_in(text: str, given: dict[str, str]) -> str:
    """As compose puts variables into it."""

    def value(match: re.Match[str]) -> str:
        name, kind, default = match.groups()
        found = given.get(name)
        if kind == ":?":
            assert found, name
        return default if found is None or (kind == ":-" and not found) else found

    return re.sub(r"\$\{(\w+)(:-|-|:\?)([^}]*)\}", value, text)


@pytest.mark.parametrize("name", list(OURS))
def test_compose_starts_what_exists(name: str, tmp_path: Path, settings: set[str]) -> None:
    service = OURS[name]
    command = parsed(service["command"])
    if command.info_name == "run":
        assert _roles(command.params["role"])
    assert service["environment"].keys() <= settings
    used = set()
    for given in (MUST, EVERYTHING):
        environment = {}
        for key, value in service["environment"].items():
            value = filled_in(value, given)
            if value.startswith("/run/secrets/"):
                secret = value.rpartition("/")[2]
                used.add(secret)
                assert secret in service["secrets"], key
                (tmp_path / secret).write_text(SECRETS.get(secret, "secret"))
                value = str(tmp_path / secret)
            environment[key] = value
        found = Settings.from_environment(environment)
        assert found.rpc == SECRETS["rpc"]
        if given is EVERYTHING:
            assert found.finality == 12
            assert found.rpc_ws == SECRETS["rpc_ws"]
            if name == "web":
                assert (found.key_file, found.signer_url) == (None, None)
            elif name != "index":
                assert (found.key_file, found.signer_url) == (None, SECRETS["signer"])
                assert set(found.gateways) | set(found.apprise) == {Channel.SMS, Channel.PUSH}
    assert set(service["secrets"]) == used


# What no deployment is told: raw keys, what is for people at a machine, and what only tests set.
NOWHERE = {"PRIVATE_KEY", "MASTER_KEY_KEYRING", "ANVIL_PORT"}


@pytest.mark.parametrize("where", ["compose.yaml", "deploy"])
def test_every_deployment_has_a_place_for_every_setting(where: str, settings: set[str]) -> None:
    files = (
        [ROOT / where]
        if where.endswith(".yaml")
        else [*UNITS.rglob("*.conf*"), DULY_CONF, *UNITS.glob("*@*")]
    )
    text = "\n".join(file.read_text() for file in files if file.is_file())
    told = {name.removeprefix("DULY_").removesuffix("_FILE") for name in re.findall(r"DULY_\w+", text)}
    wanted = {name.removeprefix("DULY_").removesuffix("_FILE") for name in settings}
    assert wanted - NOWHERE == told


def test_compose_fills_every_role() -> None:
    commands = [parsed(service["command"]) for service in OURS.values()]
    roles = [_roles(command.params["role"]) for command in commands if command.info_name == "run"]
    assert set().union(*roles) == set(Role)
    assert sum(len(some) for some in roles) == len(Role)
    watched = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    (targets,) = watched["dns_sd_configs"]
    assert set(targets["names"]) == {name for name, each in OURS.items() if each["command"][0] == "run"}
    ports = {each["environment"]["DULY_LISTEN"].rpartition(":")[2] for each in OURS.values()}
    assert ports == {str(targets["port"])}
    assert all(
        str(targets["port"]) in str(each["healthcheck"])
        for name, each in OURS.items()
        if name not in ("check", "web")
    )


def test_compose_is_whole() -> None:
    volumes, secrets = COMPOSE["volumes"], COMPOSE["secrets"]
    for name, service in COMPOSE["services"].items():
        assert set(service.get("secrets", ())) <= secrets.keys(), name
        assert set(service.get("depends_on", ())) <= COMPOSE["services"].keys(), name
        for volume in service["volumes"]:
            source, _, _ = volume.partition(":")
            if source.startswith("./") and source != "./deployments":
                assert (ROOT / source).exists(), source
            elif not source.startswith("./"):
                assert source in volumes
        # Whoever gets in finds nothing to write to, and no rights.
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["user"].split(":")[0] != "0", name
        assert service["healthcheck"], name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    assert set(secrets) == {
        secret for each in COMPOSE["services"].values() for secret in each.get("secrets", ())
    }


def merged(role: str) -> tuple[dict[str, str], dict[str, str]]:
    """The credentials and the settings of a role's unit, all drop-ins switched on: as systemd puts them
    together.
    """
    drop_ins = [*(UNITS / "duly@.service.d").iterdir(), *UNITS.glob(f"duly@{role}.service.d/*")]
    credentials: dict[str, str] = {}
    values = dict(re.findall(r"^#?(DULY_\w+)=(.*)$", DULY_CONF.read_text(), re.M))
    gone = set()
    for text in [SERVICE, *(path.read_text() for path in sorted(drop_ins, key=lambda each: each.name))]:
        for key, value in re.findall(r"^(LoadCredential|Environment|UnsetEnvironment)=(.*)$", text, re.M):
            if key == "LoadCredential":
                name, _, path = value.partition(":")
                credentials = credentials | {name: path} if name else {}
            elif key == "Environment":
                name, _, text_ = value.partition("=")
                values[name] = text_
            else:
                gone |= set(value.split())
    return credentials, {name: value for name, value in values.items() if name not in gone}


@pytest.mark.parametrize("role", list(Role))
def test_the_units_hand_over_what_the_settings_take(role: Role, tmp_path: Path) -> None:
    credentials, values = merged(role)
    contents = {"rpc.ws": SECRETS["rpc_ws"], "sms": "token", "push": "token"}
    for name, path in credentials.items():
        assert path == f"/etc/duly/secrets/{name}"
        (tmp_path / name).write_text(contents.get(name, SECRETS.get(name, "secret")))
    environment = {
        name: value.replace("%d", str(tmp_path)).replace("/etc/duly", str(tmp_path))
        for name, value in values.items()
        if name.startswith("DULY_")
    }
    (tmp_path / "templates").mkdir()
    found = Settings.from_environment(environment)
    assert (found.rpc, found.rpc_ws, found.finality) == (SECRETS["rpc"], SECRETS["rpc_ws"], 12)
    # Nothing is handed over that no setting names.
    assert {value.rpartition("/")[2] for value in values.values() if "%d" in value} == credentials.keys()
    if role is not Role.INDEX:
        assert set(found.gateways) == {Channel.SMS, Channel.PUSH}
        assert (found.key_file, found.signer_url) == (None, SECRETS["signer"])
        assert found.mail is not None
        assert found.mail.bounces


def test_who_reads_the_chain_gets_no_key() -> None:
    assert set(OURS["index"]["secrets"]) == {"rpc", "rpc_ws", "database", "webhook"}
    credentials, values = merged("index")
    assert set(credentials) == {"rpc", "rpc.ws", "database", "webhook"}
    assert not re.findall(r"DULY_(?:KEY|VAULT|MASTER|SIGNER|SMTP|SMS|PUSH)\w*", " ".join(values))


def test_the_portal_gets_no_key_to_send_with() -> None:
    assert not {"key", "key_passphrase", "signer"} & set(OURS["web"]["secrets"])
    credentials, values = merged("web")
    assert not {"key.json", "key.passphrase", "signer"} & set(credentials)
    assert not re.findall(r"DULY_(?:KEY|SIGNER)\w*", " ".join(values))


def test_the_image_runs_the_program_as_nobody_in_particular() -> None:
    text = (ROOT / "Dockerfile").read_text()
    user = re.search(r"^USER (\d+):", text, re.M)
    assert user is not None
    assert {each["user"].split(":")[0] for each in OURS.values()} == {user[1]}
    # What is copied is let through to the build.
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M))
    (files,) = re.findall(r"^COPY (pyproject.*) \./$", text, re.M)
    assert {*files.split(), "duly"} == allowed


def test_the_units_start_what_exists(settings: set[str]) -> None:
    (command,) = re.findall(r"^ExecStart=/opt/duly/bin/duly (.*)$", SERVICE, re.M)
    target = (UNITS / "duly.target").read_text()
    roles = re.findall(r"duly@(\w+)\.service", target)
    assert set(roles) == set(Role)
    for role in roles:
        assert _roles(parsed(command.replace("${ROLE}", role).split()).params["role"]) == {Role(role)}
    for file in UNITS.rglob("*"):
        if file.is_file():
            assert set(re.findall(r"DULY_\w+", file.read_text())) <= settings, file
    credentials = dict(re.findall(r"^LoadCredential=([\w.]+):(\S+)$", SERVICE, re.M))
    assert set(re.findall(r"=%d/([\w.]+)$", SERVICE, re.M)) == credentials.keys()
    assert all(path == f"/etc/duly/secrets/{name}" for name, path in credentials.items())
    for hardened in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=duly", "CapabilityBoundingSet=\n"):
        assert hardened in SERVICE


@pytest.mark.parametrize("page", ["docs/operating.md", "docs/runbook.md"])
def test_the_pages_name_commands_and_settings_that_exist(page: str, settings: set[str]) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = re.findall(r"(?:^|[`(]|compose run --rm |\n)duly ((?!\d)[a-z][^`\n#|]*)", text)
    assert lines
    for line in lines:
        words = line.replace("…", "0x00").replace("NOTICE", "0x00").split()
        try:
            parsed([word for word in words if word != "--help"], loosely="--help" in words)
        except Exception as error:
            pytest.fail(f"{page}: duly {line}: {error}")
    assert set(re.findall(r"DULY_[A-Z_]+[A-Z]", text)) <= settings
