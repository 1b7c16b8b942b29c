"""Which calls settlement commands become: a table over the contracts' committed ABIs.

A command's arguments are those of the contract's function, by the ABI's names, and where the table says so
the contract to call (``asset``, ``escrow``). What a party of a delivery versus payment deposits, and allows
the escrow to take, is its own leg of the agreed terms: it is no argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from shared.chain.calls import ArgumentError, Function, Parameter, canonical, encode_call, find_function
from shared.domain.dvp import DvpEscrow, DvpRole
from shared.domain.network import NATIVE_ASSET, Chain
from shared.domain.settlement_commands import CommandKind, CommandRefusedError


class Target(Enum):
    """The contract that is called: one of the chain's, or the one that an argument names."""

    VAULT = auto()
    ESCROW_FACTORY = auto()
    ESCROW = auto()
    DVP_ESCROW = auto()
    TOKEN = auto()
    LEG_TOKEN = auto()
    """The token of the caller's leg."""


@dataclass(frozen=True, slots=True)
class Payment:
    """The arguments that name an asset and what is paid of it; the native one goes with the call."""

    asset: str = "asset"
    amount: str = "amount"


class OwnLeg(Enum):
    """The caller pays its leg of a delivery versus payment: of the arguments' terms, or of the escrow's."""

    OF_ARGUMENTS = auto()
    OF_ESCROW = auto()


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What one kind of command calls; ``payment`` where the caller pays something in."""

    target: Target
    contract: str
    function: str
    payment: Payment | OwnLeg | None = None


_VAULT, _FACTORY, _ESCROW, _TOKEN = Target.VAULT, Target.ESCROW_FACTORY, Target.ESCROW, Target.TOKEN
_DVP = Target.DVP_ESCROW

CALLS: Mapping[CommandKind, CallSpec] = {
    CommandKind.TOKEN_APPROVE: CallSpec(_TOKEN, "MockERC20", "approve"),
    CommandKind.VAULT_DEPOSIT: CallSpec(_VAULT, "Vault", "deposit", Payment()),
    CommandKind.VAULT_WITHDRAW: CallSpec(_VAULT, "Vault", "withdraw"),
    CommandKind.VAULT_BORROW: CallSpec(_VAULT, "Vault", "borrow"),
    CommandKind.VAULT_REPAY: CallSpec(_VAULT, "Vault", "repay", Payment()),
    CommandKind.VAULT_SUPPLY: CallSpec(_VAULT, "Vault", "supply", Payment()),
    CommandKind.VAULT_REDEEM: CallSpec(_VAULT, "Vault", "redeem"),
    CommandKind.VAULT_LIQUIDATE: CallSpec(
        _VAULT, "Vault", "liquidate", Payment(asset="debtAsset", amount="repayAmount")
    ),
    CommandKind.ESCROW_CREATE: CallSpec(_FACTORY, "EscrowFactory", "createEscrow", Payment()),
    CommandKind.ESCROW_APPROVE: CallSpec(_ESCROW, "Escrow", "approve"),
    CommandKind.ESCROW_RELEASE: CallSpec(_ESCROW, "Escrow", "release"),
    CommandKind.ESCROW_REFUND: CallSpec(_ESCROW, "Escrow", "refund"),
    CommandKind.ESCROW_WITHDRAW: CallSpec(_ESCROW, "Escrow", "withdraw"),
    CommandKind.ESCROW_DISPUTE: CallSpec(_ESCROW, "Escrow", "dispute"),
    CommandKind.ESCROW_RESOLVE: CallSpec(_ESCROW, "Escrow", "resolve"),
    CommandKind.ESCROW_PROPOSE_ARBITER: CallSpec(_ESCROW, "Escrow", "proposeArbiter"),
    CommandKind.ESCROW_APPROVE_BY_SIGNATURE: CallSpec(_ESCROW, "Escrow", "approveBySignature"),
    CommandKind.DVP_CREATE: CallSpec(_FACTORY, "EscrowFactory", "createDvp", OwnLeg.OF_ARGUMENTS),
    CommandKind.DVP_ALLOW_DEPOSIT: CallSpec(Target.LEG_TOKEN, "MockERC20", "approve"),
    CommandKind.DVP_DEPOSIT: CallSpec(_DVP, "DvpEscrow", "deposit", OwnLeg.OF_ESCROW),
    CommandKind.DVP_REFUND: CallSpec(_DVP, "DvpEscrow", "refund"),
    CommandKind.DVP_WITHDRAW: CallSpec(_DVP, "DvpEscrow", "withdraw"),
}

_TARGET_ARGUMENT: Mapping[Target, Parameter] = {
    Target.ESCROW: Parameter("escrow", "address"),
    Target.DVP_ESCROW: Parameter("escrow", "address"),
    Target.LEG_TOKEN: Parameter("escrow", "address"),
    Target.TOKEN: Parameter("asset", "address"),
}

_ASSETS = {"asset", "debtAsset", "collateralAsset", "deliveryAsset", "paymentAsset"}
_AMOUNTS = {"amount", "repayAmount", "shares", "deliveryAmount", "paymentAmount"}


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A call ready to be signed. ``value_base`` is in base units of the native asset."""

    to: str
    data: str
    value_base: int


def parameters(kind: CommandKind) -> tuple[Parameter, ...]:
    """Every argument that a kind of command takes, in order."""
    spec = CALLS[kind]
    # What is allowed to be taken is the leg, and who may take it the escrow.
    found = [] if spec.target is Target.LEG_TOKEN else list(_function(spec).parameters)
    if spec.target in _TARGET_ARGUMENT:
        found.insert(0, _TARGET_ARGUMENT[spec.target])
    return tuple(found)


