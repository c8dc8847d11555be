"""Settings from the environment: what a client is given, and that no secret is printed."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.errors import ConfigurationError
from schemas.settings import KafkaSettings, ObjectStoreSettings, StageSettings, TritonSettings


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


def test_a_protocol_that_does_not_exist_is_refused_by_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "TLS")
    with pytest.raises(ValidationError, match="security_protocol"):
        KafkaSettings()


def test_settings_of_a_process_cannot_change(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LINESIGHT_METRICS_PORT", "9100")
    stage = StageSettings()
    assert stage.metrics_port == 9100
    with pytest.raises(ValidationError):
        stage.metrics_port = 1
