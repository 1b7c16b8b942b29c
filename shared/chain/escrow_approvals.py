"""What a party's own wallet sends or signs to approve an escrow's release.

Source: ``Escrow.approve`` and ``Escrow.approveBySignature`` in ``contracts/src/Escrow.sol``; typed data is of
EIP-712 (https://eips.ethereum.org/EIPS/eip-712) in the form of ``eth_signTypedData_v4``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from shared.chain import abi
from shared.chain.settlement_calls import ContractCall
from shared.domain.escrows import Escrow, EscrowRole

ROLE_NUMBERS = {EscrowRole.PAYER: 1, EscrowRole.PAYEE: 2, EscrowRole.ARBITER: 4}
"""The numbers of ``IEscrowFactory``."""

_DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
_APPROVAL = [
    {"name": "role", "type": "uint8"},
    {"name": "payee", "type": "address"},
    {"name": "asset", "type": "address"},
    {"name": "amount", "type": "uint256"},
    {"name": "round", "type": "uint32"},
    {"name": "deadline", "type": "uint256"},
]


def approval_transaction(address: str) -> ContractCall:
    """The approval of whoever sends it."""
    return ContractCall(address, abi.selector("approve()"), 0)


def approval_typed_data(
    chain_id: int, address: str, escrow: Escrow, role: EscrowRole, deadline: datetime
) -> dict[str, Any]:
    """The approval of a role's holder as EIP-712 typed data; anyone may submit the signature.

    Numbers that JSON's readers would round are strings of digits. The signature is worth nothing after the
    deadline (whole seconds), or once the arbiter has been replaced.
    """
    return {
        "types": {"EIP712Domain": _DOMAIN, "Approval": _APPROVAL},
        "primaryType": "Approval",
        "domain": {
            "name": "Fusion Prime Escrow",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": address,
        },
        "message": {
            "role": ROLE_NUMBERS[role],
            "payee": escrow.terms.payee,
            "asset": escrow.terms.asset_address,
            "amount": str(escrow.terms.amount_base),
            "round": escrow.round,
            "deadline": str(int(deadline.timestamp())),
        },
    }
