"""What the parties of escrows on the local chain send."""

from __future__ import annotations

from dataclasses import dataclass

from local.chain import LocalChain, Transaction, calldata
from local.deployment import Deployment
from shared.chain import abi
from shared.domain.escrows import ReleasePolicy
from shared.domain.network import NATIVE_ASSET

_ESCROW_TERMS = "(address,address,address,address,uint256,uint64,uint64,uint64,uint8)"
_DVP_TERMS = "(address,address,address,uint256,address,uint256,uint64)"
_POLICIES = {ReleasePolicy.PAYER: 0, ReleasePolicy.PAYER_AND_ARBITER: 1, ReleasePolicy.TWO_OF_THREE: 2}


@dataclass(frozen=True, slots=True)
class EscrowTerms:
    """A native escrow; without a release delay unless said otherwise."""

    payer: str
    payee: str
    arbiter: str
    amount_base: int
    salt: bytes
    policy: ReleasePolicy = ReleasePolicy.PAYER
    release_delay_s: int = 0
    refund_window_s: int = 3_600
    dispute_window_s: int = 3_600

    def encoded(self) -> tuple[object, ...]:
        """The fields of ``IEscrowFactory.EscrowTerms``."""
        return (
            self.payer,
            self.payee,
            self.arbiter,
            NATIVE_ASSET,
            self.amount_base,
            self.release_delay_s,
            self.refund_window_s,
            self.dispute_window_s,
            _POLICIES[self.policy],
        )


@dataclass(frozen=True, slots=True)
class DvpTerms:
    """A token against the native asset, both by the deadline (Unix seconds)."""

    seller: str
    buyer: str
    delivery_token: str
    delivery_amount_base: int
    payment_amount_base: int
    deadline: int
    salt: bytes

    def encoded(self) -> tuple[object, ...]:
        """The fields of ``IEscrowFactory.DvpTerms``."""
        return (
            self.seller,
            self.buyer,
            self.delivery_token,
            self.delivery_amount_base,
            NATIVE_ASSET,
            self.payment_amount_base,
            self.deadline,
        )


def create_escrow(deployment: Deployment, terms: EscrowTerms) -> list[Transaction]:
    """What a payer sends to create and fund an escrow."""
    data = calldata(f"createEscrow({_ESCROW_TERMS},bytes32)", terms.encoded(), terms.salt)
    return [Transaction(terms.payer, deployment.escrow_factory, data, value=terms.amount_base)]


def escrow_address(chain: LocalChain, deployment: Deployment, terms: EscrowTerms) -> str:
    """Where the escrow of these terms is, or will be."""
    data = calldata(f"predictEscrow({_ESCROW_TERMS},bytes32)", terms.encoded(), terms.salt)
    return _read_address(chain, deployment, data)


def approve_escrow(escrow: str, party: str) -> list[Transaction]:
    """What a party sends to approve the release."""
    return [Transaction(party, escrow, calldata("approve()"))]


def propose_arbiter(escrow: str, party: str, candidate: str) -> list[Transaction]:
    """What payer and payee send to replace the arbiter."""
    return [Transaction(party, escrow, calldata("proposeArbiter(address)", candidate))]


def dispute_escrow(escrow: str, party: str) -> list[Transaction]:
    """What payer or payee sends to have the arbiter split."""
    return [Transaction(party, escrow, calldata("dispute()"))]


def resolve_escrow(escrow: str, arbiter: str, payee_share_bps: int) -> list[Transaction]:
    """What the arbiter sends to split a disputed escrow."""
    return [Transaction(arbiter, escrow, calldata("resolve(uint16)", payee_share_bps))]


def release_escrow(escrow: str, party: str) -> list[Transaction]:
    """What a party sends to release the amount to the payee."""
    return [Transaction(party, escrow, calldata("release()"))]


def refund_escrow(escrow: str, party: str) -> list[Transaction]:
    """What the payee (or, in time, the payer) sends to give the amount back; also for the legs of a trade."""
    return [Transaction(party, escrow, calldata("refund()"))]


def withdraw_escrow(escrow: str, beneficiary: str) -> list[Transaction]:
    """What a party sends to take out what it is owed, of either kind of escrow."""
    return [Transaction(beneficiary, escrow, calldata("withdraw(address)", beneficiary))]


def create_dvp(deployment: Deployment, terms: DvpTerms) -> list[Transaction]:
    """What it takes, in turn, for a seller to offer a token; it is minted to the seller first."""
    token, amount = terms.delivery_token, terms.delivery_amount_base
    factory = deployment.escrow_factory
    return [
        Transaction(deployment.owner, token, calldata("mint(address,uint256)", terms.seller, amount)),
        Transaction(terms.seller, token, calldata("approve(address,uint256)", factory, amount)),
        Transaction(
            terms.seller, factory, calldata(f"createDvp({_DVP_TERMS},bytes32)", terms.encoded(), terms.salt)
        ),
    ]


def dvp_address(chain: LocalChain, deployment: Deployment, terms: DvpTerms) -> str:
    """Where the delivery-versus-payment escrow of these terms is, or will be."""
    data = calldata(f"predictDvp({_DVP_TERMS},bytes32)", terms.encoded(), terms.salt)
    return _read_address(chain, deployment, data)


def pay_dvp(dvp: str, terms: DvpTerms) -> list[Transaction]:
    """What the buyer sends to pay, which settles the trade."""
    return [Transaction(terms.buyer, dvp, calldata("deposit()"), value=terms.payment_amount_base)]


def _read_address(chain: LocalChain, deployment: Deployment, data: str) -> str:
    answer = chain.client.call("eth_call", {"to": deployment.escrow_factory, "data": data}, "latest")
    return abi.address(abi.words(answer, 1)[0])
