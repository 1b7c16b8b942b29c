// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {Vault} from "../../src/Vault.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {InvariantTest} from "../Test.sol";
import {VaultHandler} from "./VaultHandler.sol";

/// @notice What holds after any sequence of actions.
contract VaultInvariantTest is InvariantTest {
    Vault private _vault;
    VaultHandler private _handler;

    function setUp() external {
        vm.warp(1_800_000_000);
        _vault = new Vault(address(this), 5000);
        address[] memory assets = new address[](3);
        MockAggregator[] memory feeds = new MockAggregator[](3);
        assets[1] = address(new MockERC20("USD Coin", "USDC", 6));
        assets[2] = address(new MockERC20("Wrapped Bitcoin", "WBTC", 8));
        for (uint256 i = 0; i < 3; ++i) {
            feeds[i] = new MockAggregator(address(this), 8, "X / USD", 100e8);
            _vault.configureAsset(assets[i], feeds[i], 1 hours, 9000, 9000, true);
            _supply(assets[i], 1e22);
        }
        _handler = new VaultHandler(_vault, assets, feeds);
        for (uint256 i = 0; i < 3; ++i) {
            feeds[i].transferOwnership(address(_handler));
        }

        bytes4[] memory actions = new bytes4[](5);
        actions[0] = VaultHandler.deposit.selector;
        actions[1] = VaultHandler.withdraw.selector;
        actions[2] = VaultHandler.borrow.selector;
        actions[3] = VaultHandler.repay.selector;
        actions[4] = VaultHandler.movePrice.selector;
        target(address(_handler), actions);
    }

    /// @dev No money is made or lost: what the vault owns is all collateral plus the liquidity not lent.
    function invariant_BalanceIsCollateralPlusLiquidity() external view {
        for (uint256 a = 0; a < _handler.assetCount(); ++a) {
            address asset = _handler.assets(a);
            uint256 collateralSum;
            for (uint256 i = 0; i < _handler.accountCount(); ++i) {
                (uint256 collateral,) = _vault.position(_handler.accounts(i), asset);
                collateralSum += collateral;
            }
            vm.assertEq(_balance(asset), collateralSum + _vault.liquidity(asset));
        }
    }

    function invariant_LiquidityIsSupplyMinusLoans() external view {
        for (uint256 a = 0; a < _handler.assetCount(); ++a) {
            address asset = _handler.assets(a);
            uint256 debtSum;
            for (uint256 i = 0; i < _handler.accountCount(); ++i) {
                (, uint256 debt) = _vault.position(_handler.accounts(i), asset);
                debtSum += debt;
            }
            vm.assertEq(_vault.liquidity(asset) + debtSum, 1e22);
        }
    }

    /// @dev The handler checks each event's sequence and amounts as it arrives; here the ends must meet.
    function invariant_EventsAloneGiveThePositions() external view {
        for (uint256 i = 0; i < _handler.accountCount(); ++i) {
            address account = _handler.accounts(i);
            vm.assertEq(_vault.accountSequence(account), _handler.sequences(account));
            for (uint256 a = 0; a < _handler.assetCount(); ++a) {
                address asset = _handler.assets(a);
                (uint256 collateral, uint256 debt) = _vault.position(account, asset);
                (uint256 projectedCollateral, uint256 projectedDebt) = _handler.projections(account, asset);
                vm.assertEq(collateral, projectedCollateral);
                vm.assertEq(debt, projectedDebt);
            }
        }
    }

    function _supply(address asset, uint256 amount) private {
        if (asset == address(0)) {
            vm.deal(address(this), amount);
            _vault.supplyNative{value: amount}();
        } else {
            MockERC20(asset).mint(address(this), amount);
            MockERC20(asset).approve(address(_vault), amount);
            _vault.supply(asset, amount);
        }
    }

    function _balance(address asset) private view returns (uint256) {
        return asset == address(0) ? address(_vault).balance : IERC20(asset).balanceOf(address(_vault));
    }
}
