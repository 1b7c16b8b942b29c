"""Commands of delivery versus payment: created, paid, declined and taken out by an account in custody."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud import firestore

from local.chain import Transaction, calldata
from local.escrows import DvpTerms as LocalDvpTerms
from local.escrows import pay_dvp
from shared.chain import contract_events
from shared.domain.dvp import DvpEscrow
from shared.domain.network import NATIVE_ASSET, parse_network
from shared.domain.settlement_commands import CommandKind, CommandStatus
from shared.events import topics
from shared.stores import dvp_escrows
from shared.stores.escrow_collection import escrow_id
from tests.conftest import Project
from tests.contract_messages import escrow_created
from tests.functions.conftest import Caller, Market
from tests.functions.custodian import ETHER, Custodian
from tests.messages import CHAIN_ID, new_address


@pytest.fixture
def custodian(project: Project, market: Market, call: Caller, store: firestore.Client) -> Custodian:
    """An account in custody."""
    return Custodian.of(project, market, call, store)


def _minted(custodian: Custodian, symbol: str, amount_base: int) -> str:
    """Give the account tokens; the token's address."""
    deployment = custodian.market.deployment
    token = deployment.tokens[symbol]
    data = calldata("mint(address,uint256)", custodian.account_id, amount_base)
    custodian.market.chain.mine([Transaction(deployment.owner, token, data)])
    return token


def _terms(custodian: Custodian, seller: str, buyer: str, **legs: str) -> dict[str, str]:
    """The arguments of DVP_CREATE: 2 WBTC against 3 ether, unless told otherwise."""
    tokens = custodian.market.deployment.tokens
    return {
        "seller": seller,
        "buyer": buyer,
        "deliveryAsset": tokens["WBTC"],
        "deliveryAmount": str(2 * 10**8),
        "paymentAsset": NATIVE_ASSET,
        "paymentAmount": str(3 * ETHER),
        "deadline": str(int((datetime.now(UTC) + timedelta(hours=2)).timestamp())),
        "salt": "0x" + secrets.token_hex(32),
    } | legs


def _project(custodian: Custodian) -> list[str]:
    """Project what the factory has reported so far; the addresses of its trades, in order of creation."""
    market = custodian.market
    described = parse_network(json.dumps(market.deployment.network())).chains[CHAIN_ID]
    logs = custodian.node.call(
        "eth_getLogs",
        {
            "address": market.deployment.escrow_factory,
            "fromBlock": hex(market.start_block),
            "toBlock": "latest",
        },
    )
    created = []
    for log in logs:
        event = contract_events.decode_log(described, log, int(datetime.now(UTC).timestamp()))
        assert event is not None
        assert custodian.call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, event).acknowledged
        if event.kind == "dvp_created":
            created.append(event.escrow)
    return created


def _trade(custodian: Custodian, address: str) -> DvpEscrow:
    identifier = escrow_id(CHAIN_ID, address)
    return dvp_escrows.find_many(custodian.store, [identifier])[identifier].escrow


def _offer(custodian: Custodian, terms: dict[str, str]) -> str:
    """A stranger offers ether for the account's tokens; the trade's address."""
    fields = [terms[name] for name in ("seller", "buyer", "deliveryAsset")]
    fields += [int(terms["deliveryAmount"]), terms["paymentAsset"], int(terms["paymentAmount"])]  # type: ignore[list-item]
    fields.append(int(terms["deadline"]))  # type: ignore[arg-type]
    signature = "createDvp((address,address,address,uint256,address,uint256,uint64),bytes32)"
    data = calldata(signature, tuple(fields), bytes.fromhex(terms["salt"][2:]))
    factory = custodian.market.deployment.escrow_factory
    value = int(terms["deliveryAmount"])
    custodian.market.chain.mine([Transaction(terms["seller"], factory, data, value=value)])
    return _project(custodian)[-1]


def _balance(custodian: Custodian, address: str) -> int:
    return int(custodian.node.call("eth_getBalance", address, "latest"), 16)


def test_a_seller_in_custody_creates_a_trade_and_takes_its_payment(custodian: Custodian) -> None:
    buyer, recipient = custodian.market.account(), new_address()
    token = _minted(custodian, "WBTC", 2 * 10**8)
    factory = custodian.market.deployment.escrow_factory
    allowance = {"asset": token, "spender": factory, "value": str(2 * 10**8)}
    custodian.submit("allow", kind=CommandKind.TOKEN_APPROVE, **allowance)
    terms = _terms(custodian, custodian.account_id, buyer)
    created = custodian.submit("create", kind=CommandKind.DVP_CREATE, **terms)
    assert custodian.command(created).status is CommandStatus.SUBMITTED
    (address,) = _project(custodian)
    assert _trade(custodian, address).status == "open"

    deadline, salt = int(terms["deadline"]), bytes.fromhex(terms["salt"][2:])
    agreed = LocalDvpTerms(custodian.account_id, buyer, token, 2 * 10**8, 3 * ETHER, deadline, salt)
    custodian.market.chain.mine(pay_dvp(address, agreed))
    custodian.submit("take", kind=CommandKind.DVP_WITHDRAW, escrow=address, recipient=recipient)

    _project(custodian)
    assert _trade(custodian, address).status == "settled"
    assert _balance(custodian, recipient) == 3 * ETHER


