"""``escrows``: every escrow."""

from __future__ import annotations

from typing import get_args

from shared.domain.escrows import Escrow, EscrowStep, fold_records
from shared.stores.escrow_collection import EscrowCollection, Stored

COLLECTION = "escrows"
StoredEscrow = Stored[Escrow]

_escrows: EscrowCollection[Escrow, EscrowStep] = EscrowCollection(
    COLLECTION, get_args(EscrowStep), fold_records
)
path = _escrows.path
encode = _escrows.encode
decode_records = _escrows.decode_records
find_many = _escrows.find_many
list_page = _escrows.list_page
