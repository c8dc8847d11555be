"""`KAFKA_*` settings against a real broker with TLS, SASL and client certificates; both client libraries of the project."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as AioKafkaError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError

from ops.local import kafka as local_kafka
from ops.local.kafka import LocalKafka
from ops.local.ports import free_ports
from schemas.settings import KafkaSettings

PASSWORD = "not-the-usual-one"
SECURED = """
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port},SASL://{host}:@sasl@,MUTUAL://{host}:@mutual@
advertised.listeners=PLAINTEXT://{host}:{port},SASL://{host}:@sasl@,MUTUAL://{host}:@mutual@
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_linesight="@password@";
ssl.keystore.type=PEM
ssl.keystore.location=@keystore@
ssl.truststore.type=PEM
ssl.truststore.location=@ca@
listener.name.mutual.ssl.client.auth=required
"""  # Java properties: the last of two equal keys holds


@dataclass(frozen=True)
class Certificate:
    """A certificate with its key, as PEM files; `both` holds one after the other."""

    certificate: Path
    key: Path
    both: Path


@dataclass(frozen=True)
class Secured:
    """A broker with three listeners: plain, TLS with password, TLS with client certificate."""

    plain: str
    sasl: str
    mutual: str
    ca: Path
    client: Certificate


class Authority:
    """Issues certificates for 127.0.0.1, valid for a day."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = folder / f"{name}-ca.pem"
        signed = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, None), critical=True)
        self.certificate.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def issue(self, name: str) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        signed = _pem(builder.add_extension(address, critical=False).sign(self._key, hashes.SHA256()))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = Certificate(*(self._folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")))
        files.certificate.write_bytes(signed)
        files.key.write_bytes(private)
        files.both.write_bytes(private + signed)
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def broker(kafka_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder, "plant")
    sasl, mutual = free_ports(2)
    settings = SECURED.replace("@sasl@", str(sasl)).replace("@mutual@", str(mutual)).replace("@password@", PASSWORD)
    settings = settings.replace("@keystore@", str(authority.issue("broker").both)).replace(
        "@ca@", str(authority.certificate)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_kafka, "SERVER_PROPERTIES", local_kafka.SERVER_PROPERTIES + settings)
        with LocalKafka(folder / "run") as running:
            plain = running.bootstrap_servers
            admin = KafkaAdminClient(bootstrap_servers=plain)
            admin.create_topics([NewTopic("letters", num_partitions=1, replication_factor=1)])
            admin.close()
            yield Secured(
                plain=plain,
                sasl=f"127.0.0.1:{sasl}",
                mutual=f"127.0.0.1:{mutual}",
                ca=authority.certificate,
                client=authority.issue("linesight"),
            )


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in KafkaSettings.model_fields:
        monkeypatch.delenv(f"KAFKA_{name.upper()}", raising=False)
    return monkeypatch


def login(
    environment: pytest.MonkeyPatch, broker: Secured, *, password: str = PASSWORD, ca: Path | None = None
) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.sasl)
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    environment.setenv("KAFKA_SASL_USERNAME", "linesight")
    environment.setenv("KAFKA_SASL_PASSWORD", password)
    environment.setenv("KAFKA_SSL_CAFILE", str(ca or broker.ca))


def with_certificate(environment: pytest.MonkeyPatch, broker: Secured) -> None:
    environment.setenv("KAFKA_BOOTSTRAP_SERVERS", broker.mutual)
    environment.setenv("KAFKA_SECURITY_PROTOCOL", "SSL")
    environment.setenv("KAFKA_SSL_CAFILE", str(broker.ca))
    environment.setenv("KAFKA_SSL_CERTFILE", str(broker.client.certificate))
    environment.setenv("KAFKA_SSL_KEYFILE", str(broker.client.key))


async def send_with_aiokafka() -> int:
    async with AIOKafkaProducer(**KafkaSettings().client(), acks="all", request_timeout_ms=10_000) as producer:
        return int((await producer.send_and_wait("letters", b"aio")).offset)


def send_with_kafka_python() -> int:
    producer = KafkaProducer(**KafkaSettings().client(), acks="all", max_block_ms=10_000, bootstrap_timeout_ms=5_000)
    try:
        return int(producer.send("letters", b"sync").get(timeout=20).offset)
    finally:
        producer.close(timeout=5)


async def test_a_password_over_tls_opens_the_broker_to_both_clients(
    environment: pytest.MonkeyPatch, broker: Secured
) -> None:
    login(environment, broker)
    first, second = await send_with_aiokafka(), send_with_kafka_python()
    consumer = KafkaConsumer(
        "letters", bootstrap_servers=broker.plain, auto_offset_reset="earliest", consumer_timeout_ms=10_000
    )
    found: dict[int, bytes] = {}
    for record in consumer:
        found[record.offset] = record.value
        if {first, second} <= set(found):
            break
    consumer.close()
    assert (found[first], found[second]) == (b"aio", b"sync")


async def test_a_client_certificate_opens_the_broker_to_both_clients(
    environment: pytest.MonkeyPatch, broker: Secured
) -> None:
    with_certificate(environment, broker)
    assert await send_with_aiokafka() < send_with_kafka_python()


async def test_a_wrong_password_is_refused(environment: pytest.MonkeyPatch, broker: Secured) -> None:
    login(environment, broker, password="guess")
    with pytest.raises(AioKafkaError):
        await send_with_aiokafka()
    with pytest.raises(KafkaError):
        send_with_kafka_python()


async def test_a_broker_that_nobody_vouches_for_is_refused(
    environment: pytest.MonkeyPatch, broker: Secured, tmp_path: Path
) -> None:
    login(environment, broker, ca=Authority(tmp_path, "stranger").certificate)
    with pytest.raises(AioKafkaError):
        await send_with_aiokafka()


async def test_without_a_client_certificate_the_broker_refuses(
    environment: pytest.MonkeyPatch, broker: Secured
) -> None:
    with_certificate(environment, broker)
    environment.delenv("KAFKA_SSL_CERTFILE")
    with pytest.raises(AioKafkaError):
        await send_with_aiokafka()
