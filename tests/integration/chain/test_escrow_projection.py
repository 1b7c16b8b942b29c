"""The rules know of an escrow, from its events alone, what the contract says."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from local.chain import LocalChain, Transaction, calldata
from local.deployment import Deployment
from local.escrows import (
    DvpTerms,
    EscrowTerms,
    approve_escrow,
    create_dvp,
    create_escrow,
    dispute_escrow,
    dvp_address,
    escrow_address,
    pay_dvp,
    propose_arbiter,
    refund_escrow,
    release_escrow,
    resolve_escrow,
    withdraw_escrow,
)
from shared.chain import abi, blocks, contract_events
from shared.chain.escrow_approvals import approval_transaction, approval_typed_data
from shared.chain.rpc import quantity
from shared.domain import dvp, escrows
from shared.domain.dvp import DvpEscrow, DvpRole, DvpStep
from shared.domain.escrows import Escrow, EscrowRole, EscrowStep, ReleasePolicy
from shared.domain.network import parse_network
from shared.domain.steps import StepRecord
from shared.events.escrow_steps import dvp_step, escrow_step
from tests.conftest import DeployedChain

# The orders of Escrow.Status and DvpEscrow.Status; 0 is a clone that nobody has initialized.
_STATUSES = ["", "created", "disputed", "released", "refunded", "resolved"]
_DVP_STATUSES = ["", "open", "settled", "refunded"]
_ROLE_BITS = {EscrowRole.PAYER: 1, EscrowRole.PAYEE: 2, EscrowRole.ARBITER: 4}
_DVP_ROLE_BITS = {DvpRole.SELLER: 1, DvpRole.BUYER: 2}
_ETHER = 10**18


@pytest.fixture(scope="module")
def chain(deployed_chain: DeployedChain) -> LocalChain:
    """The node that all tests share."""
    deployed_chain.restore()
    return deployed_chain.chain


@pytest.fixture(scope="module")
def deployment(chain: LocalChain, deployed_chain: DeployedChain) -> Deployment:
    """The contracts that all tests share; each test has an escrow of its own."""
    return deployed_chain.deployment


def _people(chain: LocalChain, count: int) -> list[str]:
    found = ["0x" + secrets.token_hex(20) for _ in range(count)]
    chain.set_balances(dict.fromkeys(found, 100 * _ETHER))
    return found


def _events(
    chain: LocalChain, deployment: Deployment, escrow: str, transactions: Sequence[Transaction]
) -> list[Any]:
    """What is announced of an escrow while these are mined, in turn."""
    first = blocks.head_number(chain.client) + 1
    chain.mine_in_turn([transactions])
    described = parse_network(json.dumps(deployment.network())).chains[31337]
    logs = chain.client.call(
        "eth_getLogs", {"address": deployment.escrow_factory, "fromBlock": hex(first), "toBlock": "latest"}
    )
    events: list[Any] = [contract_events.decode_log(described, log, 1_700_000_000) for log in logs]
    return [event for event in events if event.escrow == escrow]


def _read(chain: LocalChain, contract: str, signature: str, *values: Any, words: int = 1) -> list[int]:
    answer = chain.client.call("eth_call", {"to": contract, "data": calldata(signature, *values)}, "latest")
    return [abi.unsigned(word) for word in abi.words(answer, words)]


def _roles(mask: int, bits: dict[Any, int]) -> set[Any]:
    return {role for role, bit in bits.items() if mask & bit}


LIVES: dict[str, Callable[[str, list[str]], list[Transaction]]] = {
    "open": lambda e, p: [],
    "approved and released": lambda e, p: [
        *approve_escrow(e, p[1]),
        *approve_escrow(e, p[2]),
        *release_escrow(e, p[3]),
        *withdraw_escrow(e, p[1]),
    ],
    "given back by the payee": lambda e, p: [*refund_escrow(e, p[1]), *withdraw_escrow(e, p[0])],
    "disputed and split": lambda e, p: [
        *dispute_escrow(e, p[0]),
        *resolve_escrow(e, p[2], 3_333),
        *withdraw_escrow(e, p[1]),
        *withdraw_escrow(e, p[0]),
    ],
    "everything to the payer": lambda e, p: [*dispute_escrow(e, p[1]), *resolve_escrow(e, p[2], 0)],
    "the arbiter replaced in a dispute": lambda e, p: [
        *approve_escrow(e, p[2]),
        *dispute_escrow(e, p[0]),
        *propose_arbiter(e, p[0], p[3]),
        *propose_arbiter(e, p[1], p[3]),
        *approve_escrow(e, p[3]),
    ],
}


@pytest.mark.parametrize("life", LIVES)
def test_an_escrow(chain: LocalChain, deployment: Deployment, life: str) -> None:
    people = _people(chain, 4)
    payer, payee, arbiter, _ = people
    terms = EscrowTerms(
        payer, payee, arbiter, 7 * _ETHER + 1, secrets.token_bytes(32), ReleasePolicy.TWO_OF_THREE
    )
    address = escrow_address(chain, deployment, terms)

    events = _events(
        chain, deployment, address, [*create_escrow(deployment, terms), *LIVES[life](address, people)]
    )

    records: dict[int, StepRecord[EscrowStep]] = {
        event.step: StepRecord(escrow_step(event), revision=0) for event in events
    }
    escrow, contradiction = escrows.fold_records(records)
    assert contradiction is None
    assert isinstance(escrow, Escrow)
    assert _STATUSES[_read(chain, address, "status()")[0]] == escrow.status
    assert _read(chain, address, "step()")[0] == escrow.step == len(events)
    assert _roles(_read(chain, address, "approvedRoles()")[0], _ROLE_BITS) == escrow.approvals
    assert _roles(_read(chain, address, "withdrawnRoles()")[0], _ROLE_BITS) == escrow.withdrawals
    assert bool(_read(chain, address, "isApproved()")[0]) == escrow.approved
    assert _read(chain, address, "round()")[0] == escrow.round
    assert f"0x{_read(chain, address, 'arbiter()')[0]:040x}" == escrow.arbiter
    assert _read(chain, address, "releaseTime()")[0] == escrow.terms.release_time.timestamp()
    assert _read(chain, address, "refundTime()")[0] == escrow.refund_time.timestamp()
    for role, bit in _ROLE_BITS.items():
        assert _read(chain, address, "withdrawable(uint8)", bit)[0] == escrow.owed_base(role)
    held = quantity(chain.client.call("eth_getBalance", address, "latest"))
    assert held == (terms.amount_base if not escrow.withdrawals else 0)


@pytest.mark.parametrize("ending", ["open", "settled", "refunded"])
def test_a_delivery_versus_payment(chain: LocalChain, deployment: Deployment, ending: str) -> None:
    seller, buyer = _people(chain, 2)
    head = chain.client.call("eth_getBlockByNumber", "latest", False)
    terms = DvpTerms(
        seller,
        buyer,
        deployment.tokens["WBTC"],
        2 * 10**8,
        40 * _ETHER,
        quantity(head["timestamp"]) + 3_600,
        secrets.token_bytes(32),
    )
    address = dvp_address(chain, deployment, terms)
    rest = {
        "open": [],
        "settled": [*pay_dvp(address, terms), *withdraw_escrow(address, buyer)],
        "refunded": [*refund_escrow(address, buyer), *withdraw_escrow(address, seller)],
    }

    events = _events(chain, deployment, address, [*create_dvp(deployment, terms), *rest[ending]])

    records: dict[int, StepRecord[DvpStep]] = {
        event.step: StepRecord(dvp_step(event), revision=0) for event in events
    }
    escrow, contradiction = dvp.fold_records(records)
    assert contradiction is None
    assert isinstance(escrow, DvpEscrow)
    assert _DVP_STATUSES[_read(chain, address, "status()")[0]] == escrow.status == ending
    assert _read(chain, address, "step()")[0] == escrow.step == len(events)
    assert _roles(_read(chain, address, "depositedRoles()")[0], _DVP_ROLE_BITS) == escrow.deposits
    assert _roles(_read(chain, address, "withdrawnRoles()")[0], _DVP_ROLE_BITS) == escrow.withdrawals
    for role, bit in _DVP_ROLE_BITS.items():
        asset, amount = _read(chain, address, "withdrawable(uint8)", bit, words=2)
        owed = escrow.owed(role)
        assert amount == (owed.amount_base if owed else 0)
        assert owed is None or f"0x{asset:040x}" == owed.asset_address


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_wallets_signature_over_our_typed_data_approves(
    chain: LocalChain, deployment: Deployment, rounds: int
) -> None:
    # anvil's own accounts have keys, with which it signs as a wallet does.
    payer = str(chain.client.call("eth_accounts")[1]).lower()
    payee, arbiter, successor = _people(chain, 3)
    terms = EscrowTerms(payer, payee, arbiter, _ETHER, secrets.token_bytes(32))
    address = escrow_address(chain, deployment, terms)
    changes = [*propose_arbiter(address, payer, successor), *propose_arbiter(address, payee, successor)]
    events = _events(
        chain, deployment, address, [*create_escrow(deployment, terms), *(changes if rounds else [])]
    )
    records: dict[int, StepRecord[EscrowStep]] = {
        event.step: StepRecord(escrow_step(event), revision=0) for event in events
    }
    escrow, _ = escrows.fold_records(records)
    assert escrow is not None
    deadline = datetime(2100, 1, 1, tzinfo=UTC)

    typed_data = approval_typed_data(31337, address, escrow, EscrowRole.PAYER, deadline)
    signature = chain.client.call("eth_signTypedData_v4", payer, typed_data)

    submission = calldata(
        "approveBySignature(uint8,uint256,bytes)", 1, int(deadline.timestamp()), bytes.fromhex(signature[2:])
    )
    chain.mine([Transaction(arbiter, address, submission)])
    assert _read(chain, address, "isApproved()") == [1]
    assert _read(chain, address, "round()") == [rounds]


def test_the_prepared_transaction_approves(chain: LocalChain, deployment: Deployment) -> None:
    payer, payee, arbiter = _people(chain, 3)
    terms = EscrowTerms(payer, payee, arbiter, _ETHER, secrets.token_bytes(32))
    address = escrow_address(chain, deployment, terms)
    chain.mine_in_turn([create_escrow(deployment, terms)])
    prepared = approval_transaction(address)
    chain.mine([Transaction(payer, prepared.to, prepared.data, value=prepared.value_base)])
    assert _read(chain, address, "isApproved()") == [1]
