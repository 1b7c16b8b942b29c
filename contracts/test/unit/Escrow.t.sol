// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {ApprovalPolicy, ROLE_ARBITER, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice Approvals by role, release, refund and withdrawal: what Escrow.tree says.
contract EscrowTest is EscrowFixture {
    function test_LifeCycleEmitsEveryStepFromTheFactory() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowApproved(address(escrow), 2, ROLE_PAYEE, payee, ROLE_PAYEE);
        _approveAs(payee, escrow);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowApproved(
            address(escrow), 3, ROLE_ARBITER, arbiter, ROLE_PAYEE | ROLE_ARBITER
        );
        _approveAs(arbiter, escrow);

        vm.warp(createdAt + RELEASE_DELAY_S);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowReleased(address(escrow), 4, payee, AMOUNT);
        vm.prank(stranger);
        escrow.release();

        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowWithdrawn(address(escrow), 5, ROLE_PAYEE, payee, stranger, AMOUNT);
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
            Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree, bytes32(i));
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

    function test_RevertWhen_AStrangerActs() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        bytes memory expected = abi.encodeWithSelector(Escrow.NotParty.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(expected);
        escrow.approve();
        vm.expectRevert(expected);
        escrow.refund();
        vm.expectRevert(expected);
        escrow.dispute();
        vm.expectRevert(expected);
        escrow.proposeArbiter(successor);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, arbiter));
        _refundAs(arbiter, escrow);
    }

    function test_RevertWhen_ReleasedBeforeApprovalOrTime() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payee, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S - 1);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.NotApproved.selector, ROLE_PAYEE, ApprovalPolicy.TwoOfThree)
        );
        escrow.release();
        _approveAs(payer, escrow);
        vm.expectRevert(
            abi.encodeWithSelector(
                Escrow.ReleaseTooEarly.selector, createdAt + RELEASE_DELAY_S, block.timestamp
            )
        );
        escrow.release();
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), AMOUNT);
    }

    function test_PayerMayRefundFromTheRefundTimeOn() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payee, escrow);
        uint256 refundTime = createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S;
        vm.assertEq(escrow.refundTime(), refundTime);
        vm.warp(refundTime - 1);
        vm.expectRevert(abi.encodeWithSelector(Escrow.RefundTooEarly.selector, refundTime, refundTime - 1));
        _refundAs(payer, escrow);
        vm.warp(refundTime);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowRefunded(address(escrow), 3, payer, AMOUNT);
        _refundAs(payer, escrow);
        _withdrawAs(payer, escrow);
        vm.assertEq(payer.balance, 100 ether);
    }

    function test_RevertWhen_PayerRefundsWhatIsApproved() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payee, escrow);
        _approveAs(arbiter, escrow);
        vm.warp(createdAt + 400 days);
        vm.expectRevert(
            abi.encodeWithSelector(
                Escrow.AlreadyDecided.selector, ROLE_PAYEE | ROLE_ARBITER, ApprovalPolicy.TwoOfThree
            )
        );
        _refundAs(payer, escrow);
    }

    function test_PayeeMayRefundAtOnce() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        _refundAs(payee, escrow);
        vm.assertEq(escrow.withdrawable(ROLE_PAYER), AMOUNT);
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), 0);
    }

    function test_DecidedEscrowsChangeNoMore() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        _refundAs(payee, escrow);
        bytes memory expected = abi.encodeWithSelector(Escrow.NotUndecided.selector, Escrow.Status.Refunded);
        vm.expectRevert(expected);
        _approveAs(payer, escrow);
        vm.expectRevert(expected);
        escrow.release();
        vm.expectRevert(expected);
        _refundAs(payee, escrow);
        vm.expectRevert(expected);
        _proposeAs(payer, escrow, successor);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.Refunded, Escrow.Status.Funded)
        );
        vm.prank(payee);
        escrow.dispute();
        vm.expectRevert(
            abi.encodeWithSelector(
                Escrow.WrongStatus.selector, Escrow.Status.Refunded, Escrow.Status.Disputed
            )
        );
        vm.prank(arbiter);
        escrow.resolve(5000);
    }

    function test_RevertWhen_WithdrawnByAnyoneButTheBeneficiaryOnce() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        vm.startPrank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.NothingToWithdraw.selector, payer, Escrow.Status.Funded)
        );
        escrow.withdraw(payer);
        escrow.approve();
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.NothingToWithdraw.selector, payer, Escrow.Status.Released)
        );
        escrow.withdraw(payer);
        vm.stopPrank();
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.NothingToWithdraw.selector, stranger, Escrow.Status.Released)
        );
        _withdrawAs(stranger, escrow);

        vm.startPrank(payee);
        vm.expectRevert(Escrow.RecipientZero.selector);
        escrow.withdraw(address(0));
        escrow.withdraw(payee);
        vm.expectRevert(abi.encodeWithSelector(Escrow.AlreadyWithdrawn.selector, ROLE_PAYEE));
        escrow.withdraw(payee);
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), 0);
    }

    function test_TokenEscrowsPayTheWholeAmountWhateverTheDecimals() external {
        uint8[3] memory decimals = [6, 8, 18];
        for (uint256 i = 0; i < 3; ++i) {
            MockERC20 token = new MockERC20("Token", "TOK", decimals[i]);
            uint256 amount = 250 * 10 ** decimals[i] + 1;
            Escrow escrow = _createToken(token, amount, ApprovalPolicy.Payer);
            _approveAs(payer, escrow);
            vm.warp(block.timestamp + RELEASE_DELAY_S);
            escrow.release();
            _withdrawAs(payee, escrow);
            vm.assertEq(token.balanceOf(payee), amount);
        }
    }

    function _expectRoleNotInPolicy(Escrow escrow, address party, uint8 role, ApprovalPolicy policy) private {
        vm.expectRevert(abi.encodeWithSelector(Escrow.RoleNotInPolicy.selector, role, policy));
        _approveAs(party, escrow);
    }
}
