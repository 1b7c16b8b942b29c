"""The Cloud KMS signer: Google's own client, its protocol over gRPC, and signatures of a real key.

What no server here can show is the HSM and its permissions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud.kms_v1.types import AsymmetricSignResponse
from google.cloud.kms_v1.types import PublicKey as KmsPublicKey

from local.chain import LocalChain
from local.emulators import EmulatorHosts
from shared.chain.raw_transactions import Signature
from shared.domain.fees import Fees
from shared.errors import RetryableError
from shared.runtime import attempts
from shared.signing.kms import KmsSigner
from shared.signing.signer import SignerError, address_of
from tests.eventually import eventually
from tests.integration.signing.key_service import KEY_VERSION, ORDER, KeyService, serving
from tests.messages import new_address

DIGESTS = [hashlib.sha256(str(number).encode()).digest() for number in range(20)]


@pytest.fixture
def service() -> KeyService:
    """The service and its key."""
    return KeyService()


@pytest.fixture
def signer(service: KeyService) -> Iterator[KmsSigner]:
    """The signer of the service's key."""
    with serving(service) as client:
        yield KmsSigner(client, KEY_VERSION)


def _address(service: KeyService) -> str:
    numbers = service.key.public_key().public_numbers()
    return address_of(b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big"))


def _recovered(signature: Signature, digest: bytes) -> str:
    compact = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([signature.y_parity])
    return address_of(
        PublicKey.from_signature_and_message(compact, digest, hasher=None).format(compressed=False)
    )


@pytest.mark.parametrize("high_s", [False, True])
def test_every_signature_has_a_low_s_and_recovers_the_address(
    signer: KmsSigner, service: KeyService, high_s: bool
) -> None:
    service.high_s = high_s
    signatures = [signer.sign(digest) for digest in DIGESTS]
    recovered = {_recovered(each, digest) for each, digest in zip(signatures, DIGESTS, strict=True)}
    assert recovered == {signer.address} == {_address(service)}
    assert all(each.s <= ORDER // 2 for each in signatures)
    assert {each.y_parity for each in signatures} == {0, 1}
    # The address is asked for once.
    assert service.calls.count("GetPublicKey") == 1


def test_a_chain_takes_a_transaction_for_the_keys_address(
    signer: KmsSigner, emulators: EmulatorHosts
) -> None:
    chain = LocalChain(emulators.rpc)
    recipient = new_address()
    chain.set_balances({signer.address: 10**18})
    attempt = attempts.sign_call(
        signer,
        chain_id=31337,
        nonce=0,
        fees=Fees(100 * 10**9, 10**9),
        to=recipient,
        data="0x",
        value_base=7,
        gas_limit=21_000,
        now=datetime.now(UTC),
    )
    assert chain.client.call("eth_sendRawTransaction", attempt.raw) == attempt.hash
    assert eventually(lambda: int(chain.client.call("eth_getBalance", recipient, "latest"), 16) == 7)
    assert chain.client.call("eth_getTransactionByHash", attempt.hash)["from"] == signer.address


def _flip_signature(answer: AsymmetricSignResponse) -> None:
    answer.signature = answer.signature[:-1] + bytes([answer.signature[-1] ^ 1])


DAMAGED: dict[str, Callable[[AsymmetricSignResponse], None]] = {
    "a bit of the signature": _flip_signature,
    "the signature's checksum": lambda answer: setattr(answer, "signature_crc32c", 1),
    "no signature's checksum": lambda answer: setattr(answer, "signature_crc32c", None),
    "a digest that nobody verified": lambda answer: setattr(answer, "verified_digest_crc32c", False),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_an_answer_that_was_damaged_on_its_way_is_asked_for_again(
    signer: KmsSigner, service: KeyService, damage: str
) -> None:
    service.spoil_signature = DAMAGED[damage]
    with pytest.raises(RetryableError, match="damaged"):
        signer.sign(DIGESTS[0])
    service.spoil_signature = lambda _answer: None
    assert _recovered(signer.sign(DIGESTS[0]), DIGESTS[0]) == signer.address


def test_a_digest_that_was_damaged_on_its_way_is_not_signed(signer: KmsSigner, service: KeyService) -> None:
    service.corrupt_digest = True
    with pytest.raises(RetryableError, match="checksum does not match"):
        signer.sign(DIGESTS[0])


def _damaged_pem(answer: KmsPublicKey) -> None:
    answer.pem = answer.pem.replace("A", "B", 1)


PUBLIC_KEYS: dict[str, tuple[Callable[[KmsPublicKey], Any], type[Exception]]] = {
    "a damaged key": (_damaged_pem, RetryableError),
    "no checksum": (lambda answer: setattr(answer, "pem_crc32c", None), RetryableError),
    "another key version's": (lambda answer: setattr(answer, "name", KEY_VERSION[:-1] + "2"), SignerError),
}


@pytest.mark.parametrize("case", PUBLIC_KEYS)
def test_a_public_key_that_is_not_the_keys_gives_no_address(
    signer: KmsSigner, service: KeyService, case: str
) -> None:
    service.spoil_public_key, expected = PUBLIC_KEYS[case]
    with pytest.raises(expected):
        _ = signer.address
    service.spoil_public_key = lambda _answer: None
    assert signer.address == _address(service)


def test_a_key_on_another_curve_gives_no_address(signer: KmsSigner, service: KeyService) -> None:
    service.key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SignerError, match="secp256k1"):
        _ = signer.address


def test_what_another_key_signed_is_refused(signer: KmsSigner, service: KeyService) -> None:
    assert signer.address == _address(service)
    service.key = ec.generate_private_key(ec.SECP256K1())
    with pytest.raises(SignerError, match="not made with the key"):
        signer.sign(DIGESTS[0])


def test_what_another_key_version_signed_is_refused(signer: KmsSigner, service: KeyService) -> None:
    service.spoil_signature = lambda answer: setattr(answer, "name", KEY_VERSION[:-1] + "2")
    with pytest.raises(SignerError, match="in place of"):
        signer.sign(DIGESTS[0])


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_a_refusal_is_tried_again_later_and_names_the_key(
    signer: KmsSigner, service: KeyService, code: grpc.StatusCode
) -> None:
    service.failure = code
    with pytest.raises(RetryableError, match="cryptoKeyVersions/1"):
        signer.sign(DIGESTS[0])
