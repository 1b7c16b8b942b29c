// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PriceOracle} from "../../src/PriceOracle.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {LendingMarket} from "../../src/libraries/LendingMarket.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Who may be liquidated, by how much, for what; and what becomes of debt that nothing covers.
contract VaultLiquidationTest is VaultFixture {
    /// @dev 20,000 USDC of debt on 1 WBTC; liquidatable below 23,000, closed out below 21,850.
    function _indebt(address account) private {
        _deposit(account, wbtc, 1e8);
        _borrow(account, address(usdc), 20_000e6);
    }

    function test_RevertWhen_AccountMeetsItsMargin() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(23_000e8);
        usdc.mint(liquidator, 10_000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 10_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.NotLiquidatable.selector, alice, 23_000 * USD, 23_000 * USD)
        );
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0);
    }

    function test_HalfOfTheDebtForCollateralAndBonus() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_000e8);
        (uint256 repaid, uint256 seized) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(repaid, 10_000e6);
        // 10,000 · 1.05 / 22,000, rounded down.
        vm.assertEq(seized, 0.47727272e8);
        vm.assertEq(wbtc.balanceOf(liquidator), seized);
        _assertPosition(alice, address(usdc), 0, 10_000e6);
        _assertPosition(alice, address(wbtc), 1e8 - 0.47727272e8, 0);
    }

    function test_LiquidationAtTheThresholdHeals() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_999e8);
        uint256 before = vault.healthFactor(alice);
        _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertGt(vault.healthFactor(alice), before);
        vm.assertFalse(vault.isLiquidatable(alice));
    }

    function test_BothSidesAreReported() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_000e8);
        usdc.mint(liquidator, 1000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 1000e6);
        uint256 seized = 0.04772727e8;
        vm.expectEmit(address(vault));
        emit IVault.PositionChanged(
            alice,
            address(usdc),
            3,
            IVault.PositionChange.LiquidateDebt,
            1000e6,
            0,
            19_000e6,
            19_000e6,
            0,
            0,
            RAY
        );
        vm.expectEmit(address(vault));
        emit IVault.PositionChanged(
            alice,
            address(wbtc),
            4,
            IVault.PositionChange.LiquidateCollateral,
            seized,
            1e8 - seized,
            0,
            0,
            0,
            0,
            RAY
        );
        vm.expectEmit(address(vault));
        emit IVault.Liquidated(alice, liquidator, address(usdc), address(wbtc), 1000e6, seized);
        vault.liquidate(alice, address(usdc), address(wbtc), 1000e6, seized);
    }

    function test_AllOfTheDebtFarBelowTheMargin() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(21_849e8);
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(repaid, 20_000e6);
        _assertPosition(alice, address(usdc), 0, 0);
    }

    function test_AllOfASmallDebt() external {
        _deposit(alice, wbtc, 0.1e8);
        _borrow(alice, address(usdc), 1_900e6);
        wbtcFeed.updateAnswer(21_800e8);
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(repaid, 1_900e6);
    }

    function test_RevertWhen_DustWouldBeLeft() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(21_849e8);
        usdc.mint(liquidator, 20_000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 20_000e6);
        vm.expectPartialRevert(IVault.DustLeft.selector);
        vault.liquidate(alice, address(usdc), address(wbtc), 19_001e6, 0);
        vm.expectPartialRevert(IVault.DustLeft.selector);
        vault.liquidate(alice, address(usdc), address(wbtc), 20_000e6 - 1, 0);
        vault.liquidate(alice, address(usdc), address(wbtc), 18_900e6, 0);
    }

    function test_RevertWhen_SeizedIsLessThanAskedFor() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_000e8);
        usdc.mint(liquidator, 10_000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 10_000e6);
        vm.expectRevert(abi.encodeWithSelector(IVault.SeizedTooLittle.selector, 0.47727272e8, 0.47727273e8));
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0.47727273e8);
    }

    function test_NativeCollateralForTokenDebt() external {
        _depositNative(alice, 20 ether);
        _borrow(alice, address(usdc), 20_000e6);
        nativeFeed.updateAnswer(1400e8);
        (uint256 repaid, uint256 seized) = _liquidate(alice, address(usdc), NATIVE, type(uint256).max);
        vm.assertEq(repaid, 10_000e6);
        vm.assertEq(seized, 7.5 ether);
        vm.assertEq(liquidator.balance, 7.5 ether);
    }

    function test_TokenCollateralForNativeDebtReturnsTheSurplus() external {
        _deposit(alice, usdc, 31_000e6);
        _borrow(alice, NATIVE, 10 ether);
        nativeFeed.updateAnswer(2750e8);
        (uint256 repaid, uint256 seized) = _liquidate(alice, NATIVE, address(usdc), type(uint256).max);
        vm.assertEq(repaid, 5 ether);
        vm.assertEq(seized, 14_437.5e6);
        vm.assertEq(liquidator.balance, 9_995 ether);
        _assertPosition(alice, NATIVE, 0, 5 ether);
    }

    function test_SameAssetOnBothSides() external {
        // Native collateral counts 80 %; interest alone makes the account liquidatable.
        _depositNative(alice, 100 ether);
        _borrow(alice, NATIVE, 53 ether);
        // Without idle supply the rate is the curve's top.
        vault.redeem(NATIVE, uint256(vault.marketOf(NATIVE).cash) * 1e6);
        for (uint256 i = 0; i < 40 && !vault.isLiquidatable(alice); ++i) {
            _warpWithPrices(30 days);
        }
        vm.assertTrue(vault.isLiquidatable(alice));
        uint256 debt = _debt(alice, NATIVE);
        (uint256 repaid, uint256 seized) = _liquidate(alice, NATIVE, NATIVE, 1 ether);
        vm.assertEq(repaid, 1 ether);
        vm.assertEq(seized, 1.05 ether);
        vm.assertGe(debt - 1 ether + 1, _debt(alice, NATIVE));
    }

    function test_DebtThatNothingCoversIsTheLendersLossAtOnce() external {
        _indebt(alice);
        _borrow(alice, address(weth), 1e18);
        wbtcFeed.updateAnswer(10_500e8);
        uint256 lenders = vault.supplyAssetsOf(address(usdc));
        (uint256 repaid, uint256 seized) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(repaid, 10_000e6);
        vm.assertEq(seized, 1e8);
        _assertPosition(alice, address(usdc), 0, 0);
        _assertPosition(alice, address(weth), 0, 0);
        vm.assertEq(vault.supplyAssetsOf(address(usdc)), lenders - 10_000e6);
        vm.assertEq(vault.supplyAssetsOf(address(weth)), 4999e18);
        vm.assertEq(vault.marketOf(address(usdc)).debtShares, 0);
        vm.assertEq(vault.healthFactor(alice), type(uint256).max);
    }

    function test_TheTreasuryBearsALossFirst() external {
        _deposit(bob, weth, 1000e18);
        _borrow(bob, address(usdc), 1_000_000e6);
        _indebt(alice);
        _warpWithPrices(365 days);
        _repay(bob, usdc, 500_000e6);
        LendingMarket.Market memory before = vault.marketOf(address(usdc));
        uint256 treasury = uint256(before.reserves) + before.pendingReserves;
        vm.assertGt(treasury, 2_000e6);
        uint256 lenders = vault.supplyAssetsOf(address(usdc));

        wbtcFeed.updateAnswer(20_000e8);
        uint256 debt = _debt(alice, address(usdc));
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        LendingMarket.Market memory afterwards = vault.marketOf(address(usdc));
        vm.assertGt(treasury, debt - repaid);
        uint256 borne = treasury - afterwards.reserves - afterwards.pendingReserves;
        // Shares that a payment extinguishes are rounded down, so that a base unit more may be given up.
        vm.assertGe(borne, debt - repaid - 1);
        vm.assertGe(debt - repaid + 1, borne);
        vm.assertGe(vault.supplyAssetsOf(address(usdc)) + 1, lenders);
    }

    function test_LiquidationStaysOpenWhenPausedAndFrozen() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_000e8);
        vault.pause();
        vault.freezeAsset(address(usdc));
        vault.freezeAsset(address(wbtc));
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(repaid, 10_000e6);
    }

    function test_RevertWhen_ThereIsNothingToLiquidate() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(22_000e8);
        vm.startPrank(liquidator);
        vm.expectRevert(abi.encodeWithSelector(IVault.NoDebt.selector, alice, address(weth)));
        vault.liquidate(alice, address(weth), address(wbtc), 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IVault.InsufficientCollateral.selector, address(weth), 1, 0));
        vault.liquidate(alice, address(usdc), address(weth), 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IVault.ZeroAmount.selector, address(usdc)));
        vault.liquidate(alice, address(usdc), address(wbtc), 0, 0);
    }

    function test_RevertWhen_ThePriceOfEitherSideIsBroken() external {
        _indebt(alice);
        wbtcFeed.updateAnswer(10_000e8);
        usdcFeed.updateAnswer(0);
        vm.startPrank(liquidator);
        vm.expectRevert(
            abi.encodeWithSelector(PriceOracle.InvalidPrice.selector, address(usdc), 0, block.timestamp)
        );
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0);
        vm.stopPrank();
        usdcFeed.updateAnswer(1e8);
        wbtcFeed.updateAnswer(0);
        vm.startPrank(liquidator);
        vm.expectRevert(
            abi.encodeWithSelector(PriceOracle.InvalidPrice.selector, address(wbtc), 0, block.timestamp)
        );
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0);
    }

    function test_WhatHasNoPriceShieldsAsMuchAsItsBoundsAllow() external {
        oracle.configureFeed(address(weth), wethFeed, HEARTBEAT_S, 1000e18, 10_000e18);
        _indebt(alice);
        _deposit(alice, weth, 1e18);
        wethFeed.updateAnswer(0);
        wbtcFeed.updateAnswer(13_000e8);
        vm.assertFalse(vault.isLiquidatable(alice));
        vm.prank(liquidator);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.NotLiquidatable.selector, alice, 23_000 * USD, 23_000 * USD)
        );
        vault.liquidate(alice, address(usdc), address(wbtc), 1, 0);

        wbtcFeed.updateAnswer(13_000e8 - 1);
        vm.assertTrue(vault.isLiquidatable(alice));
        _liquidate(alice, address(usdc), address(wbtc), 1000e6);
        // Loans and withdrawals count on nothing that has no price.
        vm.expectPartialRevert(PriceOracle.InvalidPrice.selector);
        _borrow(alice, address(usdc), 1);
        vm.expectPartialRevert(PriceOracle.InvalidPrice.selector);
        vault.accountValue(alice);
    }

    function test_ADebtWithoutAPriceCountsAsLittleAsItsBoundsAllow() external {
        oracle.configureFeed(address(weth), wethFeed, HEARTBEAT_S, 1000e18, 10_000e18);
        _deposit(alice, usdc, 13_800e6);
        _borrow(alice, address(weth), 1e18);
        _borrow(alice, address(wbtc), 0.1e8);
        wethFeed.updateAnswer(0);
        // 1000 / 0.8 of WETH and 10,750 of WBTC: 12,000 of debt, for which 13,800 are just enough.
        wbtcFeed.updateAnswer(107_500e8);
        vm.assertFalse(vault.isLiquidatable(alice));
        wbtcFeed.updateAnswer(107_500e8 + 1);
        vm.assertTrue(vault.isLiquidatable(alice));
    }
}
