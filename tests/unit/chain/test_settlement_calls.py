"""Settlement calls: every row of the table fits its contract's ABI, and what is wrong is named."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from shared.chain.abi import selector
from shared.chain.calls import ArgumentError, Function, Parameter, canonical, encode_call, find_function
from shared.chain.settlement_calls import (
    CALLS,
    ContractCall,
    check_arguments,
    contract_call,
    parameters,
)
from shared.domain.dvp import DvpCreated, DvpEscrow, fold_records
from shared.domain.network import NATIVE_ASSET, Chain, parse_network
from shared.domain.settlement_commands import CommandKind, CommandRefusedError
from shared.domain.steps import StepRecord
from tests.conftest import network_document

USDC = "0x" + f"{2:040x}"
BUYER = "0x" + "cd" * 20
SAMPLES = {
    "address": "0x" + "ab" * 20,
    "uint8": "1",
    "uint16": "5000",
    "uint64": "3600",
    "uint256": str(2**256 - 1),
    "bytes32": "0x" + "5a" * 32,
    "bytes": "0x" + "5a" * 65,
    "bool": "true",
}


@pytest.fixture
def chain() -> Chain:
    """The chain of the tests' network."""
    return parse_network(json.dumps(network_document())).chains[31337]


def _arguments(chain: Chain, kind: CommandKind) -> dict[str, str]:
    given = {parameter.name: SAMPLES[parameter.type] for parameter in parameters(kind)}
    assets = ("asset", "debtAsset", "collateralAsset", "deliveryAsset", "paymentAsset")
    ours = dict.fromkeys(assets, USDC) | {"spender": chain.vault}
    return given | {name: value for name, value in ours.items() if name in given}


def _trade(*, delivery_asset: str = NATIVE_ASSET, payment_asset: str = USDC) -> DvpEscrow:
    """Nine of the one against five of the other; the seller is the sample address."""
    records = {
        1: DvpCreated(
            seller=SAMPLES["address"],
            buyer=BUYER,
            delivery_asset=None,
            delivery_asset_address=delivery_asset,
            delivery_decimals=None,
            delivery_amount_base=9,
            payment_asset=None,
            payment_asset_address=payment_asset,
            payment_decimals=None,
            payment_amount_base=5,
            deadline=datetime(2030, 1, 1, tzinfo=UTC),
        )
    }
    escrow, _ = fold_records({number: StepRecord(step, revision=0) for number, step in records.items()})
    assert escrow is not None
    return escrow


@pytest.mark.parametrize("kind", CommandKind)
def test_every_kind_is_in_the_table_and_fits_the_committed_abi(chain: Chain, kind: CommandKind) -> None:
    spec = CALLS[kind]
    function = find_function(spec.contract, spec.function)
    assert function.payable == (spec.payment is not None)
    names = [parameter.name for parameter in parameters(kind)]
    assert len(set(names)) == len(names)
    assert all(names)
    arguments = check_arguments(chain, kind, _arguments(chain, kind))
    call = contract_call(chain, kind, arguments, sender=SAMPLES["address"], trade=_trade(delivery_asset=USDC))
    assert call.data.startswith(function.selector)
    assert len(call.data) >= 10 + 64 * len(function.parameters)


@pytest.mark.parametrize("kind", CommandKind)
def test_an_argument_that_is_missing_or_unknown_is_named(chain: Chain, kind: CommandKind) -> None:
    whole = _arguments(chain, kind)
    for name in whole:
        with pytest.raises(CommandRefusedError) as refused:
            check_arguments(chain, kind, {other: whole[other] for other in whole if other != name})
        assert refused.value.field == f"arguments.{name}"
    with pytest.raises(CommandRefusedError) as refused:
        check_arguments(chain, kind, whole | {"colour": "red"})
    assert refused.value.field == "arguments.colour"


