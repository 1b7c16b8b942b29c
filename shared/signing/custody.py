"""Which signer signs for an account: a key in the setting, or the key version that custody's record names."""

from __future__ import annotations

from functools import lru_cache

from shared.config import Settings
from shared.signing.local import LocalSigner
from shared.signing.signer import Signer, SignerError


def find_signer(settings: Settings, account_id: str, key_version: str | None) -> Signer:
    """The signer of an account in custody.

    Args:
        settings: with ``SIGNER_KEYS``.
        account_id: the address that it must sign for.
        key_version: the Cloud KMS key version of custody's record; None for a key of the setting.

    Raises:
        SignerError: there is none, or it would sign for another address.
        RetryableError: Cloud KMS did not answer.
    """
    signer: Signer
    if key_version is None:
        local = _local_signers(settings.local_signer_keys)
        if account_id not in local:
            raise SignerError(f"SIGNER_KEYS has no key of {account_id}, and custody names no Cloud KMS key")
        return local[account_id]
    # Imported here: a process with local keys needs none of it.
    from shared.signing import kms  # noqa: PLC0415

    signer = kms.connect(key_version)
    if signer.address != account_id:
        raise SignerError(f"{key_version} is the key of {signer.address}, not of {account_id}")
    return signer


@lru_cache(maxsize=4)
def _local_signers(keys: tuple[bytes, ...]) -> dict[str, LocalSigner]:
    return {signer.address: signer for signer in map(LocalSigner, keys)}
