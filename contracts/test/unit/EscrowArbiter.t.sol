// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {ApprovalPolicy, ROLE_ARBITER, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice Replacing the arbiter: what EscrowArbiter.tree says.
contract EscrowArbiterTest is EscrowFixture {
    function test_PayerAndPayeeTogetherReplaceTheArbiterAndApprovalsAreCleared() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(arbiter, escrow);
        _approveAs(payer, escrow);
        vm.assertTrue(escrow.isApproved());

        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowArbiterProposed(address(escrow), 4, ROLE_PAYEE, successor);
        _proposeAs(payee, escrow, successor);
        vm.assertEq(escrow.arbiter(), arbiter);
        vm.assertEq(escrow.proposedArbiter(ROLE_PAYEE), successor);

        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowArbiterProposed(address(escrow), 5, ROLE_PAYER, successor);
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowArbiterChanged(address(escrow), 6, arbiter, successor);
        _proposeAs(payer, escrow, successor);

        vm.assertEq(escrow.arbiter(), successor);
        vm.assertEq(escrow.roleOf(successor), ROLE_ARBITER);
        vm.assertEq(escrow.roleOf(arbiter), 0);
        vm.assertEq(escrow.approvedRoles(), 0);
        vm.assertEq(escrow.round(), 1);
        vm.assertEq(escrow.proposedArbiter(ROLE_PAYER), address(0));
        vm.assertEq(escrow.proposedArbiter(ROLE_PAYEE), address(0));
        vm.assertFalse(escrow.isApproved());
    }

    function test_OneSideAloneChangesNothing() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _approveAs(payer, escrow);
        _proposeAs(payer, escrow, successor);
        _proposeAs(payer, escrow, successor);
        _proposeAs(payee, escrow, stranger);
        vm.assertEq(escrow.arbiter(), arbiter);
        vm.assertEq(escrow.approvedRoles(), ROLE_PAYER);
    }

    function test_ProposalMayBeTakenBack() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        _proposeAs(payer, escrow, successor);
        _proposeAs(payer, escrow, address(0));
        _proposeAs(payee, escrow, successor);
        vm.assertEq(escrow.arbiter(), arbiter);
        _proposeAs(payee, escrow, address(0));
        vm.assertEq(escrow.arbiter(), arbiter);
    }

    function test_ArbiterIsReplacedDuringADisputeAndTheSuccessorSplits() external {
        Escrow escrow = _createDisputed(ApprovalPolicy.TwoOfThree);
        _proposeAs(payer, escrow, successor);
        _proposeAs(payee, escrow, successor);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotArbiter.selector, arbiter));
        vm.prank(arbiter);
        escrow.resolve(1);
        vm.prank(successor);
        escrow.resolve(5_000);
        vm.assertEq(escrow.withdrawable(ROLE_PAYEE), AMOUNT / 2);
    }

    function test_RevertWhen_TheArbiterProposesOrTheCandidateIsAParty() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotParty.selector, arbiter));
        _proposeAs(arbiter, escrow, successor);
        address[3] memory parties = [payer, payee, arbiter];
        for (uint256 i = 0; i < 3; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Escrow.CandidateIsParty.selector, parties[i]));
            _proposeAs(payer, escrow, parties[i]);
        }
    }

    function test_RevertWhen_ASideProposesTooOften() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        for (uint256 i = 0; i < 16; ++i) {
            _proposeAs(payer, escrow, vm.addr(1 + i));
        }
        vm.expectRevert(abi.encodeWithSelector(Escrow.TooManyProposals.selector, ROLE_PAYER, 16));
        _proposeAs(payer, escrow, successor);
        // The other side may still agree with the last of them.
        _proposeAs(payee, escrow, vm.addr(16));
        vm.assertEq(escrow.arbiter(), vm.addr(16));
    }
}
