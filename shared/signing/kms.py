"""Keys in Cloud KMS (``EC_SIGN_SECP256K1_SHA256``, HSM): the private key never leaves it.

Source: https://cloud.google.com/kms/docs/create-validate-signatures. KMS signs any 32 bytes that it is given
as a SHA-256 digest, which is how an Ethereum hash is signed; integrity is checked by CRC32C both ways
(https://cloud.google.com/kms/docs/data-integrity-guidelines). No emulator of KMS exists: tests have Google's
client talk to a server of theirs that has a real key.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from shared.chain.raw_transactions import Signature
from shared.errors import RetryableError
from shared.signing.signer import SignerError, address_of, point_of_pem, signature_of_der

if TYPE_CHECKING:
    from google.cloud.kms_v1 import KeyManagementServiceClient

_TIMEOUT_S = 5.0


class KmsSigner:
    """Signs with one version of a key: ``projects/…/cryptoKeyVersions/1``."""

    def __init__(self, client: KeyManagementServiceClient, key_version: str) -> None:
        self._client = client
        self._key_version = key_version

    @cached_property
    def address(self) -> str:
        """The address of the key, in lower case.

        Raises:
            RetryableError: KMS did not answer, or the answer was damaged on its way.
            SignerError: it is another key's, or the key is on another curve.
        """
        answer = self._call(self._client.get_public_key, {"name": self._key_version})
        self._check(answer, answer.pem.encode(), answer.pem_crc32c)
        return address_of(point_of_pem(answer.pem))

    def sign(self, digest: bytes) -> Signature:
        """The signature of 32 bytes.

        Raises:
            RetryableError: KMS did not answer, or the answer was damaged on its way.
            SignerError: what it answered is no signature of this key.
        """
        answer = self._call(
            self._client.asymmetric_sign,
            {
                "name": self._key_version,
                "digest": {"sha256": digest},
                "digest_crc32c": _crc32c(digest),
            },
        )
        if not answer.verified_digest_crc32c:
            raise RetryableError(f"the digest for {self._key_version} may have been damaged on its way")
        self._check(answer, answer.signature, answer.signature_crc32c)
        return signature_of_der(answer.signature, digest, self.address)

    def _check(self, answer: Any, content: bytes, checksum: int) -> None:
        if checksum != _crc32c(content):
            raise RetryableError(f"the answer of {self._key_version} was damaged on its way")
        if answer.name != self._key_version:
            raise SignerError(f"{answer.name} answered in place of {self._key_version}")

    def _call(self, method: Any, request: dict[str, Any]) -> Any:
        from google.api_core import exceptions as google_errors  # noqa: PLC0415 as the client is

        try:
            return method(request=request, timeout=_TIMEOUT_S)
        except (google_errors.GoogleAPICallError, google_errors.RetryError) as error:
            raise RetryableError(f"Cloud KMS did not answer for {self._key_version}: {error}") from error


def _crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), as Google's APIs use it; inputs here have at most some hundred bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=256)
def connect(key_version: str) -> KmsSigner:
    """The process's signer for a key version; one client serves all."""
    return KmsSigner(_client(), key_version)


@lru_cache(maxsize=1)
def _client() -> KeyManagementServiceClient:
    # Imported here: only a process that signs pays for the client, and only once it does.
    from google.cloud.kms_v1 import KeyManagementServiceClient  # noqa: PLC0415

    return KeyManagementServiceClient()
