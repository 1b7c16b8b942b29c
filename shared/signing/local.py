"""Keys in a setting, for development: settings refuse them in a deployed environment."""

from __future__ import annotations

from functools import cached_property

from shared.chain.raw_transactions import Signature
from shared.signing.signer import address_of


class LocalSigner:
    """Signs with a private key of 32 bytes; the nonce of each signature is deterministic (RFC 6979)."""

    def __init__(self, secret: bytes) -> None:
        # Imported here: see shared.signing.signer.
        from coincurve import PrivateKey  # noqa: PLC0415

        self._key = PrivateKey(secret)

    @cached_property
    def address(self) -> str:
        """The address, in lower case."""
        return address_of(self._key.public_key.format(compressed=False))

    def sign(self, digest: bytes) -> Signature:
        """The signature of 32 bytes; libsecp256k1 makes ``s`` low."""
        signed = self._key.sign_recoverable(digest, hasher=None)
        return Signature(int.from_bytes(signed[:32], "big"), int.from_bytes(signed[32:64], "big"), signed[64])
