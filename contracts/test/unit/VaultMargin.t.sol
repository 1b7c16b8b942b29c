// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Vault} from "../../src/Vault.sol";
import {Valuation} from "../../src/libraries/Valuation.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Valuation over decimals and factors, the initial margin's exact boundary, and broken prices.
contract VaultMarginTest is VaultFixture {
    function test_ValueAddsAssetsOfAllDecimals() external {
        _deposit(alice, usdc, 1234e6);
        _deposit(alice, wbtc, 0.5e8);
        _deposit(alice, weth, 3e18);
        _depositNative(alice, 10 ether);
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(alice);
        vm.assertEq(collateralUsd, 1234e18 + 25_000e18 + 6000e18 + 16_000e18);
        vm.assertEq(debtUsd, 0);
    }

    function test_BorrowFactorDividesTheDebt() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(weth), 4e18);
        (, uint256 debtUsd) = vault.accountValue(alice);
        vm.assertEq(debtUsd, 10_000e18);
    }

    function test_SmallestDebtIsNeverWorthZero() external {
        // 1 wei of WETH is worth 2e-15 USD, of native 2e-15; a fall of the price cannot make it free.
        _deposit(alice, usdc, 1e6);
        _borrow(alice, address(weth), 1);
        wethFeed.updateAnswer(1);
        (, uint256 debtUsd) = vault.accountValue(alice);
        vm.assertEq(debtUsd, 1);
    }

    function test_BorrowUpToTheInitialMarginExactly() external {
        _deposit(alice, usdc, 15_000e6);
        _borrow(alice, address(usdc), 10_000e6);
        _assertPosition(alice, address(usdc), 15_000e6, 10_000e6);
    }

    function test_RevertWhen_BorrowingOneUnitBeyondTheInitialMargin() external {
        _deposit(alice, usdc, 15_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(Vault.InitialMarginNotMet.selector, alice, 15_000e18, 15_000e18 + 1.5e12)
        );
        _borrow(alice, address(usdc), 10_000e6 + 1);
    }

    function test_RevertWhen_WithdrawalBreaksTheInitialMargin() external {
        _deposit(alice, usdc, 15_000e6);
        _borrow(alice, address(usdc), 10_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(Vault.InitialMarginNotMet.selector, alice, 15_000e18 - 1e12, 15_000e18)
        );
        vm.prank(alice);
        vault.withdraw(address(usdc), 1);
    }

    function test_RevertWhen_PriceFellBelowTheInitialMargin() external {
        _depositNative(alice, 10 ether);
        _borrow(alice, address(usdc), 10_000e6);
        nativeFeed.updateAnswer(1874e8);
        vm.expectRevert(
            abi.encodeWithSelector(Vault.InitialMarginNotMet.selector, alice, 14_992e18, 15_000e18 + 1.5e12)
        );
        _borrow(alice, address(usdc), 1);
    }

    function test_RevertWhen_PriceIsZeroOrNegative() external {
        _depositNative(alice, 10 ether);
        int256[2] memory answers = [int256(0), -1];
        for (uint256 i = 0; i < answers.length; ++i) {
            nativeFeed.updateAnswer(answers[i]);
            vm.expectRevert(
                abi.encodeWithSelector(Valuation.InvalidPrice.selector, NATIVE, answers[i], block.timestamp)
            );
            _borrow(alice, address(usdc), 1e6);
        }
    }

    function test_RevertWhen_PriceIsFromTheFuture() external {
        _depositNative(alice, 10 ether);
        uint64 future = uint64(block.timestamp + 1);
        nativeFeed.updateRound(2000e8, future, future);
        vm.expectRevert(abi.encodeWithSelector(Valuation.InvalidPrice.selector, NATIVE, 2000e8, future));
        _borrow(alice, address(usdc), 1e6);
    }

    function test_PriceCountsUntilTheHeartbeatAndNotAfter() external {
        _depositNative(alice, 10 ether);
        uint256 updatedAt = block.timestamp;
        vm.warp(updatedAt + HEARTBEAT_S);
        usdcFeed.updateAnswer(1e8);
        _borrow(alice, address(usdc), 1e6);

        vm.warp(updatedAt + HEARTBEAT_S + 1);
        vm.expectRevert(abi.encodeWithSelector(Valuation.StalePrice.selector, NATIVE, updatedAt, HEARTBEAT_S));
        _borrow(alice, address(usdc), 1e6);
    }

    function test_BrokenFeedDoesNotBlockAccountsWithoutTheAsset() external {
        _deposit(alice, usdc, 1000e6);
        wbtcFeed.updateAnswer(0);
        _borrow(alice, address(usdc), 1e6);
        _assertPosition(alice, address(usdc), 1000e6, 1e6);
    }

    function test_AssetGivenBackIsNoLongerRead() external {
        _deposit(alice, usdc, 1000e6);
        _deposit(alice, wbtc, 1e8);
        vm.prank(alice);
        vault.withdraw(address(wbtc), 1e8);
        wbtcFeed.updateAnswer(0);
        _borrow(alice, address(usdc), 1e6);
        _assertPosition(alice, address(usdc), 1000e6, 1e6);
    }

    function test_BrokenFeedDoesNotLockFundsWithoutDebt() external {
        _deposit(alice, wbtc, 1e8);
        wbtcFeed.updateAnswer(0);
        vm.prank(alice);
        vault.withdraw(address(wbtc), 0.4e8);
        vm.assertEq(wbtc.balanceOf(alice), 0.4e8);
    }

    function test_BrokenFeedDoesNotBlockRepayment() external {
        _deposit(alice, usdc, 1000e6);
        _borrow(alice, address(usdc), 100e6);
        usdcFeed.updateAnswer(-1);
        _repay(alice, usdc, 100e6);
        _assertPosition(alice, address(usdc), 1000e6, 0);
    }
}
