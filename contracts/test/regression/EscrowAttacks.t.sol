// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {
    ApprovalPolicy,
    EscrowTerms,
    ROLE_ARBITER,
    ROLE_PAYEE,
    ROLE_PAYER
} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Each way in which the escrows of the platform before this one could be emptied or frozen, tried again.
/// @dev The numbers are those of the list of weaknesses that the platform was replaced for.
contract EscrowAttacksTest is EscrowFixture {
    function test_Attack14_PayeeAloneCannotReleaseUnderAnyPolicy() external {
        for (uint8 policy = 0; policy < 3; ++policy) {
            Escrow escrow = _createNative(ApprovalPolicy(policy), bytes32(uint256(policy)));
            vm.warp(createdAt + RELEASE_DELAY_S);
            vm.startPrank(payee);
            try escrow.approve() {} catch {}
            vm.expectPartialRevert(Escrow.NotApproved.selector);
            escrow.release();
            vm.stopPrank();
        }
    }

    function test_Attack15_ArbiterCannotApproveAgainUnderAnotherAddress() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(arbiter, escrow);
        // The arbiter cannot name a second address of its own, nor can one party with it.
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, arbiter));
        _proposeAs(arbiter, escrow, successor);
        _proposeAs(payee, escrow, successor);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, successor));
        _approveAs(successor, escrow);
        // With both parties the first address's approval is gone: a role counts once.
        _proposeAs(payer, escrow, successor);
        _approveAs(successor, escrow);
        vm.assertEq(escrow.approvedRoles(), ROLE_ARBITER);
        vm.assertFalse(escrow.isApproved());
    }

    function test_Attack15_RepeatedChangesOfTheArbiterNeverAddUp() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        for (uint256 i = 1; i <= 5; ++i) {
            address next = vm.addr(i);
            _proposeAs(payer, escrow, next);
            _proposeAs(payee, escrow, next);
            _approveAs(next, escrow);
            vm.assertFalse(escrow.isApproved());
        }
    }

    function test_Attack16_NoDelayMakesTheRefundTimeOverflow() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        terms.releaseDelayS = type(uint64).max;
        vm.expectPartialRevert(EscrowFactory.ReleaseDelayOutOfRange.selector);
        vm.prank(payer);
        factory.createEscrow{value: AMOUNT}(terms, bytes32(0));

        // The longest that can be agreed on is refunded in the end, dispute and all.
        terms.releaseDelayS = factory.MAX_RELEASE_DELAY_S();
        terms.refundWindowS = factory.MAX_REFUND_WINDOW_S();
        terms.disputeWindowS = factory.MAX_DISPUTE_WINDOW_S();
        vm.prank(payer);
        Escrow escrow = Escrow(factory.createEscrow{value: AMOUNT}(terms, bytes32(0)));
        vm.warp(escrow.refundTime() - 1);
        vm.prank(payee);
        escrow.dispute();
        vm.warp(escrow.refundTime());
        _refundAs(payer, escrow);
        _withdrawAs(payer, escrow);
        vm.assertEq(payer.balance, 100 ether);
    }

    function test_Attack17_PayerCannotTakeBackWhatIsFullyApproved() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payer, escrow);
        _approveAs(payee, escrow);
        vm.warp(createdAt + 1000 days);
        vm.expectPartialRevert(Escrow.AlreadyDecided.selector);
        _refundAs(payer, escrow);
        escrow.release();
        _withdrawAs(payee, escrow);
        vm.assertEq(payee.balance, AMOUNT);
    }

    function test_Attack17_RevertingPayeeDoesNotBlockTheLastApprovalNorTheRelease() external {
        payee = address(new RefusingReceiver());
        Escrow escrow = _createNative(ApprovalPolicy.PayerAndArbiter);
        _approveAs(payer, escrow);
        _approveAs(arbiter, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), AMOUNT);
    }

    function test_Attack17_PartiesCannotCoincide() external {
        address[3][3] memory parties = [[payer, payer, arbiter], [payer, payee, payer], [payer, payee, payee]];
        for (uint256 i = 0; i < 3; ++i) {
            EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.TwoOfThree);
            (terms.payer, terms.payee, terms.arbiter) = (parties[i][0], parties[i][1], parties[i][2]);
            vm.expectPartialRevert(EscrowFactory.PartiesNotDistinct.selector);
            vm.prank(payer);
            factory.createEscrow{value: AMOUNT}(terms, bytes32(0));
        }
        // Nor can an arbiter become the same person later on.
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        vm.expectPartialRevert(Escrow.CandidateIsParty.selector);
        _proposeAs(payer, escrow, payee);
    }

    function test_Attack17_PayeeCanGiveBackAndADisputeHasAnEnd() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _refundAs(payee, escrow);
        vm.assertEq(escrow.withdrawable(ROLE_PAYER), AMOUNT);

        escrow = _createNative(ApprovalPolicy.Payer, bytes32(uint256(1)));
        vm.prank(payee);
        escrow.dispute();
        vm.prank(arbiter);
        escrow.resolve(2_500);
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), AMOUNT / 4);
    }
}
