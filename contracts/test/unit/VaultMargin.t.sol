// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PriceOracle} from "../../src/PriceOracle.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Valuation over decimals and factors, the initial margin's exact boundary, and broken prices.
contract VaultMarginTest is VaultFixture {
    function test_ValueAddsAssetsOfAllDecimals() external {
        _deposit(alice, usdc, 1234e6);
        _deposit(alice, wbtc, 0.5e8);
        _deposit(alice, weth, 3e18);
        _depositNative(alice, 10 ether);
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(alice);
        vm.assertEq(collateralUsd, (1234 + 25_000 + 6000 + 16_000) * USD);
        vm.assertEq(debtUsd, 0);
    }

    function test_BorrowFactorDividesTheDebt() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(weth), 4e18);
        (, uint256 debtUsd) = vault.accountValue(alice);
        vm.assertEq(debtUsd, 10_000 * USD);
    }

    function test_SmallestDebtIsNeverWorthZero() external {
        _deposit(alice, usdc, 1e6);
        _borrow(alice, address(weth), 1);
        wethFeed.updateAnswer(1);
        (, uint256 debtUsd) = vault.accountValue(alice);
        // One wei at 1e-18 USD is one unit; a borrow factor of 0.8 makes 1.25 of it, rounded up.
        vm.assertEq(debtUsd, 2);
    }

    function test_BorrowUpToTheInitialMarginExactly() external {
        _deposit(alice, usdc, 15_000e6);
        _borrow(alice, address(usdc), 10_000e6);
        _assertPosition(alice, address(usdc), 15_000e6, 10_000e6);
    }

    function test_RevertWhen_BorrowingOneUnitBeyondTheInitialMargin() external {
        _deposit(alice, usdc, 15_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IVault.InitialMarginNotMet.selector, alice, 15_000 * USD, 15_000 * USD + 1.5e30
            )
        );
        _borrow(alice, address(usdc), 10_000e6 + 1);
    }

    function test_RevertWhen_WithdrawalBreaksTheInitialMargin() external {
        _deposit(alice, usdc, 15_000e6);
        _borrow(alice, address(usdc), 10_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IVault.InitialMarginNotMet.selector, alice, 15_000 * USD - 1e30, 15_000 * USD
            )
        );
        vm.prank(alice);
        vault.withdraw(address(usdc), 1);
    }

    function test_RevertWhen_PriceFellBelowTheInitialMargin() external {
        _depositNative(alice, 10 ether);
        _borrow(alice, address(usdc), 10_000e6);
        nativeFeed.updateAnswer(1874e8);
        vm.expectRevert(
            abi.encodeWithSelector(
                IVault.InitialMarginNotMet.selector, alice, 14_992 * USD, 15_000 * USD + 1.5e30
            )
        );
        _borrow(alice, address(usdc), 1);
    }

    function test_RevertWhen_PriceIsZeroOrNegative() external {
        _depositNative(alice, 10 ether);
        int256[2] memory answers = [int256(0), -1];
        for (uint256 i = 0; i < answers.length; ++i) {
            nativeFeed.updateAnswer(answers[i]);
            vm.expectRevert(
                abi.encodeWithSelector(PriceOracle.InvalidPrice.selector, NATIVE, answers[i], block.timestamp)
            );
            _borrow(alice, address(usdc), 1e6);
        }
    }

    function test_RevertWhen_PriceIsFromTheFuture() external {
        _depositNative(alice, 10 ether);
        uint64 future = uint64(block.timestamp + 1);
        nativeFeed.updateRound(2000e8, future, future);
        vm.expectRevert(abi.encodeWithSelector(PriceOracle.InvalidPrice.selector, NATIVE, 2000e8, future));
        _borrow(alice, address(usdc), 1e6);
    }

    function test_PriceCountsUntilTheHeartbeatAndNotAfter() external {
        _depositNative(alice, 10 ether);
        uint256 updatedAt = block.timestamp;
        vm.warp(updatedAt + HEARTBEAT_S);
        usdcFeed.updateAnswer(1e8);
        _borrow(alice, address(usdc), 1e6);

        vm.warp(updatedAt + HEARTBEAT_S + 1);
        vm.expectRevert(
            abi.encodeWithSelector(PriceOracle.StalePrice.selector, NATIVE, updatedAt, HEARTBEAT_S)
        );
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

    function test_LoanToValueIsBelowTheLiquidationThreshold() external {
        // 10,000 of debt: loans need 15,000 of collateral, liquidation comes below 11,500.
        _deposit(alice, wbtc, 0.3e8);
        _borrow(alice, address(usdc), 10_000e6);
        wbtcFeed.updateAnswer(40_000e8);
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        _borrow(alice, address(usdc), 1);
        vm.assertFalse(vault.isLiquidatable(alice));
    }

    function test_HealthFactorIsOneExactlyAtTheLiquidationMargin() external {
        _deposit(alice, wbtc, 0.5e8);
        _borrow(alice, address(usdc), 10_000e6);
        wbtcFeed.updateAnswer(23_000e8);
        vm.assertEq(vault.healthFactor(alice), 1e18);
        vm.assertFalse(vault.isLiquidatable(alice));
        wbtcFeed.updateAnswer(23_000e8 - 1);
        vm.assertTrue(vault.isLiquidatable(alice));
        vm.assertGt(1e18, vault.healthFactor(alice));
    }

    /// @dev Health 50, 30, 15 and 0 % of docs/methodology/margin.md are health factors of (1 + health) / 1.15.
    function test_BackOfficeBandsAreTheseHealthFactors() external {
        _deposit(alice, wbtc, 0.5e8);
        _borrow(alice, address(usdc), 10_000e6);
        int64[4] memory prices = [int64(30_000e8), 26_000e8, 23_000e8, 20_000e8];
        uint64[4] memory factors =
            [1.304347826086956521e18, 1.130434782608695652e18, 1e18, 0.869565217391304347e18];
        for (uint256 i = 0; i < prices.length; ++i) {
            wbtcFeed.updateAnswer(prices[i]);
            vm.assertEq(vault.healthFactor(alice), factors[i]);
        }
    }

    function test_HealthFactorWithoutDebtIsTheLargestNumber() external {
        wbtcFeed.updateAnswer(50_000e8);
        _deposit(alice, wbtc, 1e8);
        wbtcFeed.updateAnswer(0);
        vm.assertEq(vault.healthFactor(alice), type(uint256).max);
        vm.assertFalse(vault.isLiquidatable(alice));
    }
}