def check_arguments(chain: Chain, kind: CommandKind, given: Mapping[str, str]) -> dict[str, str]:
    """Arguments in canonical form.

    Raises:
        CommandRefusedError: naming the first that is missing, unknown, of another type, or that names what
        this
            chain's description does not list.
    """
    wanted = parameters(kind)
    unknown = sorted(set(given) - {parameter.name for parameter in wanted})
    if unknown:
        names = ", ".join(parameter.name for parameter in wanted) or "none"
        raise CommandRefusedError(
            f"arguments.{unknown[0]}", f"is not an argument of {kind}; it takes {names}"
        )
    checked: dict[str, str] = {}
    for parameter in wanted:
        if parameter.name not in given:
            raise CommandRefusedError(
                f"arguments.{parameter.name}", f"is missing; its type is {parameter.type}"
            )
        try:
            checked[parameter.name] = canonical(parameter, given[parameter.name])
        except ArgumentError as error:
            raise CommandRefusedError(f"arguments.{parameter.name}", error.reason) from error
    _check_references(chain, CALLS[kind], checked)
    return checked


def _check_references(chain: Chain, spec: CallSpec, checked: Mapping[str, str]) -> None:
    for name in _ASSETS & checked.keys():
        if checked[name] not in chain.tokens:
            raise CommandRefusedError(f"arguments.{name}", f"is not an asset of chain {chain.chain_id}")
    if spec.target is Target.TOKEN:
        if checked["asset"] == NATIVE_ASSET:
            raise CommandRefusedError("arguments.asset", "is the native asset, which needs no approval")
        if checked["spender"] not in (chain.vault, chain.escrow_factory):
            raise CommandRefusedError(
                "arguments.spender", f"must be the vault or the escrow factory of chain {chain.chain_id}"
            )
    for name in _AMOUNTS & checked.keys():
        if checked[name] == "0":
            raise CommandRefusedError(f"arguments.{name}", "must be greater than zero")


def concerns_trade(kind: CommandKind) -> bool:
    """Whether the argument ``escrow`` of a kind is a delivery-versus-payment escrow."""
    return CALLS[kind].target in (Target.DVP_ESCROW, Target.LEG_TOKEN)


def contract_call(
    chain: Chain,
    kind: CommandKind,
    arguments: Mapping[str, str],
    *,
    sender: str,
    trade: DvpEscrow | None = None,
) -> ContractCall:
    """The call of a command whose arguments were checked, for whom it is sent by.

    ``trade`` is the escrow that the arguments name, of a kind that :func:`concerns_trade`.

    Raises:
        CommandRefusedError: the sender has no leg there, or one that cannot be allowed.
    """
    spec = CALLS[kind]
    if spec.target is Target.LEG_TOKEN:
        asset, amount_base = _leg_of_escrow(trade, sender)
        if asset == NATIVE_ASSET or asset not in chain.tokens:
            raise CommandRefusedError(
                "arguments.escrow",
                f"the leg of {sender} is in {asset}, which is the native asset or not listed on chain"
                f" {chain.chain_id}: there is nothing to allow",
            )
        allowance = {"spender": arguments["escrow"], "value": str(amount_base)}
        return ContractCall(to=asset, data=encode_call(_function(spec), allowance), value_base=0)
    return ContractCall(
        to=_address(chain, spec, arguments),
        data=encode_call(_function(spec), arguments),
        value_base=_value(spec, arguments, sender, trade),
    )


def _function(spec: CallSpec) -> Function:
    return find_function(spec.contract, spec.function)


def _address(chain: Chain, spec: CallSpec, arguments: Mapping[str, str]) -> str:
    if spec.target is Target.VAULT:
        return chain.vault
    if spec.target is Target.ESCROW_FACTORY:
        return chain.escrow_factory
    return arguments[_TARGET_ARGUMENT[spec.target].name]


def _value(spec: CallSpec, arguments: Mapping[str, str], sender: str, trade: DvpEscrow | None) -> int:
    if spec.payment is None:
        return 0
    if isinstance(spec.payment, Payment):
        asset, amount_base = arguments[spec.payment.asset], int(arguments[spec.payment.amount])
    elif spec.payment is OwnLeg.OF_ARGUMENTS:
        asset, amount_base = _leg_of_arguments(arguments, sender)
    else:
        asset, amount_base = _leg_of_escrow(trade, sender)
    return amount_base if asset == NATIVE_ASSET else 0


def _leg_of_arguments(arguments: Mapping[str, str], sender: str) -> tuple[str, int]:
    if sender == arguments["seller"]:
        return arguments["deliveryAsset"], int(arguments["deliveryAmount"])
    if sender == arguments["buyer"]:
        return arguments["paymentAsset"], int(arguments["paymentAmount"])
    raise CommandRefusedError("arguments.seller", f"must be {sender}, or the buyer must")


def _leg_of_escrow(trade: DvpEscrow | None, sender: str) -> tuple[str, int]:
    if trade is None:
        raise LookupError("a call of a delivery versus payment needs its escrow")
    for role in DvpRole:
        if trade.holder(role) == sender:
            leg = trade.leg(role)
            return leg.asset_address, leg.amount_base
    raise CommandRefusedError("arguments.escrow", f"{sender} is neither its seller nor its buyer")
