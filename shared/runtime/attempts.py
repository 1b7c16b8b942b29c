"""Signing attempts of a transaction."""

from __future__ import annotations

from datetime import datetime

from shared.chain.raw_transactions import TRANSFER_GAS, UnsignedTransaction, transaction_hash
from shared.domain.fees import Fees
from shared.domain.transactions import Attempt
from shared.signing.signer import Signer


def sign_call(
    signer: Signer,
    *,
    chain_id: int,
    nonce: int,
    fees: Fees,
    to: str,
    data: str,
    value_base: int,
    gas_limit: int,
    now: datetime,
) -> Attempt:
    """A signed attempt at a call.

    Raises:
        RetryableError: the key's keeper did not answer.
        SignerError: what it answered is no signature of this key.
    """
    unsigned = UnsignedTransaction(chain_id, nonce, fees, gas_limit, to, value_base, data)
    return _signed(signer, unsigned, no_op=False, now=now)


def sign_no_op(signer: Signer, *, chain_id: int, nonce: int, fees: Fees, now: datetime) -> Attempt:
    """A signed attempt at nothing: an empty transfer to the signer itself, which only uses the nonce up.

    Raises: as :func:`sign_call`.
    """
    unsigned = UnsignedTransaction(chain_id, nonce, fees, TRANSFER_GAS, signer.address, 0, "0x")
    return _signed(signer, unsigned, no_op=True, now=now)


def _signed(signer: Signer, unsigned: UnsignedTransaction, *, no_op: bool, now: datetime) -> Attempt:
    raw = unsigned.raw(signer.sign(unsigned.signing_hash()))
    return Attempt(transaction_hash(raw), "0x" + raw.hex(), unsigned.fees, no_op, signed_at=now)
