// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {ApprovalPolicy, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice Disputes and the arbiter's split: what EscrowDispute.tree says.
contract EscrowDisputeTest is EscrowFixture {
    function test_ArbiterSplitsInBasisPointsAndBothWithdraw() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        uint64 deadline = createdAt + 1 hours + DISPUTE_WINDOW_S;
        vm.warp(createdAt + 1 hours);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowDisputed(address(escrow), 2, ROLE_PAYEE, deadline);
        vm.prank(payee);
        escrow.dispute();
        vm.assertEq(escrow.disputeDeadline(), deadline);

        vm.warp(deadline - 1);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowResolved(address(escrow), 3, 3_333, 1.6665 ether, 3.3335 ether);
        vm.prank(arbiter);
        escrow.resolve(3_333);
        vm.assertEq(uint256(escrow.status()), uint256(Escrow.Status.Resolved));

        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowWithdrawn(address(escrow), 4, ROLE_PAYER, payer, payer, 3.3335 ether);
        _withdrawAs(payer, escrow);
        _withdrawAs(payee, escrow);
        vm.assertEq(payee.balance, 1.6665 ether);
        vm.assertEq(payer.balance, 95 ether + 3.3335 ether);
        vm.assertEq(address(escrow).balance, 0);
        vm.expectRevert(abi.encodeWithSelector(Escrow.AlreadyWithdrawn.selector, ROLE_PAYER));
        _withdrawAs(payer, escrow);
    }

    function test_WholeAmountMayGoToOneSide() external {
        for (uint256 i = 0; i < 2; ++i) {
            Escrow escrow = _createNative(ApprovalPolicy.Payer, bytes32(i));
            vm.prank(payer);
            escrow.dispute();
            vm.prank(arbiter);
            escrow.resolve(i == 0 ? 0 : 10_000);
            (address winner, address loser) = i == 0 ? (payer, payee) : (payee, payer);
            vm.expectRevert(
                abi.encodeWithSelector(Escrow.NothingToWithdraw.selector, loser, Escrow.Status.Resolved)
            );
            _withdrawAs(loser, escrow);
            _withdrawAs(winner, escrow);
            vm.assertEq(address(escrow).balance, 0);
        }
    }

    function test_RevertWhen_AnyoneButTheArbiterSplits() external {
        Escrow escrow = _createDisputed(ApprovalPolicy.TwoOfThree);
        address[3] memory callers = [payer, payee, stranger];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Escrow.NotArbiter.selector, callers[i]));
            vm.prank(callers[i]);
            escrow.resolve(5_000);
        }
        vm.expectRevert(abi.encodeWithSelector(Escrow.ShareOutOfRange.selector, 10_001, 10_000));
        vm.prank(arbiter);
        escrow.resolve(10_001);
    }

    function test_RevertWhen_SplitWithoutADispute() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.Funded, Escrow.Status.Disputed)
        );
        vm.prank(arbiter);
        escrow.resolve(5_000);
    }

    function test_RevertWhen_SplitAtTheDeadlineOrLater() external {
        Escrow escrow = _createDisputed(ApprovalPolicy.Payer);
        uint256 deadline = createdAt + DISPUTE_WINDOW_S;
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(Escrow.ResolutionTooLate.selector, deadline, deadline));
        vm.prank(arbiter);
        escrow.resolve(5_000);
    }

    function test_DisputeHoldsThePayersRefundBackUntilItsDeadline() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        uint256 agreedRefundTime = createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S;
        vm.warp(agreedRefundTime - 1);
        vm.prank(payee);
        escrow.dispute();
        uint256 deadline = agreedRefundTime - 1 + DISPUTE_WINDOW_S;
        vm.assertEq(escrow.refundTime(), deadline);
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(Escrow.RefundTooEarly.selector, deadline, deadline - 1));
        _refundAs(payer, escrow);
        vm.warp(deadline);
        _refundAs(payer, escrow);
        _withdrawAs(payer, escrow);
        vm.assertEq(payer.balance, 100 ether);
    }

    function test_DisputeNeverBringsTheRefundForward() external {
        Escrow escrow = _createDisputed(ApprovalPolicy.Payer);
        vm.assertEq(escrow.refundTime(), createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S);
    }

    function test_RevertWhen_DisputedFromTheRefundTimeOn() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        uint256 refundTime = createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S;
        vm.warp(refundTime);
        vm.expectRevert(abi.encodeWithSelector(Escrow.DisputeTooLate.selector, refundTime, refundTime));
        vm.prank(payee);
        escrow.dispute();
    }

    function test_RevertWhen_DisputedTwiceOrByTheArbiter() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, arbiter));
        vm.prank(arbiter);
        escrow.dispute();
        vm.prank(payer);
        escrow.dispute();
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.Disputed, Escrow.Status.Funded)
        );
        vm.prank(payee);
        escrow.dispute();
    }

    function test_RevertWhen_AnApprovedReleaseIsDisputedOrSplit() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        bytes memory expected =
            abi.encodeWithSelector(Escrow.AlreadyDecided.selector, ROLE_PAYER, ApprovalPolicy.Payer);
        vm.expectRevert(expected);
        vm.prank(payer);
        escrow.dispute();

        escrow = _createNative(ApprovalPolicy.Payer, bytes32(uint256(1)));
        vm.prank(payee);
        escrow.dispute();
        _approveAs(payer, escrow);
        vm.expectRevert(expected);
        vm.prank(arbiter);
        escrow.resolve(0);
    }

    function test_PartiesMayStillAgreeDuringADispute() external {
        Escrow escrow = _createDisputed(ApprovalPolicy.TwoOfThree);
        _approveAs(payer, escrow);
        _approveAs(payee, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), AMOUNT);

        escrow = _createNative(ApprovalPolicy.Payer, bytes32(uint256(1)));
        vm.prank(payee);
        escrow.dispute();
        _refundAs(payee, escrow);
        vm.assertEq(escrow.withdrawable(ROLE_PAYER), AMOUNT);
    }

    function test_LargestAmountIsSplitExactly() external {
        Escrow escrow = _createToken(usdc, type(uint256).max, ApprovalPolicy.Payer);
        vm.prank(payer);
        escrow.dispute();
        vm.prank(arbiter);
        escrow.resolve(9_999);
        uint256 payeePart = escrow.withdrawable(ROLE_PAYEE);
        vm.assertEq(payeePart + escrow.withdrawable(ROLE_PAYER), type(uint256).max);
        vm.assertEq(payeePart / 9_999, type(uint256).max / 10_000);
        _withdrawAs(payee, escrow);
        _withdrawAs(payer, escrow);
        vm.assertEq(usdc.balanceOf(address(escrow)), 0);
    }
}
