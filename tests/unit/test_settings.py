"""Settings from the environment: what a client is given, and that no secret is printed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from schemas.settings import FromEnvironment, KafkaSettings, ObjectStoreSettings, StageSettings, TritonSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for settings in (KafkaSettings, TritonSettings, ObjectStoreSettings, StageSettings):
        for name in settings.model_fields:
            monkeypatch.delenv(f"{settings.model_config['env_prefix']}{name}".upper(), raising=False)
    return monkeypatch


def test_a_broker_on_this_machine_needs_no_settings() -> None:
    assert KafkaSettings().client() == {"bootstrap_servers": "127.0.0.1:9092", "security_protocol": "PLAINTEXT"}


def test_a_password_is_given_to_the_client_and_printed_nowhere(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    environment.setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    environment.setenv("KAFKA_SASL_USERNAME", "linesight")
    environment.setenv("KAFKA_SASL_PASSWORD", "tiger")
    client = KafkaSettings().client()
    assert isinstance(client["ssl_context"], ssl.SSLContext)
    assert client["ssl_context"].verify_mode is ssl.CERT_REQUIRED
    assert client["ssl_context"].check_hostname
    assert (client["sasl_mechanism"], client["sasl_plain_username"]) == ("SCRAM-SHA-512", "linesight")
    assert client["sasl_plain_password"] == "tiger"
    assert "tiger" not in repr(KafkaSettings()) + str(KafkaSettings()) + KafkaSettings().model_dump_json()


def test_no_login_is_sent_without_sasl(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SASL_PASSWORD", "tiger")
    assert "sasl_plain_password" not in KafkaSettings().client()
    assert KafkaSettings().ssl_context() is None


@pytest.mark.parametrize("given", [{}, {"KAFKA_SASL_USERNAME": "linesight"}, {"KAFKA_SASL_PASSWORD": "tiger"}])
def test_a_login_without_name_or_password_says_what_to_set(
    environment: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    for name, value in given.items():
        environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match="set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"):
        KafkaSettings().client()


@pytest.mark.parametrize("variable", ["KAFKA_SSL_CAFILE", "KAFKA_SSL_CERTFILE"])
@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_that_cannot_be_read_is_told_by_its_variable(
    environment: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "file.pem").write_text(content)
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    environment.setenv(variable, str(tmp_path / "file.pem"))
    with pytest.raises(ConfigurationError, match=variable):
        KafkaSettings().client()


@pytest.mark.parametrize(
    ("settings", "variable", "value", "expected"),
    [
        (KafkaSettings, "KAFKA_SECURITY_PROTOCOL", "TLS", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", "broker-1", "host:port"),
        (KafkaSettings, "KAFKA_BOOTSTRAP_SERVERS", "a:9092,b", "host:port"),
        (KafkaSettings, "KAFKA_REPLICATION_FACTOR", "0", "greater than 0"),
        (TritonSettings, "TRITON_URL", "http://triton", "host:port"),
        (TritonSettings, "TRITON_TIMEOUT_MS", "soon", "a valid integer"),
        (ObjectStoreSettings, "OBJECT_STORE_SECURE", "perhaps", "a valid boolean"),
        (StageSettings, "LINESIGHT_METRICS_PORT", "abc", "a valid integer"),
        (StageSettings, "LINESIGHT_METRICS_PORT", "70000", "less than or equal to 65535"),
        (StageSettings, "LINESIGHT_LOG_LEVEL", "LOUD", "'DEBUG'"),
    ],
)
def test_a_wrong_value_is_told_by_its_variable_and_what_was_expected(
    environment: pytest.MonkeyPatch, settings: type[FromEnvironment], variable: str, value: str, expected: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(ConfigurationError) as raised:
        settings()
    assert str(raised.value).startswith(f"{variable} is '{value}': expected ")
    assert expected in str(raised.value)


def test_every_wrong_value_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TRITON_TIMEOUT_MS", "soon")
    environment.setenv("TRITON_IN_FLIGHT", "many")
    with pytest.raises(ConfigurationError, match=r"TRITON_TIMEOUT_MS.*TRITON_IN_FLIGHT"):
        TritonSettings()


def test_several_brokers_may_be_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka-1:9092, [::1]:9093")
    assert KafkaSettings().client()["bootstrap_servers"] == "kafka-1:9092, [::1]:9093"


def test_settings_of_a_process_cannot_change(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LINESIGHT_METRICS_PORT", "9100")
    stage = StageSettings()
    assert stage.metrics_port == 9100
    with pytest.raises(ValidationError):
        stage.metrics_port = 1
