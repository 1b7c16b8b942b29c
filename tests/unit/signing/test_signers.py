"""Signers: what Cloud KMS answers is turned into what Ethereum takes, with keys and signatures made here.

The signatures come from OpenSSL, which knows nothing of Ethereum's rules. The calls are tested in
``tests/integration/signing``.
"""

from __future__ import annotations

import hashlib

import pytest
from coincurve import PublicKey
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from shared.chain.raw_transactions import Signature
from shared.signing.kms import _crc32c
from shared.signing.local import LocalSigner
from shared.signing.signer import (
    CURVE_ORDER,
    SignerError,
    address_of,
    point_of_pem,
    signature_of_der,
)

# The first of the keys that every Ethereum development tool gives out, and its address.
KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
ADDRESS = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
OPENSSL_KEY = ec.derive_private_key(int.from_bytes(KEY, "big"), ec.SECP256K1())


def _recovered(signature: Signature, digest: bytes) -> str:
    compact = signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([signature.y_parity])
    point = PublicKey.from_signature_and_message(compact, digest, hasher=None).format(compressed=False)
    return address_of(point)


def _der(digest: bytes) -> bytes:
    return OPENSSL_KEY.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))


@given(st.binary(min_size=32, max_size=32))
def test_a_local_key_signs_for_its_address(digest: bytes) -> None:
    signer = LocalSigner(KEY)
    signature = signer.sign(digest)
    assert signer.address == ADDRESS
    assert _recovered(signature, digest) == ADDRESS
    assert signature.s <= CURVE_ORDER // 2
    assert signer.sign(digest) == signature


@given(st.binary(min_size=32, max_size=32))
def test_a_signature_in_der_becomes_one_that_recovers_the_address(digest: bytes) -> None:
    der = _der(digest)
    signature = signature_of_der(der, digest, ADDRESS)
    r, s = decode_dss_signature(der)
    assert signature.r == r
    assert signature.s == min(s, CURVE_ORDER - s)
    assert _recovered(signature, digest) == ADDRESS


def test_a_high_s_is_made_low() -> None:
    digest = hashlib.sha256(b"high").digest()
    r, s = decode_dss_signature(_der(digest))
    low, high = sorted((s, CURVE_ORDER - s))
    found = [signature_of_der(encode_dss_signature(r, each), digest, ADDRESS) for each in (low, high)]
    assert found[0] == found[1]
    assert found[0].s == low


@pytest.mark.parametrize("der", [b"", b"\x30\x00", b"\x30\x06\x02\x01\x01\x02\x01", b"x" * 70])
def test_what_is_not_der_is_refused(der: bytes) -> None:
    with pytest.raises(SignerError):
        signature_of_der(der, bytes(32), ADDRESS)


def test_a_signature_of_something_else_or_by_another_key_is_refused() -> None:
    digest, other = (hashlib.sha256(text).digest() for text in (b"this", b"that"))
    with pytest.raises(SignerError, match="not made with the key"):
        signature_of_der(_der(digest), other, ADDRESS)
    with pytest.raises(SignerError, match="not made with the key"):
        signature_of_der(_der(digest), digest, "0x" + "11" * 20)


def test_the_address_of_a_public_key_in_pem() -> None:
    pem = OPENSSL_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert address_of(point_of_pem(pem)) == ADDRESS
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    p256 = other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for wrong in (p256, "", pem.replace("PUBLIC", "PRIVATE"), pem.replace("M", "!", 1), pem[:60] + pem[64:]):
        with pytest.raises(SignerError):
            point_of_pem(wrong)


def test_crc32c_has_its_published_check_value() -> None:
    """The check value of CRC-32C in the catalogue of CRC algorithms, https://reveng.sourceforge.io/crc-catalogue/."""
    assert _crc32c(b"123456789") == 0xE3069283
