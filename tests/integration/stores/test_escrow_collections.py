"""Escrows of both kinds: what is written is what is read, and lists give what they say, in order."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.cloud import firestore

from shared.domain.dvp import DvpCreated, DvpDeposited, DvpRole, DvpSettled, DvpStatus, DvpStep
from shared.domain.escrows import (
    Approved,
    ArbiterChanged,
    ArbiterProposed,
    Created,
    Disputed,
    EscrowRole,
    EscrowStatus,
    EscrowStep,
    Released,
    ReleasePolicy,
    Resolved,
    Withdrawn,
)
from shared.domain.steps import StepRecord
from shared.stores import (
    database,
    dvp_escrows,
    escrows,
)
from shared.stores.escrow_collection import escrow_id
from tests.conftest import Project

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def client(project: Project) -> firestore.Client:
    """The client of a function in this project."""
    return database.connect(project.settings())


def _address(number: int) -> str:
    return f"0x{number:040x}"


def _put(client: firestore.Client, path: str, fields: dict[str, object]) -> None:
    commit = database.Commit(client)
    commit.put(path, fields)
    commit.apply()


def test_escrows(client: firestore.Client) -> None:
    terms = Created(
        payer=_address(1),
        payee=_address(2),
        arbiter=_address(3),
        asset="ETH",
        asset_address=_address(0),
        decimals=18,
        amount_base=2**256 - 1,
        release_time=MOMENT,
        refund_time=MOMENT,
        dispute_window_s=60,
        policy=ReleasePolicy.TWO_OF_THREE,
    )
    changed: tuple[EscrowStep, ...] = (
        ArbiterProposed(EscrowRole.PAYER, _address(4)),
        ArbiterProposed(EscrowRole.PAYEE, None),
        ArbiterProposed(EscrowRole.PAYEE, _address(4)),
        ArbiterChanged(_address(3), _address(4)),
    )
    decided: tuple[EscrowStep, ...] = (
        Disputed(EscrowRole.PAYER, MOMENT),
        Resolved(10_000, 2**256 - 1, 0),
        Withdrawn(EscrowRole.PAYEE, _address(2), 2**256 - 1),
    )
    stories: dict[int, dict[int, EscrowStep]] = {
        10: dict(enumerate((terms, *changed, *decided), start=1)),
        11: {1: terms},
        # Its creation has not been seen.
        12: {2: Approved(EscrowRole.PAYER, _address(1)), 3: Released(_address(2), 5)},
    }
    for number, steps in stories.items():
        records: dict[int, StepRecord[EscrowStep]] = {
            step: StepRecord(step=kind, revision=2, retracted=1) for step, kind in steps.items()
        }
        path = escrows.path(escrow_id(1, _address(number)))
        _put(client, path, escrows.encode(1, _address(number), records))
        document = database.find(client, path)
        assert document is not None
        assert escrows.decode_records(document.fields) == records

    ids = [escrow_id(1, _address(number)) for number in stories]
    found = escrows.find_many(client, ids)
    assert sorted(found) == ids[:2]
    assert found[ids[0]].escrow.terms == terms
    assert (found[ids[0]].escrow.status, found[ids[0]].escrow.withdrawn) == (EscrowStatus.RESOLVED, True)
    page = escrows.list_page(client, after=None, limit=9)
    assert [stored.escrow_id for stored in page] == ids[:2]
    page = escrows.list_page(client, after=None, limit=9, status=EscrowStatus.CREATED)
    assert [stored.escrow_id for stored in page] == [ids[1]]
    page = escrows.list_page(client, after=None, limit=9, parties=[_address(4)])
    assert [stored.escrow_id for stored in page] == [ids[0]], "the present arbiter is a party"
    page = escrows.list_page(client, after=ids[0], limit=9, parties=[_address(2), _address(7)])
    assert [stored.escrow_id for stored in page] == [ids[1]]
    assert escrows.list_page(client, after=None, limit=9, parties=[_address(7)]) == []


def test_dvp_escrows(client: firestore.Client) -> None:
    terms = DvpCreated(
        seller=_address(1),
        buyer=_address(2),
        delivery_asset=None,
        delivery_asset_address=_address(8),
        delivery_decimals=None,
        delivery_amount_base=2**256 - 1,
        payment_asset="ETH",
        payment_asset_address=_address(0),
        payment_decimals=18,
        payment_amount_base=5,
        deadline=MOMENT,
    )
    delivered = DvpDeposited(DvpRole.SELLER, _address(1), _address(8), 2**256 - 1)
    paid = DvpDeposited(DvpRole.BUYER, _address(2), _address(0), 5)
    stories: dict[int, dict[int, DvpStep]] = {
        20: {1: terms, 2: delivered, 3: paid, 4: DvpSettled()},
        21: {1: terms, 2: paid},
        22: {2: delivered},
    }
    for number, steps in stories.items():
        records: dict[int, StepRecord[DvpStep]] = {
            step: StepRecord(step=kind, revision=0) for step, kind in steps.items()
        }
        path = dvp_escrows.path(escrow_id(1, _address(number)))
        _put(client, path, dvp_escrows.encode(1, _address(number), records))
        document = database.find(client, path)
        assert document is not None
        assert dvp_escrows.decode_records(document.fields) == records

    ids = [escrow_id(1, _address(number)) for number in stories]
    found = dvp_escrows.find_many(client, ids)
    assert sorted(found) == ids[:2]
    assert (found[ids[0]].escrow.terms, found[ids[0]].escrow.status) == (terms, DvpStatus.SETTLED)
    page = dvp_escrows.list_page(client, after=None, limit=9, status=DvpStatus.OPEN, parties=[_address(2)])
    assert [stored.escrow_id for stored in page] == [ids[1]]
    assert dvp_escrows.list_page(client, after=ids[0], limit=9, parties=[_address(7)]) == []
