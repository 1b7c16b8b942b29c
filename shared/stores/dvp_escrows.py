"""``dvp_escrows``: every delivery-versus-payment escrow."""

from __future__ import annotations

from typing import get_args

from shared.domain.dvp import DvpEscrow, DvpStep, fold_records
from shared.stores.escrow_collection import EscrowCollection, Stored

COLLECTION = "dvp_escrows"
StoredDvpEscrow = Stored[DvpEscrow]

_escrows: EscrowCollection[DvpEscrow, DvpStep] = EscrowCollection(COLLECTION, get_args(DvpStep), fold_records)
path = _escrows.path
encode = _escrows.encode
decode_records = _escrows.decode_records
find_many = _escrows.find_many
list_page = _escrows.list_page
