// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {PriceOracle} from "../../src/PriceOracle.sol";
import {Vault} from "../../src/Vault.sol";
import {AggregatorV3Interface} from "../../src/interfaces/AggregatorV3Interface.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {InterestMath} from "../../src/libraries/InterestMath.sol";
import {LendingMarket} from "../../src/libraries/LendingMarket.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {InvariantTest} from "../Test.sol";
import {VaultHandler} from "./VaultHandler.sol";

/// @notice What holds after any sequence of actions, price moves and interest, over assets of 6, 8 and 18 decimals and
/// the native one.
contract VaultInvariantTest is InvariantTest {
    Vault private _vault;
    VaultHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        address manager = vm.deployCode("AccessManager.sol", abi.encode(address(this)));
        PriceOracle oracle = new PriceOracle(manager, AggregatorV3Interface(address(0)), 0);
        _vault = Vault(vm.deployCode("Vault.sol:Vault", abi.encode(manager, oracle, 5000, 1500)));
        address[] memory assets = new address[](4);
        MockAggregator[] memory feeds = new MockAggregator[](4);
        assets[1] = address(new MockERC20("USD Coin", "USDC", 6));
        assets[2] = address(new MockERC20("Wrapped Bitcoin", "WBTC", 8));
        assets[3] = address(new MockERC20("Link", "LINK", 18));
        int256[4] memory answers = [int256(2000e8), 1e8, 50_000e8, 15e8];
        uint8[4] memory decimals = [18, 6, 8, 18];
        for (uint256 i = 0; i < 4; ++i) {
            feeds[i] = new MockAggregator(address(this), 8, "X / USD", answers[i]);
            oracle.configureFeed(assets[i], feeds[i], 1 hours, 1, 1e30);
            _vault.configureAsset(assets[i], _parameters(i, uint128(3e32 / 10 ** (18 - decimals[i]))));
        }
        _handler = new VaultHandler(_vault, assets, feeds);
        for (uint256 i = 0; i < 4; ++i) {
            feeds[i].transferOwnership(address(_handler));
        }

        // Something to borrow and to borrow against, so that few actions are spent on beginnings.
        for (uint256 i = 0; i < 4; ++i) {
            _handler.supply(i, i, type(uint256).max);
            _handler.deposit(i + 1, i, type(uint256).max);
        }

        bytes4[] memory actions = new bytes4[](13);
        actions[0] = VaultHandler.deposit.selector;
        actions[1] = VaultHandler.withdraw.selector;
        actions[2] = VaultHandler.borrow.selector;
        actions[3] = VaultHandler.repay.selector;
        actions[4] = VaultHandler.movePrice.selector;
        actions[5] = VaultHandler.passTime.selector;
        actions[6] = VaultHandler.supply.selector;
        actions[7] = VaultHandler.redeem.selector;
        actions[8] = VaultHandler.liquidate.selector;
        // More often, so that enough loans are taken and fall due in one sequence.
        actions[9] = VaultHandler.borrow.selector;
        actions[10] = VaultHandler.supply.selector;
        actions[11] = VaultHandler.liquidate.selector;
        actions[12] = VaultHandler.crash.selector;
        target(address(_handler), actions);
    }

    /// @dev That the campaign can get to where it hurts: a loan, a fall, a liquidation, a loss.
    function test_TheActionsReachLiquidationAndLoss() external {
        // Bob has all there is of native collateral and borrows dollars.
        for (uint256 i = 0; i < 20; ++i) {
            _handler.borrow(1, 1, uint256(keccak256(abi.encode(i))));
        }
        vm.assertGt(_handler.counts("borrow"), 0);
        // To a quarter at once: the collateral is not worth the debt any more.
        _handler.movePrice(0, 50);
        _handler.movePrice(0, 50);
        _handler.liquidate(1, 1, 0, 0);
        vm.assertGt(_handler.counts("liquidate"), 0);
        vm.assertGt(_handler.counts("write off"), 0);
        this.invariant_TheBooksBalance();
    }

    /// @dev One campaign for all of them: each would play its own.
    /// forge-config: default.invariant.runs = 16
    /// forge-config: campaign.invariant.runs = 1000
    function invariant_TheBooksBalance() external view {
        _balanceIsCollateralCashAndReserves();
        _sharesAddUpAndClaimsAreCovered();
        _eventsAloneGiveThePositions();
        _nobodyOwesWithoutCollateral();
    }

    /// @dev No money is made or lost: what the vault holds is all collateral, the lenders' cash and the reserves.
    function _balanceIsCollateralCashAndReserves() private view {
        for (uint256 a = 0; a < _handler.assetCount(); ++a) {
            address asset = _handler.assets(a);
            uint256 collateralSum;
            for (uint256 i = 0; i < _handler.accountCount(); ++i) {
                collateralSum += _vault.positionShares(_handler.accounts(i), asset).collateral;
            }
            LendingMarket.Market memory market = _vault.marketOf(asset);
            vm.assertEq(_vault.collateralTotalOf(asset), collateralSum);
            vm.assertEq(_balance(asset), collateralSum + market.cash + market.reserves);
        }
    }

    /// @dev The shares of all accounts are the market's, and what lenders can claim together is there or owed.
    function _sharesAddUpAndClaimsAreCovered() private view {
        for (uint256 a = 0; a < _handler.assetCount(); ++a) {
            address asset = _handler.assets(a);
            LendingMarket.Market memory market = _vault.marketOf(asset);
            (uint256 supplyShares, uint256 debtShares, uint256 supplied, uint256 debt) = _sums(asset);
            vm.assertEq(supplyShares, market.supplyShares);
            vm.assertEq(debtShares, market.debtShares);
            vm.assertGe(_vault.supplyAssetsOf(asset), supplied);
            vm.assertGe(market.cash + debt, supplied);
        }
    }

    /// @dev The handler checks each event as it arrives; here the ends must meet.
    function _eventsAloneGiveThePositions() private view {
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            address account = _handler.accounts(i);
            vm.assertEq(_vault.accountSequence(account), _handler.sequences(account));
            for (uint256 a = 0; a < _handler.assetCount(); ++a) {
                address asset = _handler.assets(a);
                IVault.Position memory held = _vault.positionShares(account, asset);
                (uint256 collateral, uint256 debtShares, uint256 supplyShares) =
                    _handler.projections(account, asset);
                vm.assertEq(held.collateral, collateral);
                vm.assertEq(held.debtShares, debtShares);
                vm.assertEq(held.supplyShares, supplyShares);
            }
        }
    }

    /// @dev Debt that nothing covers does not stay in the books.
    function _nobodyOwesWithoutCollateral() private view {
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            address account = _handler.accounts(i);
            (uint256 collateral, uint256 debt) = _vault.accountValue(account);
            if (debt != 0) vm.assertGt(collateral, 0);
        }
    }

    function _sums(address asset)
        private
        view
        returns (uint256 supplyShares, uint256 debtShares, uint256 supplied, uint256 debt)
    {
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            address account = _handler.accounts(i);
            IVault.Position memory held = _vault.positionShares(account, asset);
            (, uint256 owed, uint256 claim) = _vault.position(account, asset);
            supplyShares += held.supplyShares;
            debtShares += held.debtShares;
            supplied += claim;
            debt += owed;
        }
    }

    function _parameters(uint256 i, uint128 cap) private pure returns (IVault.AssetParameters memory) {
        return IVault.AssetParameters({
            collateralFactorBps: 9000,
            borrowFactorBps: 9000,
            liquidationBonusBps: 500,
            reserveFactorBps: 1000,
            // The last asset's interest is steep, so that debts outgrow collateral by time alone too.
            curve: InterestMath.Curve({
                baseBps: 200, slopeBelowBps: i == 3 ? 20_000 : 400, slopeAboveBps: 7500, kinkBps: 8000
            }),
            collateralCap: cap,
            supplyCap: cap,
            borrowCap: cap
        });
    }

    function _balance(address asset) private view returns (uint256) {
        return asset == address(0) ? address(_vault).balance : IERC20(asset).balanceOf(address(_vault));
    }
}
