"""Which calls settlement commands become: a table over the contracts' committed ABIs.

A command's arguments are those of the contract's function, by the ABI's names, and where the table says so
the contract to call (``asset``, ``escrow``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from shared.chain.calls import ArgumentError, Function, Parameter, canonical, encode_call, find_function
from shared.domain.network import NATIVE_ASSET, Chain
from shared.domain.settlement_commands import CommandKind, CommandRefusedError


class Target(Enum):
    """The contract that is called: one of the chain's, or the one that an argument names."""

    VAULT = auto()
    ESCROW_FACTORY = auto()
    ESCROW = auto()
    TOKEN = auto()


@dataclass(frozen=True, slots=True)
class Payment:
    """The arguments that name an asset and what is paid of it; the native one goes with the call."""

    asset: str = "asset"
    amount: str = "amount"


@dataclass(frozen=True, slots=True)
class CallSpec:
    """What one kind of command calls; ``payment`` where the caller pays something in."""

    target: Target
    contract: str
    function: str
    payment: Payment | None = None


_VAULT, _FACTORY, _ESCROW, _TOKEN = Target.VAULT, Target.ESCROW_FACTORY, Target.ESCROW, Target.TOKEN

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
}

_TARGET_ARGUMENT: Mapping[Target, Parameter] = {
    Target.ESCROW: Parameter("escrow", "address"),
    Target.TOKEN: Parameter("asset", "address"),
}


_ASSETS = {"asset", "debtAsset", "collateralAsset"}
_AMOUNTS = {"amount", "repayAmount", "shares"}


@dataclass(frozen=True, slots=True)
class ContractCall:
    """A call ready to be signed. ``value_base`` is in base units of the native asset."""

    to: str
    data: str
    value_base: int


def parameters(kind: CommandKind) -> tuple[Parameter, ...]:
    """Every argument that a kind of command takes, in order."""
    spec = CALLS[kind]
    found = list(_function(spec).parameters)
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


def contract_call(chain: Chain, kind: CommandKind, arguments: Mapping[str, str]) -> ContractCall:
    """The call of a command whose arguments were checked."""
    spec = CALLS[kind]
    return ContractCall(
        to=_address(chain, spec, arguments),
        data=encode_call(_function(spec), arguments),
        value_base=_value(spec, arguments),
    )


def _function(spec: CallSpec) -> Function:
    return find_function(spec.contract, spec.function)


def _address(chain: Chain, spec: CallSpec, arguments: Mapping[str, str]) -> str:
    if spec.target is Target.VAULT:
        return chain.vault
    if spec.target is Target.ESCROW_FACTORY:
        return chain.escrow_factory
    return arguments[_TARGET_ARGUMENT[spec.target].name]


def _value(spec: CallSpec, arguments: Mapping[str, str]) -> int:
    if spec.payment is None or arguments[spec.payment.asset] != NATIVE_ASSET:
        return 0
    return int(arguments[spec.payment.amount])
