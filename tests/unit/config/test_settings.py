"""Settings: each is read as specified, everything wrong is said at once, secrets are never quoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import config
from shared.config import BASE, EMULATOR_HOSTS, SPECS, Environment, Settings
from shared.domain.fees import FeeCap
from shared.errors import ConfigurationError
from shared.setting_values import SmtpServer

PASSWORD = "correct@horse"
QUOTED = "correct%40horse"

BASE_VALUES = {
    "FUSION_ENVIRONMENT": "production",
    "GOOGLE_CLOUD_PROJECT": "fusion-prime-dev",
    "LOG_LEVEL": "INFO",
}

# Setting: (text, property of Settings, value), for every one of SPECS.
READ: dict[str, tuple[str, str, Any]] = {
    "FUSION_ENVIRONMENT": ("staging", "environment", Environment.STAGING),
    "GOOGLE_CLOUD_PROJECT": ("fusion-prime-dev", "project", "fusion-prime-dev"),
    "LOG_LEVEL": ("WARNING", "log_level", "WARNING"),
    "FIRESTORE_EMULATOR_HOST": ("127.0.0.1:1", "emulated_hosts", {"firestore": "127.0.0.1:1"}),
    "PUBSUB_EMULATOR_HOST": ("[::1]:2", "emulated_hosts", {"pubsub": "[::1]:2"}),
    "BIGQUERY_EMULATOR_HOST": ("127.0.0.1:3", "bigquery_emulator_url", "http://127.0.0.1:3"),
    "BIGQUERY_DATASET": ("fusion", "bigquery_dataset", "fusion"),
    "NETWORK_FILE": (__file__, "network_file", Path(__file__)),
    "RPC_URLS": (
        "1=https://a.example,https://b.example/key 31337=http://127.0.0.1:8545",
        "rpc_urls",
        {1: ("https://a.example", "https://b.example/key"), 31337: ("http://127.0.0.1:8545",)},
    ),
    "NEW_HEADS_URLS": (
        "1=wss://a.example/key,ws://b.example",
        "new_heads_urls",
        {1: ("wss://a.example/key", "ws://b.example")},
    ),
    "PRICE_INTERVAL_S": ("1", "price_interval_s", 1.0),
    "RELAY_INTERVAL_S": ("0.25", "relay_interval_s", 0.25),
    "SWEEP_INTERVAL_S": ("2", "sweep_interval_s", 2.0),
    "ARCHIVE_INTERVAL_S": ("2.5", "archive_interval_s", 2.5),
    "MARGIN_SHARDS": ("8", "margin_shards", 8),
    "RISK_BLOCK_ACCOUNTS": ("10000", "risk_block_accounts", 10000),
    "SIGNER_KEYS": ("kms", "local_signer_keys", ()),
    "FEE_CAPS": (
        "1=50:500 31337=1:2",
        "fee_caps",
        {1: FeeCap(50 * 10**9, 500 * 10**9), 31337: FeeCap(10**9, 2 * 10**9)},
    ),
    "FOLLOW_INTERVAL_S": ("2", "follow_interval_s", 2.0),
    "RESEND_AFTER_S": ("30", "resend_after_s", 30.0),
    "WINDOW_S": ("55", "window_s", 55.0),
    "WEBHOOK_INTERVAL_S": ("0.5", "webhook_interval_s", 0.5),
    "WEBHOOK_LOCAL_NETWORKS": ("none", "webhook_local_networks", ()),
    "HERMES_URLS": (
        "https://hermes.example/a,http://other.example",
        "hermes_urls",
        ("https://hermes.example/a", "http://other.example"),
    ),
    "HERMES_API_KEY": ("pyth-key", "hermes_api_key", "pyth-key"),
    "SMTP_URL": (
        f"smtp+starttls://mailer:{QUOTED}@mail.example:587",
        "smtp",
        SmtpServer("mail.example", 587, "mailer", PASSWORD, starttls=True),
    ),
    "MAIL_FROM": ("margin@example.com", "mail_from", "margin@example.com"),
}

# Setting: texts that are refused.
REFUSED: dict[str, tuple[str, ...]] = {
    "FUSION_ENVIRONMENT": ("", "prod", "LOCAL"),
    "GOOGLE_CLOUD_PROJECT": ("", "  "),
    "LOG_LEVEL": ("", "info", "TRACE"),
    "FIRESTORE_EMULATOR_HOST": ("", "localhost", ":8080", "localhost:port"),
    "PUBSUB_EMULATOR_HOST": ("localhost",),
    "BIGQUERY_EMULATOR_HOST": ("http://localhost", "https://localhost:9050/path"),
    "BIGQUERY_DATASET": ("",),
    "NETWORK_FILE": ("", "no/such/network.json", "."),
    "RPC_URLS": (
        "",
        "http://127.0.0.1:8545",
        "one=http://127.0.0.1",
        "1=ws://127.0.0.1",
        "1=",
        "1=http://a.example,",
        "1=http://a.example 1=http://b.example",
    ),
    "NEW_HEADS_URLS": ("", "ws://a.example", "1=http://a.example", "1=ws://", "1=ws://a 1=ws://b"),
    "PRICE_INTERVAL_S": ("", "0", "-1", "nan", "inf", "1s"),
    "RELAY_INTERVAL_S": ("0",),
    "SWEEP_INTERVAL_S": ("-0.5",),
    "ARCHIVE_INTERVAL_S": ("Infinity",),
    "MARGIN_SHARDS": ("", "0", "3", "64", "-1", "1.0"),
    "RISK_BLOCK_ACCOUNTS": ("0", "-3", "1.5", "many", ""),
    "SIGNER_KEYS": ("", "hsm", "local", "local:", "local:0x1234", "local:" + "zz" * 32),
    "FEE_CAPS": ("", "100:200", "1=100", "1=0:5", "1=10:5", "1=a:b", "1=1:2 1=1:2"),
    "FOLLOW_INTERVAL_S": ("0",),
    "RESEND_AFTER_S": ("soon",),
    "WINDOW_S": ("a minute",),
    "WEBHOOK_INTERVAL_S": ("0",),
    "WEBHOOK_LOCAL_NETWORKS": ("", "localhost", "127.0.0.1/8", "127.0.0.0/8,", "10.0.0.0/33"),
    "HERMES_URLS": ("", "hermes.example", "ftp://hermes.example", "https://hermes.example,"),
    "HERMES_API_KEY": ("", "two words", "line\nbreak"),
    "SMTP_URL": (
        "",
        f"mailer:{QUOTED}@mail.example",
        f"smtps://mailer:{QUOTED}@mail.example:465",
        "smtp://mail.example",
        f"smtp://mailer:{QUOTED}@mail.example:port",
        f"smtp+starttls://mailer:{QUOTED}@mail.example:99999",
    ),
    "MAIL_FROM": ("", "margin", "@example.com", "margin@", "a@b@c"),
}


def _load(name: str, text: str) -> Settings:
    service = {host: service for service, host in EMULATOR_HOSTS.items()}.get(name)
    environ = {**BASE_VALUES, name: text}
    if service is not None:
        return config.load(uses=(service,), environ={**environ, "FUSION_ENVIRONMENT": "local"})
    return config.load(settings=(name,), environ=environ)


def test_the_tables_above_cover_every_setting() -> None:
    assert set(READ) == set(REFUSED) == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_a_setting_is_read(name: str) -> None:
    text, attribute, value = READ[name]
    assert getattr(_load(name, text), attribute) == value


@pytest.mark.parametrize("name", [name for name in SPECS if name != "NETWORK_FILE"])
def test_the_example_is_accepted(name: str) -> None:
    _load(name, SPECS[name].example)


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in REFUSED.items() for text in texts]
)
def test_a_malformed_setting_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _load(name, text)
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith(f"{name} ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, f"not-a-url:{QUOTED}@") for name, spec in SPECS.items() if spec.secret),
        # The standard library's own refusal of a port quotes it.
        ("SMTP_URL", f"smtp://mail.example:{QUOTED}"),
        ("RPC_URLS", f"1=ws://node.example/{QUOTED}"),
    ],
)
def test_a_secret_is_never_quoted(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _load(name, text)
    assert "horse" not in str(refused.value)
    assert name in str(refused.value)


def test_settings_do_not_show_their_values() -> None:
    settings = _load("SMTP_URL", READ["SMTP_URL"][0])
    assert "horse" not in repr(settings)
    assert "SMTP_URL" in repr(settings)
    assert "horse" not in repr(settings.smtp)


@pytest.mark.parametrize("name", BASE)
def test_no_base_setting_has_a_default(name: str) -> None:
    environ = {key: value for key, value in BASE_VALUES.items() if key != name}
    with pytest.raises(ConfigurationError, match=f"{name} is not set"):
        config.load(environ=environ)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        config.load(
            uses=("firestore", "bigquery"),
            settings=("PRICE_INTERVAL_S", "MAIL_FROM"),
            environ={"FUSION_ENVIRONMENT": "local", "LOG_LEVEL": "loud", "PRICE_INTERVAL_S": "0"},
        )
    named = [problem.partition(" ")[0] for problem in refused.value.problems]
    assert named == [
        "GOOGLE_CLOUD_PROJECT",
        "LOG_LEVEL",
        "PRICE_INTERVAL_S",
        "MAIL_FROM",
        "FIRESTORE_EMULATOR_HOST",
        "BIGQUERY_EMULATOR_HOST",
    ]
    assert all(f"  - {problem}" in str(refused.value) for problem in refused.value.problems)


@pytest.mark.parametrize("host", EMULATOR_HOSTS.values())
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_an_emulator_is_refused_where_records_must_last(host: str, environment: str) -> None:
    environ = {**BASE_VALUES, "FUSION_ENVIRONMENT": environment, host: "127.0.0.1:1"}
    with pytest.raises(ConfigurationError, match=host):
        config.load(environ=environ)


@pytest.mark.parametrize("environment", ["local", "test"])
def test_a_deployed_service_is_not_local(environment: str) -> None:
    environ = {**BASE_VALUES, "FUSION_ENVIRONMENT": environment, "K_SERVICE": "notify"}
    with pytest.raises(ConfigurationError, match="K_SERVICE=notify"):
        config.load(environ=environ)


def test_an_emulator_is_refused_in_a_deployed_service_whatever_the_environment_says() -> None:
    environ = {**BASE_VALUES, "K_SERVICE": "notify", "PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}
    with pytest.raises(ConfigurationError, match=r"PUBSUB_EMULATOR_HOST set in a deployed service"):
        config.load(environ=environ)


@pytest.mark.parametrize("service", EMULATOR_HOSTS)
def test_local_requires_an_emulator_of_each_service_that_is_used(service: str) -> None:
    environ = {**BASE_VALUES, "FUSION_ENVIRONMENT": "local"}
    with pytest.raises(ConfigurationError, match=f"{EMULATOR_HOSTS[service]} is not set"):
        config.load(uses=(service,), environ=environ)
    assert config.load(environ=environ).emulated_hosts == {}


def test_a_setting_that_was_not_declared_cannot_be_read() -> None:
    settings = config.load(environ=BASE_VALUES)
    with pytest.raises(ConfigurationError, match="WINDOW_S is read but not declared"):
        _ = settings.window_s


def test_settings_are_equal_by_value() -> None:
    first, second = (
        config.load(settings=("WINDOW_S",), environ={**BASE_VALUES, "WINDOW_S": "5"}) for _ in "ab"
    )
    other = config.load(settings=("WINDOW_S",), environ={**BASE_VALUES, "WINDOW_S": "6"})
    assert first == second
    assert hash(first) == hash(second)
    assert first != other


def test_a_private_key_in_a_setting_is_refused_where_clients_money_is() -> None:
    key = "0x" + "5e" * 32
    for environment in ("staging", "production"):
        with pytest.raises(ConfigurationError, match="SIGNER_KEYS holds private keys") as refused:
            config.load(
                settings=("SIGNER_KEYS",),
                environ={
                    **BASE_VALUES,
                    "FUSION_ENVIRONMENT": environment,
                    "SIGNER_KEYS": f"local:{key}",
                },
            )
        assert "5e5e" not in str(refused.value)
    local = config.load(
        settings=("SIGNER_KEYS",),
        environ={**BASE_VALUES, "FUSION_ENVIRONMENT": "local", "SIGNER_KEYS": f"local:{key},{key[2:]}"},
    )
    assert local.local_signer_keys == (bytes([0x5E]) * 32,) * 2
    assert "5e5e" not in repr(local)


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_webhooks_never_go_to_our_own_networks_where_deployed(environment: str) -> None:
    environ = {**BASE_VALUES, "WEBHOOK_LOCAL_NETWORKS": "127.0.0.0/8,fd00::/8"}
    with pytest.raises(ConfigurationError, match="WEBHOOK_LOCAL_NETWORKS lets webhooks into our own"):
        config.load(
            settings=("WEBHOOK_LOCAL_NETWORKS",), environ={**environ, "FUSION_ENVIRONMENT": environment}
        )
    local = config.load(
        settings=("WEBHOOK_LOCAL_NETWORKS",), environ={**environ, "FUSION_ENVIRONMENT": "local"}
    )
    assert [str(network) for network in local.webhook_local_networks] == ["127.0.0.0/8", "fd00::/8"]
