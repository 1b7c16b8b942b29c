// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy, ROLE_ARBITER, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Approvals by role, release, refund and withdrawal.
contract EscrowTest is EscrowFixture {
    function test_LifeCycleEmitsEveryStepFromTheFactory() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowApproved(address(escrow), 2, ROLE_PAYEE, payee, ROLE_PAYEE);
        _approveAs(payee, escrow);
        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowApproved(
            address(escrow), 3, ROLE_ARBITER, arbiter, ROLE_PAYEE | ROLE_ARBITER
        );
        _approveAs(arbiter, escrow);

        vm.warp(createdAt + RELEASE_DELAY_S);
        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowReleased(address(escrow), 4, payee, AMOUNT);
        vm.prank(stranger);
        escrow.release();

        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowWithdrawn(address(escrow), 5, payee, stranger, AMOUNT);
        vm.prank(payee);
        escrow.withdraw(stranger);
        vm.assertEq(stranger.balance, AMOUNT);
        vm.assertEq(address(escrow).balance, 0);
        vm.assertEq(escrow.step(), 5);
    }

    function test_PayerPolicyNeedsThePayerOnly() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _expectRoleNotInPolicy(escrow, payee, ROLE_PAYEE, ApprovalPolicy.Payer);
        _expectRoleNotInPolicy(escrow, arbiter, ROLE_ARBITER, ApprovalPolicy.Payer);
        vm.assertFalse(escrow.isApproved());
        _approveAs(payer, escrow);
        vm.assertTrue(escrow.isApproved());
    }

    function test_PayerAndArbiterPolicyNeedsBoth() external {
        Escrow escrow = _createNative(ApprovalPolicy.PayerAndArbiter);
        _expectRoleNotInPolicy(escrow, payee, ROLE_PAYEE, ApprovalPolicy.PayerAndArbiter);
        _approveAs(arbiter, escrow);
        vm.assertFalse(escrow.isApproved());
        _approveAs(payer, escrow);
        vm.assertTrue(escrow.isApproved());
    }

    function test_TwoOfThreePolicyTakesAnyPairOfRoles() external {
        address[3] memory parties = [payer, payee, arbiter];
        for (uint256 i = 0; i < 3; ++i) {
            EscrowFactory.EscrowParameters memory parameters =
                _parameters(NATIVE, AMOUNT, ApprovalPolicy.TwoOfThree);
            parameters.salt = bytes32(i);
            vm.prank(payer);
            Escrow escrow = Escrow(factory.createEscrow{value: AMOUNT}(parameters));
            vm.assertFalse(escrow.isApproved());
            _approveAs(parties[i], escrow);
            vm.assertFalse(escrow.isApproved());
            _approveAs(parties[(i + 1) % 3], escrow);
            vm.assertTrue(escrow.isApproved());
        }
    }

    function test_RevertWhen_ARoleApprovesTwice() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payer, escrow);
        vm.expectRevert(abi.encodeWithSelector(Escrow.AlreadyApproved.selector, ROLE_PAYER));
        _approveAs(payer, escrow);
        vm.assertEq(escrow.approvedRoles(), ROLE_PAYER);
        vm.assertEq(escrow.step(), 2);
    }

    function test_RevertWhen_AStrangerApprovesOrRefunds() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        bytes memory expected = abi.encodeWithSelector(Escrow.NotParty.selector, stranger);
        vm.expectRevert(expected);
        _approveAs(stranger, escrow);
        vm.expectRevert(expected);
        _refundAs(stranger, escrow);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, arbiter));
        _refundAs(arbiter, escrow);
    }

    function test_RevertWhen_ReleasedWithoutApprovalOrTooEarly() external {
        Escrow escrow = _createNative(ApprovalPolicy.PayerAndArbiter);
        vm.warp(createdAt + RELEASE_DELAY_S - 1);
        _approveAs(payer, escrow);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.NotApproved.selector, ROLE_PAYER, ApprovalPolicy.PayerAndArbiter)
        );
        escrow.release();
        _approveAs(arbiter, escrow);
        vm.expectRevert(
            abi.encodeWithSelector(
                Escrow.ReleaseTooEarly.selector, createdAt + RELEASE_DELAY_S, block.timestamp
            )
        );
        escrow.release();
    }

    function test_PayerRefundsFromTheRefundTimeOn() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payee, escrow);
        uint256 refundTime = createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S;
        vm.warp(refundTime - 1);
        vm.expectRevert(abi.encodeWithSelector(Escrow.RefundTooEarly.selector, refundTime, refundTime - 1));
        _refundAs(payer, escrow);

        vm.warp(refundTime);
        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowRefunded(address(escrow), 3, payer, AMOUNT);
        _refundAs(payer, escrow);
        vm.prank(payer);
        escrow.withdraw(payer);
        vm.assertEq(payer.balance, 100 ether);
    }

    function test_RevertWhen_PayerRefundsAnApprovedRelease() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payee, escrow);
        _approveAs(arbiter, escrow);
        vm.warp(createdAt + 400 days);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.RefundAfterApproval.selector, ROLE_PAYEE | ROLE_ARBITER)
        );
        _refundAs(payer, escrow);
    }

    function test_PayeeMayRefundAtOnce() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        _refundAs(payee, escrow);
        vm.assertEq(escrow.beneficiary(), payer);
    }

    function test_DecidedEscrowsChangeNoMore() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _refundAs(payee, escrow);
        bytes memory expected =
            abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.Refunded, Escrow.Status.Funded);
        vm.expectRevert(expected);
        _approveAs(payer, escrow);
        vm.expectRevert(expected);
        escrow.release();
        vm.expectRevert(expected);
        _refundAs(payee, escrow);
    }

    function test_RevertWhen_WithdrawnByAnyoneButTheBeneficiaryOnce() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        vm.startPrank(payer);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotBeneficiary.selector, payer, Escrow.Status.Funded));
        escrow.withdraw(payer);
        escrow.approve();
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotBeneficiary.selector, payer, Escrow.Status.Released));
        escrow.withdraw(payer);
        vm.stopPrank();

        vm.startPrank(payee);
        vm.expectRevert(Escrow.RecipientZero.selector);
        escrow.withdraw(address(0));
        escrow.withdraw(payee);
        vm.expectRevert(Escrow.AlreadyWithdrawn.selector);
        escrow.withdraw(payee);
    }

    function test_TokenEscrowPaysTheWholeAmount() external {
        usdc.mint(payer, 250e6);
        vm.startPrank(payer);
        usdc.approve(address(factory), 250e6);
        Escrow escrow = Escrow(factory.createEscrow(_parameters(address(usdc), 250e6, ApprovalPolicy.Payer)));
        escrow.approve();
        vm.stopPrank();
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.prank(payee);
        escrow.withdraw(payee);
        vm.assertEq(usdc.balanceOf(payee), 250e6);
    }

    function test_RefusingPayeeBlocksNobodyAndCanPayElsewhere() external {
        RefusingReceiver wallet = new RefusingReceiver();
        payee = address(wallet);
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();

        vm.expectRevert(RefusingReceiver.PaymentRefused.selector);
        wallet.act(address(escrow), abi.encodeCall(Escrow.withdraw, (address(wallet))), 0);
        vm.assertFalse(escrow.withdrawn());
        wallet.act(address(escrow), abi.encodeCall(Escrow.withdraw, (stranger)), 0);
        vm.assertEq(stranger.balance, AMOUNT);
    }

    function test_ReentrantWithdrawalIsRefused() external {
        ReentrantParty thief = new ReentrantParty();
        payee = address(thief);
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        // More than the escrow's amount is there to be stolen.
        vm.deal(address(escrow), 3 * AMOUNT);

        bytes memory withdrawal = abi.encodeCall(Escrow.withdraw, (address(thief)));
        thief.arm(address(escrow), withdrawal);
        thief.act(address(escrow), withdrawal, 0);
        vm.assertTrue(thief.attempted());
        vm.assertFalse(thief.succeeded());
        vm.assertEq(
            keccak256(thief.result()), keccak256(abi.encodeWithSelector(Escrow.AlreadyWithdrawn.selector))
        );
        vm.assertEq(address(thief).balance, AMOUNT);
    }

    function _expectRoleNotInPolicy(Escrow escrow, address party, uint8 role, ApprovalPolicy policy) private {
        vm.expectRevert(abi.encodeWithSelector(Escrow.RoleNotInPolicy.selector, role, policy));
        _approveAs(party, escrow);
    }
}
