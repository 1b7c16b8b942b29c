// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../src/Escrow.sol";
import {EscrowFactory} from "../src/EscrowFactory.sol";
import {ApprovalPolicy} from "../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {Test} from "./Test.sol";

/// @notice A factory, three parties and a stranger.
abstract contract EscrowFixture is Test {
    address internal constant NATIVE = address(0);
    uint64 internal constant RELEASE_DELAY_S = 1 days;
    uint64 internal constant REFUND_WINDOW_S = 7 days;
    uint256 internal constant AMOUNT = 5 ether;

    EscrowFactory internal factory;
    MockERC20 internal usdc;
    address internal payer;
    address internal payee;
    address internal arbiter;
    address internal stranger;
    uint64 internal createdAt;

    function setUp() public virtual {
        createdAt = 1_800_000_000;
        vm.warp(createdAt);
        payer = actor("payer");
        payee = actor("payee");
        arbiter = actor("arbiter");
        stranger = actor("stranger");
        factory = new EscrowFactory();
        usdc = new MockERC20("USD Coin", "USDC", 6);
        vm.deal(payer, 100 ether);
    }

    function _parameters(address asset, uint256 amount, ApprovalPolicy policy)
        internal
        view
        returns (EscrowFactory.EscrowParameters memory)
    {
        return EscrowFactory.EscrowParameters({
            payee: payee,
            arbiter: arbiter,
            asset: asset,
            amount: amount,
            releaseDelayS: RELEASE_DELAY_S,
            refundWindowS: REFUND_WINDOW_S,
            policy: policy,
            salt: bytes32(0)
        });
    }

    function _createNative(ApprovalPolicy policy) internal returns (Escrow) {
        vm.prank(payer);
        return Escrow(factory.createEscrow{value: AMOUNT}(_parameters(NATIVE, AMOUNT, policy)));
    }

    function _approveAs(address party, Escrow escrow) internal {
        vm.prank(party);
        escrow.approve();
    }

    function _refundAs(address party, Escrow escrow) internal {
        vm.prank(party);
        escrow.refund();
    }
}