WRONG: list[tuple[str, str]] = [
    ("amount", ""),
    ("amount", "-1"),
    ("amount", "0"),
    ("amount", "01"),
    ("amount", "1.5"),
    ("amount", "1e18"),
    ("amount", "NaN"),
    ("amount", " 1"),
    ("amount", "١"),
    ("amount", str(2**256)),
    ("asset", "0x12"),
    ("asset", "0x" + "99" * 20),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_a_wrong_argument_is_named(chain: Chain, name: str, text: str) -> None:
    given = {"asset": USDC, "amount": "5"} | {name: text}
    with pytest.raises(CommandRefusedError) as refused:
        check_arguments(chain, CommandKind.VAULT_DEPOSIT, given)
    assert refused.value.field == f"arguments.{name}"


def test_approvals_go_to_our_contracts_and_never_for_the_native_asset(chain: Chain) -> None:
    given = {"asset": USDC, "spender": "0x" + "99" * 20, "value": "5"}
    with pytest.raises(CommandRefusedError) as refused:
        check_arguments(chain, CommandKind.TOKEN_APPROVE, given)
    assert refused.value.field == "arguments.spender"
    with pytest.raises(CommandRefusedError) as refused:
        check_arguments(
            chain, CommandKind.TOKEN_APPROVE, given | {"spender": chain.vault, "asset": NATIVE_ASSET}
        )
    assert refused.value.field == "arguments.asset"


def test_native_amounts_go_along_and_others_do_not(chain: Chain) -> None:
    def call(kind: CommandKind, arguments: Mapping[str, str]) -> ContractCall:
        return contract_call(chain, kind, arguments, sender=SAMPLES["address"])

    deposit = call(CommandKind.VAULT_DEPOSIT, {"asset": NATIVE_ASSET, "amount": "7"})
    assert (deposit.to, deposit.value_base) == (chain.vault, 7)
    create = _arguments(chain, CommandKind.ESCROW_CREATE) | {"amount": "9"}
    assert call(CommandKind.ESCROW_CREATE, create).value_base == 0
    native = call(CommandKind.ESCROW_CREATE, create | {"asset": NATIVE_ASSET})
    assert (native.to, native.value_base) == (chain.escrow_factory, 9)
    approve = call(CommandKind.ESCROW_APPROVE, {"escrow": "0x" + "ee" * 20})
    assert (approve.to, approve.data) == ("0x" + "ee" * 20, selector("approve()"))


def test_who_creates_a_trade_sends_its_own_leg(chain: Chain) -> None:
    kind = CommandKind.DVP_CREATE
    terms = _arguments(chain, kind) | {
        "seller": SAMPLES["address"],
        "buyer": BUYER,
        "deliveryAsset": NATIVE_ASSET,
        "deliveryAmount": "9",
    }
    given = check_arguments(chain, kind, terms)
    assert contract_call(chain, kind, given, sender=SAMPLES["address"]).value_base == 9
    assert contract_call(chain, kind, given, sender=BUYER).value_base == 0
    with pytest.raises(CommandRefusedError) as refused:
        contract_call(chain, kind, given, sender=USDC)
    assert refused.value.field == "arguments.seller"


def test_a_party_of_a_trade_deposits_and_allows_its_own_leg_and_nothing_else(chain: Chain) -> None:
    escrow = {"escrow": "0x" + "ee" * 20}
    seller, trade = SAMPLES["address"], _trade()

    native = contract_call(chain, CommandKind.DVP_DEPOSIT, escrow, sender=seller, trade=trade)
    assert (native.to, native.data, native.value_base) == (escrow["escrow"], selector("deposit()"), 9)
    tokens = contract_call(chain, CommandKind.DVP_DEPOSIT, escrow, sender=BUYER, trade=trade)
    assert tokens.value_base == 0

    allowance = contract_call(chain, CommandKind.DVP_ALLOW_DEPOSIT, escrow, sender=BUYER, trade=trade)
    expected = (
        selector("approve(address,uint256)") + encode(["address", "uint256"], [escrow["escrow"], 5]).hex()
    )
    assert (allowance.to, allowance.data, allowance.value_base) == (USDC, expected, 0)

    unlisted = _trade(payment_asset="0x" + "99" * 20)
    for kind, sender, agreed in (
        (CommandKind.DVP_DEPOSIT, USDC, trade),
        (CommandKind.DVP_ALLOW_DEPOSIT, USDC, trade),
        (CommandKind.DVP_ALLOW_DEPOSIT, seller, trade),
        (CommandKind.DVP_ALLOW_DEPOSIT, BUYER, unlisted),
    ):
        with pytest.raises(CommandRefusedError) as refused:
            contract_call(chain, kind, escrow, sender=sender, trade=agreed)
        assert refused.value.field == "arguments.escrow"


_TYPES: dict[str, st.SearchStrategy[Any]] = {
    "address": st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex()),
    "uint256": st.integers(0, 2**256 - 1),
    "uint8": st.integers(0, 255),
    "uint64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "bytes32": st.binary(min_size=32, max_size=32),
    "bytes": st.binary(max_size=100),
}


@given(st.data())
def test_calls_are_encoded_as_an_independent_library_does(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from(sorted(_TYPES)), max_size=6))
    values = [data.draw(_TYPES[kind]) for kind in types]
    function = Function(
        "f", "0x12345678", False, tuple(Parameter(f"p{i}", kind) for i, kind in enumerate(types))
    )
    texts = {f"p{i}": _text(value) for i, value in enumerate(values)}
    assert encode_call(function, texts) == "0x12345678" + encode(types, values).hex()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bool", "True"),
        ("bytes32", "0x" + "00" * 31),
        ("bytes", "0x0"),
        ("bytes", "00"),
        ("bytes", "0x" + "00" * 5_000),
        ("uint8", "256"),
        ("address", "0x" + "g0" * 20),
    ],
)
def test_what_is_not_of_its_type_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ArgumentError, match="p must"):
        canonical(Parameter("p", kind), text)


def test_functions_that_cannot_be_encoded_are_no_calls() -> None:
    with pytest.raises(LookupError, match="has 0 functions called steal"):
        find_function("Vault", "steal")
    with pytest.raises(LookupError, match="is not encoded here"):
        find_function("MarketSetter", "updateAnswers")
