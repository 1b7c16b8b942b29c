// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {VaultFixture} from "../VaultFixture.sol";

/// @notice What the common calls cost as transactions of their own, against limits; the figures are kept in snapshots/.
/// @dev Isolated: each call pays its base cost and finds every slot cold, as on a chain.
/// forge-config: default.isolate = true
contract VaultGasTest is VaultFixture {
    function test_DepositCostsLessThan150k() external {
        usdc.mint(alice, 1000e6);
        vm.startPrank(alice);
        usdc.approve(address(vault), 1000e6);
        vault.deposit(address(usdc), 1000e6);
        vm.assertGt(150_000, vm.snapshotGasLastCall("Vault", "deposit, first of the account"));
    }

    function test_BorrowCostsLessThan200k() external {
        _deposit(alice, wbtc, 1e8);
        vm.warp(block.timestamp + 10);
        vm.startPrank(alice);
        vault.borrow(address(usdc), 1000e6);
        vm.assertGt(200_000, vm.snapshotGasLastCall("Vault", "borrow, first of the account"));
        vm.warp(block.timestamp + 10);
        vault.borrow(address(usdc), 1000e6);
        vm.assertGt(200_000, vm.snapshotGasLastCall("Vault", "borrow, with interest"));
    }

    function test_RepayCostsLessThan100k() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 1000e6);
        vm.warp(block.timestamp + 10);
        vm.startPrank(alice);
        usdc.approve(address(vault), 500e6);
        vault.repay(address(usdc), 500e6);
        vm.assertGt(100_000, vm.snapshotGasLastCall("Vault", "repay, a part"));
        usdc.mint(alice, 10e6);
        usdc.approve(address(vault), 510e6);
        vm.warp(block.timestamp + 10);
        vault.repay(address(usdc), type(uint256).max);
        vm.assertGt(100_000, vm.snapshotGasLastCall("Vault", "repay, all"));
    }

    function test_LiquidationCostsLessThan250k() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        vm.warp(block.timestamp + 10);
        wbtcFeed.updateAnswer(22_000e8);
        usdc.mint(liquidator, 10_000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 10_000e6);
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0);
        vm.assertGt(250_000, vm.snapshotGasLastCall("Vault", "liquidate, half of a debt"));
    }

    /// @dev Each further asset of the account costs its price and its position.
    function test_FurtherCollateralCostsLessThan35kEach() external {
        _deposit(alice, wbtc, 1e8);
        _deposit(alice, weth, 0.1e18);
        _depositNative(alice, 0.1 ether);
        _borrow(alice, address(usdc), 20_000e6);
        vm.warp(block.timestamp + 10);
        wbtcFeed.updateAnswer(22_000e8);
        usdc.mint(liquidator, 10_000e6);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), 10_000e6);
        vault.liquidate(alice, address(usdc), address(wbtc), 10_000e6, 0);
        vm.assertGt(
            250_000 + 2 * 35_000, vm.snapshotGasLastCall("Vault", "liquidate, three kinds of collateral")
        );
    }

    function test_LenderCosts() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 1000e6);
        vm.warp(block.timestamp + 10);
        usdc.mint(bob, 1000e6);
        vm.startPrank(bob);
        usdc.approve(address(vault), 1000e6);
        uint256 shares = vault.supply(address(usdc), 1000e6);
        vm.assertGt(200_000, vm.snapshotGasLastCall("Vault", "supply, first of the account"));
        vault.redeem(address(usdc), shares / 2);
        vm.assertGt(150_000, vm.snapshotGasLastCall("Vault", "redeem, a part"));
    }
}
