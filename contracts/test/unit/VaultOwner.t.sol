// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Vault} from "../../src/Vault.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Listing, liquidity and the limits of the owner's power.
contract VaultOwnerTest is VaultFixture {
    function test_ListedAssetsKeepTheirOrder() external view {
        address[] memory assets = vault.listedAssets();
        vm.assertEq(assets.length, 4);
        vm.assertEq(assets[0], NATIVE);
        vm.assertEq(assets[1], address(usdc));
        vm.assertEq(assets[2], address(wbtc));
        vm.assertEq(assets[3], address(weth));
    }

    function test_ReconfigurationKeepsTheListAndEmitsAllFacts() external {
        vm.expectEmit(address(vault));
        emit Vault.AssetConfigured(address(wbtc), 8, address(wethFeed), 18, 60, 7000, 9000, false);
        vault.configureAsset(address(wbtc), wethFeed, 60, 7000, 9000, false);

        vm.assertEq(vault.listedAssets().length, 4);
        Vault.AssetConfig memory config = vault.assetConfig(address(wbtc));
        vm.assertEq(address(config.feed), address(wethFeed));
        vm.assertEq(config.index, 2);
        vm.assertEq(config.feedDecimals, 18);
        vm.assertFalse(config.enabled);
    }

    function test_RevertWhen_ConfigurationIsOutOfRange() external {
        MockERC20 fine = new MockERC20("Fine", "FINE", 24);
        MockAggregator fineFeed = new MockAggregator(address(this), 24, "FINE / USD", 1);

        vm.expectRevert(abi.encodeWithSelector(Vault.CollateralFactorOutOfRange.selector, 10_001));
        vault.configureAsset(address(usdc), usdcFeed, 60, 10_001, 10_000, true);
        vm.expectRevert(abi.encodeWithSelector(Vault.BorrowFactorOutOfRange.selector, 0));
        vault.configureAsset(address(usdc), usdcFeed, 60, 10_000, 0, true);
        vm.expectRevert(abi.encodeWithSelector(Vault.BorrowFactorOutOfRange.selector, 10_001));
        vault.configureAsset(address(usdc), usdcFeed, 60, 10_000, 10_001, true);
        vm.expectRevert(abi.encodeWithSelector(Vault.HeartbeatZero.selector, address(usdc)));
        vault.configureAsset(address(usdc), usdcFeed, 0, 10_000, 10_000, true);
        vm.expectRevert(abi.encodeWithSelector(Vault.UnsupportedDecimals.selector, address(fine), 24));
        vault.configureAsset(address(fine), usdcFeed, 60, 10_000, 10_000, true);
        vm.expectRevert(abi.encodeWithSelector(Vault.UnsupportedDecimals.selector, address(fineFeed), 24));
        vault.configureAsset(address(usdc), fineFeed, 60, 10_000, 10_000, true);
        vm.expectRevert(Vault.InitialMarginZero.selector);
        new Vault(address(this), 0);
    }

    function test_RevertWhen_ListIsFullButEveryListedAssetCounts() external {
        MockERC20 last;
        for (uint256 i = vault.listedAssets().length; i < vault.MAX_ASSETS(); ++i) {
            last = new MockERC20("Token", "TKN", 18);
            _list(address(last), usdcFeed, 10_000, 10_000);
        }
        MockERC20 extra = new MockERC20("Extra", "XTR", 18);
        vm.expectRevert(abi.encodeWithSelector(Vault.TooManyAssets.selector, 32));
        _list(address(extra), usdcFeed, 10_000, 10_000);

        _deposit(alice, last, 3e18);
        (uint256 collateralUsd,) = vault.accountValue(alice);
        vm.assertEq(collateralUsd, 3e18);
    }

    function test_RevertWhen_StrangerActsAsOwner() external {
        bytes memory expected = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, alice);
        vm.deal(alice, 1 ether);
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.configureAsset(address(usdc), usdcFeed, 60, 10_000, 10_000, true);
        vm.expectRevert(expected);
        vault.supply(address(usdc), 1);
        vm.expectRevert(expected);
        vault.supplyNative{value: 1}();
        vm.expectRevert(expected);
        vault.withdrawLiquidity(address(usdc), 1, alice);
    }

    function test_RevertWhen_OwnerReachesForCollateral() external {
        _deposit(alice, usdc, 500e6);
        vault.withdrawLiquidity(address(usdc), 10_000_000e6, bob);
        vm.assertEq(usdc.balanceOf(bob), 10_000_000e6);
        vm.expectRevert(abi.encodeWithSelector(Vault.InsufficientLiquidity.selector, address(usdc), 1, 0));
        vault.withdrawLiquidity(address(usdc), 1, bob);
    }

    function test_OwnershipMovesInTwoSteps() external {
        vault.transferOwnership(bob);
        vm.assertEq(vault.owner(), address(this));
        vm.prank(bob);
        vault.acceptOwnership();
        vm.assertEq(vault.owner(), bob);
    }
}
