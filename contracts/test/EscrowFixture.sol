// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../src/Escrow.sol";
import {EscrowFactory} from "../src/EscrowFactory.sol";
import {ApprovalPolicy, EscrowTerms} from "../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {Test} from "./Test.sol";

/// @notice A factory, three parties and a stranger.
abstract contract EscrowFixture is Test {
    address internal constant NATIVE = address(0);
    uint64 internal constant RELEASE_DELAY_S = 1 days;
    uint64 internal constant REFUND_WINDOW_S = 7 days;
    uint64 internal constant DISPUTE_WINDOW_S = 3 days;
    uint256 internal constant AMOUNT = 5 ether;

    EscrowFactory internal factory;
    MockERC20 internal usdc;
    address internal payer;
    address internal payee;
    address internal arbiter;
    address internal successor;
    address internal stranger;
    uint64 internal createdAt;

    function setUp() public virtual {
        createdAt = 1_800_000_000;
        vm.warp(createdAt);
        payer = actor("payer");
        payee = actor("payee");
        arbiter = actor("arbiter");
        successor = actor("successor");
        stranger = actor("stranger");
        factory = new EscrowFactory();
        usdc = new MockERC20("USD Coin", "USDC", 6);
        vm.deal(payer, 100 ether);
    }

    function _terms(address asset, uint256 amount, ApprovalPolicy policy)
        internal
        view
        returns (EscrowTerms memory)
    {
        return EscrowTerms({
            payer: payer,
            payee: payee,
            arbiter: arbiter,
            asset: asset,
            amount: amount,
            releaseDelayS: RELEASE_DELAY_S,
            refundWindowS: REFUND_WINDOW_S,
            disputeWindowS: DISPUTE_WINDOW_S,
            policy: policy
        });
    }

    function _createNative(ApprovalPolicy policy) internal returns (Escrow) {
        return _createNative(policy, bytes32(0));
    }

    function _createNative(ApprovalPolicy policy, bytes32 salt) internal returns (Escrow) {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, policy);
        vm.prank(payer);
        return Escrow(factory.createEscrow{value: AMOUNT}(terms, salt));
    }

    function _createDisputed(ApprovalPolicy policy) internal returns (Escrow escrow) {
        escrow = _createNative(policy);
        vm.prank(payee);
        escrow.dispute();
    }

    function _createToken(MockERC20 token, uint256 amount, ApprovalPolicy policy)
        internal
        returns (Escrow escrow)
    {
        EscrowTerms memory terms = _terms(address(token), amount, policy);
        token.mint(payer, amount);
        vm.startPrank(payer);
        token.approve(address(factory), amount);
        escrow = Escrow(factory.createEscrow(terms, bytes32(0)));
        vm.stopPrank();
    }

    function _approveAs(address party, Escrow escrow) internal {
        vm.prank(party);
        escrow.approve();
    }

    function _refundAs(address party, Escrow escrow) internal {
        vm.prank(party);
        escrow.refund();
    }

    function _proposeAs(address party, Escrow escrow, address candidate) internal {
        vm.prank(party);
        escrow.proposeArbiter(candidate);
    }

    function _withdrawAs(address party, Escrow escrow) internal {
        vm.prank(party);
        escrow.withdraw(party);
    }

    function _sign(string memory signer, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keyOf(signer), digest);
        return abi.encodePacked(r, s, v);
    }
}
