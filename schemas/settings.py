"""Settings of the surroundings, from the environment: Kafka, Triton, object store. Secrets do not print."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import ConfigurationError

HIGHEST_PORT = 65535


def _addresses(value: str) -> str:
    for address in value.split(","):
        host, _, port = address.strip().rpartition(":")
        if not (host and port.isascii() and port.isdigit() and 0 < int(port) <= HIGHEST_PORT):
            raise ValueError("host:port, several with commas between")
    return value


def _address(value: str) -> str:
    if "," in value:
        raise ValueError("one host:port")
    return _addresses(value)


class FromEnvironment(BaseSettings):
    """Settings whose names are a prefix and a field. Raises ConfigurationError that names the variable and what was expected."""

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as invalid:
            raise ConfigurationError("; ".join(self._complaints(invalid))) from None

    @classmethod
    def _complaints(cls, invalid: ValidationError) -> list[str]:
        """One sentence per wrong value, in the words of a person who sets variables."""
        found = []
        for error in invalid.errors(include_url=False):
            variable = f"{cls.model_config['env_prefix']}{error['loc'][0]}".upper()
            expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            found.append(f"{variable} is {error['input']!r}: expected {expected}")
        return found


class KafkaSettings(FromEnvironment):
    """`KAFKA_*`: where the brokers are and how to log in. Names follow Kafka's own client settings."""

    model_config = SettingsConfigDict(env_prefix="KAFKA_", frozen=True)

    bootstrap_servers: Annotated[str, AfterValidator(_addresses)] = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_key_password: SecretStr | None = None
    replication_factor: PositiveInt = 1
    min_insync_replicas: PositiveInt = 1

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS context with the CA and client certificate named in the environment; None without TLS."""
        if not self.uses_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=str(self.ssl_cafile) if self.ssl_cafile else None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"KAFKA_SSL_CAFILE {self.ssl_cafile} is no readable PEM file: {error}") from error
        if self.ssl_certfile:
            password = self.ssl_key_password.get_secret_value() if self.ssl_key_password else ""
            try:
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password)
            except (OSError, ssl.SSLError) as error:
                raise ConfigurationError(
                    f"KAFKA_SSL_CERTFILE {self.ssl_certfile} and KAFKA_SSL_KEYFILE {self.ssl_keyfile} are no certificate with its"
                    f" key (KAFKA_SSL_KEY_PASSWORD, if it has one): {error}"
                ) from error
        return context

    def client(self) -> dict[str, Any]:
        """Keyword arguments that aiokafka and kafka-python clients share. Whoever connects reads foreign headers, and finds the broker
        again after it closed a connection."""
        # they load aiokafka, which most verbs do without
        from schemas.closed_connections import accept_closed_connections  # noqa: PLC0415
        from schemas.foreign_headers import accept_foreign_headers  # noqa: PLC0415

        accept_closed_connections()
        accept_foreign_headers()
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
        }
        if self.uses_tls:
            arguments["ssl_context"] = self.ssl_context()
        if self.security_protocol.startswith("SASL"):
            if not self.sasl_username or self.sasl_password is None:
                raise ConfigurationError(
                    f"KAFKA_SECURITY_PROTOCOL is {self.security_protocol}: set KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD too"
                )
            arguments["sasl_mechanism"] = self.sasl_mechanism
            arguments["sasl_plain_username"] = self.sasl_username
            arguments["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return arguments


class TritonSettings(FromEnvironment):
    """`TRITON_*`: the inference server. `url` is `host:port` of its gRPC endpoint.

    `timeout_ms` is for one request, waiting in the server's queue included. `in_flight` is the number of requests (batches)
    under way at a time. `shared_memory`: `auto` shares /dev/shm with a server on this machine, `off` sends tensors over gRPC
    always. `model_repository` holds the models that come with Linesight, `trained_models` those that were trained. The server that
    `linesight up` starts serves both, and digests of weights are read there; any other server has its own setting. `kept_recipes`: of
    so many recipes, those used last, the models stay loaded; those that PLCs have selected or announced, and that parts on the belt
    need, are kept besides.
    """

    model_config = SettingsConfigDict(env_prefix="TRITON_", frozen=True, protected_namespaces=())

    url: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8001"
    timeout_ms: PositiveInt = 3000
    in_flight: PositiveInt = 4
    shared_memory: Literal["auto", "off"] = "auto"
    kept_recipes: PositiveInt = 8
    model_repository: Path = Path(__file__).resolve().parents[1] / "triton_models"
    trained_models: Path = Path("run/models")

    @property
    def repositories(self) -> tuple[Path, ...]:
        """Both. A name that stands in both is served from neither: Triton refuses to load it."""
        return self.model_repository, self.trained_models


class BudgetSettings(FromEnvironment):
    """`LINESIGHT_BUDGET_*_MIB`: what one process may hold, in MiB, each place by itself.

    `fetched`: prefetched by the Kafka client. `held`: records taken in and not finished, with what was decoded from them.
    `decoded`: pixels from decoding to Triton's answer, in flight included. `unsent`: produced and not acknowledged.
    `windows`: parts and sums of statistics; over it windows are held for less long (`processors.windows_bound`).
    Over the others the work before it waits, and partitions are paused; nothing is dropped.
    """

    model_config = SettingsConfigDict(env_prefix="LINESIGHT_BUDGET_", frozen=True)

    fetched_mib: PositiveInt = 32
    held_mib: PositiveInt = 64
    decoded_mib: PositiveInt = 128
    unsent_mib: PositiveInt = 16
    windows_mib: PositiveInt = 2048

    @property
    def fetched_bytes(self) -> int:
        """In bytes."""
        return self.fetched_mib << 20

    @property
    def held_bytes(self) -> int:
        """In bytes."""
        return self.held_mib << 20

    @property
    def decoded_bytes(self) -> int:
        """In bytes."""
        return self.decoded_mib << 20

    @property
    def unsent_bytes(self) -> int:
        """In bytes."""
        return self.unsent_mib << 20

    @property
    def windows_bytes(self) -> int:
        """In bytes."""
        return self.windows_mib << 20


class ObjectStoreSettings(FromEnvironment):
    """`OBJECT_STORE_*`: pictures and large frames. A folder by default; `s3://bucket` with endpoint and keys for the S3 API."""

    model_config = SettingsConfigDict(env_prefix="OBJECT_STORE_", frozen=True)

    url: str = "run/objects"
    endpoint: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    secure: bool = True


class StageSettings(FromEnvironment):
    """`LINESIGHT_*`: what a single process needs to know. `metrics_port` 0 takes a free port. `plant_file` is the plant's description, for
    the commands that a stage starts; `linesight run` sets it."""

    model_config = SettingsConfigDict(env_prefix="LINESIGHT_", frozen=True)

    run_dir: Path = Path("run")
    metrics_port: Annotated[int, Field(ge=0, le=HIGHEST_PORT)] = 0
    metrics_host: str = "127.0.0.1"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    instance: str = "0"
    plant_file: Path | None = None


class SpoolSettings(FromEnvironment):
    """`LINESIGHT_SPOOL_*`: where a gateway keeps what Kafka has not taken, and how much.

    `max_mib`: of one process. `max_age_h`: of droppable records. `keep_free_percent`: of the disk, left to others. `drain_mib_per_s`:
    how fast a long backlog of frames is sent, beside the live ones. `sync_ms`: what a power cut may cost; 0 syncs every write.
    """

    model_config = SettingsConfigDict(env_prefix="LINESIGHT_SPOOL_", frozen=True)

    dir: Path | None = None
    max_mib: PositiveInt = 8192
    max_age_h: PositiveFloat = 24.0
    keep_free_percent: Annotated[float, Field(ge=0, lt=100)] = 5.0
    drain_mib_per_s: PositiveFloat = 4.0
    sync_ms: NonNegativeInt = 200

    @property
    def folder(self) -> Path:
        """`dir`; where that is not set, `spool` in the run folder."""
        return self.dir or StageSettings().run_dir / "spool"
