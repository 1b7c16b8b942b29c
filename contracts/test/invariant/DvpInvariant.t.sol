// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {DvpTerms, ROLE_BUYER, ROLE_SELLER} from "../../src/interfaces/IEscrowFactory.sol";
import {InvariantTest} from "../Test.sol";
import {DvpHandler} from "./DvpHandler.sol";

/// @notice What holds of every trade after any sequence of attempts.
contract DvpInvariantTest is InvariantTest {
    DvpHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        _handler = new DvpHandler(new EscrowFactory());
        bytes4[] memory actions = new bytes4[](5);
        actions[0] = DvpHandler.create.selector;
        actions[1] = DvpHandler.deposit.selector;
        actions[2] = DvpHandler.refund.selector;
        actions[3] = DvpHandler.withdraw.selector;
        actions[4] = DvpHandler.passTime.selector;
        target(address(_handler), actions);
    }

    /// @notice A leg leaves towards the other party only when the other leg came, and each leaves once.
    function invariant_BothLegsOrNeither() external view {
        for (uint256 i = 0; i < _handler.tradeCount(); ++i) {
            DvpEscrow dvp = _handler.trades(i);
            DvpTerms memory terms = dvp.terms();
            uint256 delivery = IERC20(terms.deliveryAsset).balanceOf(address(dvp));
            uint256 payment = IERC20(terms.paymentAsset).balanceOf(address(dvp));
            uint8 withdrawn = dvp.withdrawnRoles();
            if (dvp.status() == DvpEscrow.Status.Settled) {
                vm.assertEq(delivery, withdrawn & ROLE_BUYER == 0 ? terms.deliveryAmount : 0);
                vm.assertEq(payment, withdrawn & ROLE_SELLER == 0 ? terms.paymentAmount : 0);
            } else {
                uint8 held = dvp.depositedRoles() & ~withdrawn;
                vm.assertEq(delivery, held & ROLE_SELLER == 0 ? 0 : terms.deliveryAmount);
                vm.assertEq(payment, held & ROLE_BUYER == 0 ? 0 : terms.paymentAmount);
                vm.assertTrue(dvp.status() == DvpEscrow.Status.Refunded || withdrawn == 0);
            }
        }
    }
}