def test_a_buyer_in_custody_allows_and_pays_its_leg_and_takes_the_delivery(custodian: Custodian) -> None:
    seller, recipient = custodian.market.account(), new_address()
    usdc = _minted(custodian, "USDC", 5_000)
    legs = {"deliveryAsset": NATIVE_ASSET, "deliveryAmount": str(ETHER)}
    payment = {"paymentAsset": usdc, "paymentAmount": "5000"}
    address = _offer(custodian, _terms(custodian, seller, custodian.account_id, **legs, **payment))

    custodian.submit("allow", kind=CommandKind.DVP_ALLOW_DEPOSIT, escrow=address)
    custodian.submit("pay", kind=CommandKind.DVP_DEPOSIT, escrow=address)
    custodian.submit("take", kind=CommandKind.DVP_WITHDRAW, escrow=address, recipient=recipient)

    _project(custodian)
    assert _trade(custodian, address).status == "settled"
    assert _balance(custodian, recipient) == ETHER


def test_a_native_leg_goes_with_the_deposit(custodian: Custodian) -> None:
    seller = custodian.market.account()
    chain, deployment = custodian.market.chain, custodian.market.deployment
    token = deployment.tokens["WBTC"]
    chain.mine([Transaction(deployment.owner, token, calldata("mint(address,uint256)", seller, 7))])
    allowance = calldata("approve(address,uint256)", deployment.escrow_factory, 7)
    chain.mine([Transaction(seller, token, allowance)])
    terms = _terms(custodian, seller, custodian.account_id, deliveryAmount="7")
    signature = "createDvp((address,address,address,uint256,address,uint256,uint64),bytes32)"
    agreed = (seller, custodian.account_id, token, 7, NATIVE_ASSET, 3 * ETHER, int(terms["deadline"]))
    create = calldata(signature, agreed, bytes.fromhex(terms["salt"][2:]))
    chain.mine([Transaction(seller, deployment.escrow_factory, create)])
    (address,) = _project(custodian)

    command_id = custodian.submit("pay", kind=CommandKind.DVP_DEPOSIT, escrow=address)

    assert custodian.transaction(command_id).value_base == 3 * ETHER
    _project(custodian)
    assert _trade(custodian, address).status == "settled"


def test_a_counterparty_in_custody_declines(custodian: Custodian) -> None:
    seller = custodian.market.account()
    legs = {"deliveryAsset": NATIVE_ASSET, "deliveryAmount": "5"}
    payment = {"paymentAsset": custodian.market.deployment.tokens["USDC"], "paymentAmount": "1"}
    address = _offer(custodian, _terms(custodian, seller, custodian.account_id, **legs, **payment))
    message = custodian.message("decline", kind=CommandKind.DVP_REFUND, escrow=address)
    for _ in range(2):
        assert custodian.push(message).acknowledged
    assert custodian.mined_count() == 1
    _project(custodian)
    assert _trade(custodian, address).status == "refunded"


def test_a_trade_that_is_not_ours_or_not_the_accounts_is_refused_without_a_nonce(
    custodian: Custodian, call: Caller
) -> None:
    seller, buyer = custodian.market.account(), custodian.market.account()
    legs = {"deliveryAsset": NATIVE_ASSET, "deliveryAmount": "5"}
    payment = {"paymentAsset": custodian.market.deployment.tokens["USDC"], "paymentAmount": "1"}
    of_others = _offer(custodian, _terms(custodian, seller, buyer, **legs, **payment))
    escrow = new_address()
    assert call.push("apply_settlement_event", topics.SETTLEMENT_EVENTS, escrow_created(escrow)).acknowledged

    for number, address in enumerate((of_others, escrow, new_address())):
        for kind in (CommandKind.DVP_DEPOSIT, CommandKind.DVP_ALLOW_DEPOSIT):
            command = custodian.command(custodian.submit(f"{kind}-{number}", kind=kind, escrow=address))
            assert (command.status, command.field) == (CommandStatus.REFUSED, "arguments.escrow")
    assert custodian.all_transactions() == []
