// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {InvariantTest} from "../Test.sol";
import {EscrowHandler} from "./EscrowHandler.sol";

/// @notice What holds of every escrow after any sequence of attempts.
contract EscrowInvariantTest is InvariantTest {
    EscrowHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        _handler = new EscrowHandler(new EscrowFactory());
        bytes4[] memory actions = new bytes4[](6);
        actions[0] = EscrowHandler.create.selector;
        actions[1] = EscrowHandler.approve.selector;
        actions[2] = EscrowHandler.release.selector;
        actions[3] = EscrowHandler.refund.selector;
        actions[4] = EscrowHandler.withdraw.selector;
        actions[5] = EscrowHandler.passTime.selector;
        target(address(_handler), actions);
    }

    function invariant_FundsAreHeldOrPaidOutOnce() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            vm.assertEq(address(escrow).balance + _handler.paid(escrow), escrow.terms().amount);
            vm.assertEq(escrow.withdrawn(), _handler.paid(escrow) != 0);
        }
    }

    function invariant_EscrowsAreDecidedAtMostOnce() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            vm.assertLe(_handler.decisions(escrow), 1);
            vm.assertEq(escrow.status() != Escrow.Status.Funded, _handler.decisions(escrow) == 1);
        }
    }

    function invariant_ReleasesWereApproved() external view {
        for (uint256 i = 0; i < _handler.escrowCount(); ++i) {
            Escrow escrow = _handler.escrows(i);
            if (escrow.status() == Escrow.Status.Released) vm.assertTrue(escrow.isApproved());
            vm.assertEq(escrow.approvedRoles(), _handler.approvedRoles(escrow));
            vm.assertEq(escrow.step(), _handler.steps(escrow));
        }
    }
}
