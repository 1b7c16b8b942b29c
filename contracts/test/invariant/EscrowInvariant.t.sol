// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {EscrowTerms, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {InvariantTest} from "../Test.sol";
import {EscrowHandler} from "./EscrowHandler.sol";

/// @notice What holds of every escrow after any sequence of attempts.
contract EscrowInvariantTest is InvariantTest {
    EscrowHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        _handler = new EscrowHandler(new EscrowFactory());
        bytes4[] memory actions = new bytes4[](9);
        actions[0] = EscrowHandler.create.selector;
        actions[1] = EscrowHandler.approve.selector;
        actions[2] = EscrowHandler.dispute.selector;
        actions[3] = EscrowHandler.resolve.selector;
        actions[4] = EscrowHandler.proposeArbiter.selector;
        actions[5] = EscrowHandler.release.selector;
        actions[6] = EscrowHandler.refund.selector;
        actions[7] = EscrowHandler.withdraw.selector;
        actions[8] = EscrowHandler.passTime.selector;
        target(address(_handler), actions);
    }

    function invariant_FundsAreHeldOrPaidOutOnce() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            EscrowTerms memory terms = escrow.terms();
            uint256 held = terms.asset == address(0)
                ? address(escrow).balance
                : IERC20(terms.asset).balanceOf(address(escrow));
            vm.assertEq(held + _handler.projection(escrow).paid, terms.amount);
            uint256 owed = escrow.withdrawable(ROLE_PAYER) + escrow.withdrawable(ROLE_PAYEE);
            vm.assertTrue(owed == 0 || owed == held, "a part is owed to nobody");
        }
    }

    function invariant_EscrowsAreDecidedAtMostOnce() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            uint256 decisions = _handler.projection(escrow).decisions;
            vm.assertLe(decisions, 1);
            vm.assertEq(uint256(escrow.status()) > uint256(Escrow.Status.Disputed), decisions == 1);
        }
    }

    function invariant_EventsAloneGiveTheState() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            EscrowHandler.Projection memory known = _handler.projection(escrow);
            if (escrow.status() == Escrow.Status.Released) vm.assertTrue(escrow.isApproved());
            vm.assertEq(escrow.approvedRoles(), known.approvedRoles);
            vm.assertEq(escrow.withdrawnRoles(), known.withdrawnRoles);
            vm.assertEq(escrow.arbiter(), known.arbiter);
            vm.assertEq(escrow.disputeDeadline() != 0, known.disputed);
            vm.assertEq(escrow.step(), known.step);
        }
    }
}
