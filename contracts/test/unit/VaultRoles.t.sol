// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IAccessManager} from "@openzeppelin/contracts/access/manager/IAccessManager.sol";

import {Vault} from "../../src/Vault.sol";
import {IPriceOracle} from "../../src/interfaces/IPriceOracle.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {VaultRoles} from "../../src/libraries/VaultRoles.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Listing, its limits, and who may do what after which delay.
contract VaultRolesTest is VaultFixture {
    address private _guardian;
    address private _riskOfficer;
    address private _treasurer;

    function setUp() public override {
        super.setUp();
        _guardian = actor("guardian");
        _riskOfficer = actor("risk officer");
        _treasurer = actor("treasurer");
        manager.setTargetFunctionRole(address(vault), VaultRoles.guardianFunctions(), VaultRoles.GUARDIAN);
        manager.setTargetFunctionRole(address(vault), VaultRoles.riskFunctions(), VaultRoles.RISK_OFFICER);
        manager.setTargetFunctionRole(address(vault), VaultRoles.treasuryFunctions(), VaultRoles.TREASURER);
        manager.setTargetFunctionRole(address(oracle), VaultRoles.oracleFunctions(), VaultRoles.RISK_OFFICER);
        manager.grantRole(VaultRoles.GUARDIAN, _guardian, 0);
        manager.grantRole(VaultRoles.RISK_OFFICER, _riskOfficer, 1 days);
        manager.grantRole(VaultRoles.TREASURER, _treasurer, 1 days);
        // This test's own calls have no delay.
        manager.grantRole(VaultRoles.GUARDIAN, address(this), 0);
        manager.grantRole(VaultRoles.RISK_OFFICER, address(this), 0);
    }

    function test_GuardianStopsAtOnceAndCannotStartAgain() external {
        vm.startPrank(_guardian);
        vault.pause();
        vault.freezeAsset(address(usdc));
        vault.lowerCaps(address(wbtc), 0, 0, 0);
        bytes memory expected =
            abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, _guardian);
        vm.expectRevert(expected);
        vault.unpause();
        vm.expectRevert(expected);
        vault.unfreezeAsset(address(usdc));
        vm.expectRevert(abi.encodeWithSelector(IVault.CapRaised.selector, address(wbtc)));
        vault.lowerCaps(address(wbtc), 1, 0, 0);
    }

    function test_RiskOfficerChangesTermsOnlyAfterTheDelay() external {
        IVault.AssetParameters memory harsher = _parameters(7000, 9000);
        bytes memory call_ = abi.encodeCall(Vault.configureAsset, (address(usdc), harsher));
        vm.startPrank(_riskOfficer);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotScheduled.selector);
        vault.configureAsset(address(usdc), harsher);
        manager.schedule(address(vault), call_, 0);
        vm.warp(block.timestamp + 1 days - 1);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotReady.selector);
        vault.configureAsset(address(usdc), harsher);
        vm.warp(block.timestamp + 1);
        vault.configureAsset(address(usdc), harsher);
        vm.assertEq(vault.assetConfig(address(usdc)).collateralFactorBps, 7000);
    }

    function test_NewPricesNeedTheDelayToo() external {
        vm.startPrank(_riskOfficer);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotScheduled.selector);
        oracle.configureFeed(address(usdc), wbtcFeed, 60, 1, 1e30);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotScheduled.selector);
        vault.setOracle(oracle);
    }

    function test_TreasurerReachesReservesOnlyAndOnlyAfterTheDelay() external {
        vm.startPrank(_treasurer);
        vm.expectPartialRevert(IAccessManager.AccessManagerNotScheduled.selector);
        vault.withdrawReserves(address(usdc), 0, bob);
        vm.expectRevert(abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, _treasurer));
        vault.pause();
    }

    function test_RevertWhen_StrangerActs() external {
        bytes memory expected =
            abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, alice);
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.configureAsset(address(usdc), _parameters(1, 1));
        vm.expectRevert(expected);
        vault.lowerCaps(address(usdc), 0, 0, 0);
        vm.expectRevert(expected);
        vault.freezeAsset(address(usdc));
        vm.expectRevert(expected);
        vault.unfreezeAsset(address(usdc));
        vm.expectRevert(expected);
        vault.pause();
        vm.expectRevert(expected);
        vault.unpause();
        vm.expectRevert(expected);
        vault.setOracle(oracle);
        vm.expectRevert(expected);
        vault.withdrawReserves(address(usdc), 0, alice);
        vm.expectRevert(expected);
        oracle.configureFeed(address(usdc), usdcFeed, 60, 1, 1e30);
    }

    function test_PauseStopsWhatAddsAndNothingElse() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 100e6);
        _supplyAs(alice, usdc, 10e6);
        vault.pause();
        bytes memory expected = abi.encodeWithSelector(IVault.VaultPaused.selector);
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.deposit(address(wbtc), 1);
        vm.expectRevert(expected);
        vault.borrow(address(usdc), 1);
        vm.expectRevert(expected);
        vault.supply(address(usdc), 1);
        vault.redeem(address(usdc), type(uint256).max);
        usdc.approve(address(vault), 100e6);
        vault.repay(address(usdc), 100e6);
        vault.withdraw(address(wbtc), 1e8);
        vm.stopPrank();
        vault.unpause();
        _deposit(alice, wbtc, 1);
    }

    function test_ListedAssetsKeepTheirOrder() external view {
        address[] memory assets = vault.listedAssets();
        vm.assertEq(assets.length, 4);
        vm.assertEq(assets[0], NATIVE);
        vm.assertEq(assets[1], address(usdc));
        vm.assertEq(assets[2], address(wbtc));
        vm.assertEq(assets[3], address(weth));
    }

    function test_ReconfigurationReportsAllFacts() external {
        IVault.AssetParameters memory changed = _parameters(7000, 9000);
        vm.expectEmit(address(vault));
        emit IVault.AssetConfigured(address(wbtc), 8, 7000, 9000, 500, 1000);
        vm.expectEmit(address(vault));
        emit IVault.CurveChanged(address(wbtc), 200, 400, 7500, 8000);
        vm.expectEmit(address(vault));
        emit IVault.CapsChanged(address(wbtc), 1e20, 1e20, 1e20);
        vault.configureAsset(address(wbtc), changed);
        vm.assertEq(vault.listedAssets().length, 4);
        vm.assertEq(vault.assetConfig(address(wbtc)).index, 2);
    }

    function test_RevertWhen_ParametersAreOutOfRange() external {
        IVault.AssetParameters memory wrong = _parameters(10_001, 10_000);
        _expectOutOfRange("collateralFactorBps", 10_001, wrong);
        wrong = _parameters(10_000, 0);
        _expectOutOfRange("borrowFactorBps", 0, wrong);
        wrong = _parameters(10_000, 10_001);
        _expectOutOfRange("borrowFactorBps", 10_001, wrong);
        wrong = _parameters(10_000, 10_000);
        wrong.liquidationBonusBps = 1501;
        _expectOutOfRange("liquidationBonusBps", 1501, wrong);
        wrong = _parameters(10_000, 10_000);
        wrong.reserveFactorBps = 5001;
        _expectOutOfRange("reserveFactorBps", 5001, wrong);
        wrong = _parameters(10_000, 10_000);
        wrong.curve.kinkBps = 10_000;
        _expectOutOfRange("kinkBps", 10_000, wrong);
        wrong = _parameters(10_000, 10_000);
        wrong.borrowCap = type(uint128).max;
        _expectOutOfRange("borrowCap", type(uint128).max, wrong);
    }

    function test_RevertWhen_MarginsAreNotInOrder() external {
        vm.expectRevert(_outOfRange("initialMarginBps", 1500));
        _deployVault(oracle, 1500, 1500);
        vm.expectRevert(_outOfRange("liquidationMarginBps", 0));
        _deployVault(oracle, 1500, 0);
        vm.expectRevert(abi.encodeWithSelector(IVault.ZeroAddress.selector));
        _deployVault(IPriceOracle(address(0)), 5000, 1500);
    }

    function test_RevertWhen_TokenHasTooManyDecimals() external {
        MockERC20 fine = new MockERC20("Fine", "FINE", 24);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.UnsupportedDecimals.selector, address(fine), uint256(24))
        );
        vault.configureAsset(address(fine), _parameters(1, 1));
    }

    function test_RevertWhen_ListIsFullButEveryListedAssetCounts() external {
        MockERC20 last;
        for (uint256 i = vault.listedAssets().length; i < vault.MAX_ASSETS(); ++i) {
            last = new MockERC20("Token", "TKN", 18);
            _list(address(last), usdcFeed, 10_000, 10_000);
        }
        MockERC20 extra = new MockERC20("Extra", "XTR", 18);
        vm.expectRevert(abi.encodeWithSelector(IVault.TooManyAssets.selector, uint256(32)));
        vault.configureAsset(address(extra), _parameters(1, 1));

        _deposit(alice, last, 3e18);
        (uint256 collateralUsd,) = vault.accountValue(alice);
        vm.assertEq(collateralUsd, 3 * USD);
    }

    function _expectOutOfRange(bytes32 parameter, uint256 value, IVault.AssetParameters memory wrong)
        private
    {
        vm.expectRevert(_outOfRange(parameter, value));
        vault.configureAsset(address(usdc), wrong);
    }

    function _outOfRange(bytes32 parameter, uint256 value) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IVault.ParameterOutOfRange.selector, parameter, value);
    }
}
