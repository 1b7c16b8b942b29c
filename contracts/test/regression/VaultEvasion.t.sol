// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PriceOracle} from "../../src/PriceOracle.sol";
import {AggregatorV3Interface} from "../../src/interfaces/AggregatorV3Interface.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice How a debtor held off its liquidation, or kept its loss out of the books, with a wei: found by attacking this
/// vault.
contract VaultEvasionTest is VaultFixture {
    /// @dev 20,000 USDC of debt on 1 WBTC, and interest, so that a share is worth more than a base unit.
    function _indebt() private {
        oracle.configureFeed(address(weth), wethFeed, HEARTBEAT_S, 100e18, 100_000e18);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        _warpWithPrices(1 days);
    }

    /// @dev Debt was written off when there was no collateral at all, and nobody is paid for taking a wei.
    function test_CrumbKeepsALossInTheBooks_TheTreasuryTakesItAndTheLossIsRealised() external {
        _indebt();
        _deposit(alice, weth, 1);
        wbtcFeed.updateAnswer(10_500e8);
        uint256 lenders = vault.supplyAssetsOf(address(usdc));
        _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        _assertPosition(alice, address(weth), 0, 0);
        _assertPosition(alice, address(usdc), 0, 0);
        vm.assertEq(vault.marketOf(address(usdc)).debtShares, 0);
        vm.assertEq(vault.marketOf(address(weth)).reserves, 1);
        vm.assertGt(lenders - 9_999e6, vault.supplyAssetsOf(address(usdc)));
    }

    /// @dev A payment for collateral worth less than a share of the debt was refused as too small.
    function test_CollateralWorthLessThanAShareCannotBeTaken_ItCan() external {
        _deposit(alice, weth, 1e12);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        _warpWithPrices(1 days);
        wbtcFeed.updateAnswer(10_500e8);
        wethFeed.updateAnswer(1);
        (uint256 repaid, uint256 seized) = _liquidate(alice, address(usdc), address(weth), type(uint256).max);
        vm.assertEq(repaid, 2, "one share, rounded up");
        vm.assertEq(seized, 1e12);
        // What is left is worth something: the loss is not known yet.
        vm.assertGt(_debt(alice, address(usdc)), 20_000e6);
    }

    /// @dev A wei of a token whose feed had stopped, which needs no price to be deposited, stopped every valuation.
    function test_CrumbWithABrokenFeedStopsLiquidation_ItDoesNot() external {
        _indebt();
        wethFeed.updateAnswer(0);
        _deposit(alice, weth, 1);
        wbtcFeed.updateAnswer(22_000e8);
        vm.assertTrue(vault.isLiquidatable(alice));
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), 10_000e6);
        vm.assertEq(repaid, 10_000e6);
        // Nor does it keep the loss.
        wbtcFeed.updateAnswer(5_000e8);
        _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        _assertPosition(alice, address(usdc), 0, 0);
        _assertPosition(alice, address(weth), 0, 0);
    }

    /// @dev A debt of a wei in such a token did the same.
    function test_CrumbOfDebtWithABrokenFeedStopsLiquidation_ItDoesNot() external {
        _indebt();
        _borrow(alice, address(weth), 1);
        wethFeed.updateAnswer(0);
        wbtcFeed.updateAnswer(22_000e8);
        (uint256 repaid,) = _liquidate(alice, address(usdc), address(wbtc), 10_000e6);
        vm.assertEq(repaid, 10_000e6);
    }

    /// @dev What has no feed has no bounds either: a wei of it would do what a broken feed did.
    function test_CrumbOfAnAssetWithoutAFeedStopsLiquidation_ItCannotBeListed() external {
        MockERC20 unpriced = new MockERC20("Unpriced", "UNP", 18);
        bytes memory expected = abi.encodeWithSelector(PriceOracle.FeedMissing.selector, address(unpriced));
        vm.expectRevert(expected);
        vault.configureAsset(address(unpriced), _parameters(0, 10_000));
        // Nor does a new oracle forget one.
        _list(address(unpriced), usdcFeed, 10_000, 10_000);
        PriceOracle forgetful = new PriceOracle(address(manager), AggregatorV3Interface(address(0)), 0);
        address[] memory assets = vault.listedAssets();
        for (uint256 i = 0; i + 1 < assets.length; ++i) {
            forgetful.configureFeed(assets[i], usdcFeed, HEARTBEAT_S, 1, 1e30);
        }
        vm.expectRevert(expected);
        vault.setOracle(forgetful);
        forgetful.configureFeed(address(unpriced), usdcFeed, HEARTBEAT_S, 1, 1e30);
        vault.setOracle(forgetful);
    }

    /// @dev The reverse must not come with it: what is worth something is the account's, and is left to liquidators.
    function test_TreasuryTakesCollateralThatSomebodyWouldComeFor_ItDoesNot() external {
        _indebt();
        _deposit(alice, weth, 0.0005e18);
        wbtcFeed.updateAnswer(10_500e8);
        _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        vm.assertEq(_collateral(alice, address(weth)), 0.0005e18);
        vm.assertGt(_debt(alice, address(usdc)), 9_999e6);
        vm.assertEq(vault.marketOf(address(weth)).reserves, 0);
        // A wei less is worth less than a dollar.
        vm.prank(alice);
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        vault.withdraw(address(weth), 1);
        wethFeed.updateAnswer(2000e18 - 1);
        _deposit(alice, usdc, 1);
        _liquidate(alice, address(usdc), address(usdc), type(uint256).max);
        _assertPosition(alice, address(weth), 0, 0);
        _assertPosition(alice, address(usdc), 0, 0);
        vm.assertEq(vault.marketOf(address(weth)).reserves, 0.0005e18);
    }
}
