"""The one interface of signers, and what any of them needs to know of secp256k1.

Sources: SEC 1 (https://www.secg.org/sec1-v2.pdf), 4.1.6 for the recovery of a public key; EIP-2 for the low
``s``; RFC 5480 for the form of a public key in PEM. The curve itself is libsecp256k1's.
"""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from shared.chain.abi import keccak256
from shared.chain.raw_transactions import Signature
from shared.errors import FusionError

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_SPKI_PREFIX = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")
"""SubjectPublicKeyInfo up to the point: id-ecPublicKey on secp256k1, and a bit string of 65 bytes."""


class SignerError(FusionError):
    """A key cannot sign for the address that it should."""


class Signer(Protocol):
    """Signs for one address."""

    @property
    def address(self) -> str:
        """The address, in lower case."""
        ...

    def sign(self, digest: bytes) -> Signature:
        """The signature of 32 bytes.

        Raises:
            RetryableError: the key's keeper did not answer.
            SignerError: what it answered is no signature of this key.
        """
        ...


def address_of(public_key: bytes) -> str:
    """The address of an uncompressed public key of 65 bytes."""
    if len(public_key) != 65 or public_key[0] != 4:
        raise SignerError("a public key must be 0x04 and two coordinates of 32 bytes")
    return "0x" + keccak256(public_key[1:])[12:].hex()


def point_of_pem(pem: str) -> bytes:
    """The uncompressed point of a secp256k1 public key in PEM.

    Raises:
        SignerError: it is not one.
    """
    lines = [line.strip() for line in pem.strip().splitlines()]
    if len(lines) < 3 or lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
        raise SignerError("the key's keeper did not send a public key in PEM")
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error as error:
        raise SignerError("the public key's PEM is not base64") from error
    if not der.startswith(_SPKI_PREFIX) or len(der) != len(_SPKI_PREFIX) + 65:
        raise SignerError("the public key is not an uncompressed one on secp256k1")
    return der[len(_SPKI_PREFIX) :]


def signature_of_der(der: bytes, digest: bytes, address: str) -> Signature:
    """The signature that Ethereum takes from one in DER: low ``s``, and the parity that yields the address.

    Raises:
        SignerError: it is malformed, or not a signature of ``digest`` by the key of ``address``.
    """
    # Imported here: its native library costs more than the rest of a function that rarely signs.
    from coincurve import PublicKey  # noqa: PLC0415
    from coincurve.ecdsa import der_to_cdata, serialize_compact, signature_normalize  # noqa: PLC0415

    try:
        _, low = signature_normalize(der_to_cdata(der))
    except ValueError as error:
        raise SignerError("the signature is not DER") from error
    compact = serialize_compact(low)
    for parity in (0, 1):
        try:
            recovered = PublicKey.from_signature_and_message(
                compact + bytes([parity]), digest, hasher=None
            ).format(compressed=False)
        except Exception as error:
            if type(error) not in (Exception, ValueError):
                raise
            continue
        if address_of(recovered) == address:
            return Signature(int.from_bytes(compact[:32], "big"), int.from_bytes(compact[32:], "big"), parity)
    raise SignerError(f"the signature was not made with the key of {address}")
