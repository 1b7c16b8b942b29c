// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Vault} from "../../src/Vault.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Deposits, withdrawals, loans and repayments, and the events that report them.
contract VaultPositionsTest is VaultFixture {
    function test_DepositBooksCollateralAndEmitsTheWholePosition() external {
        usdc.mint(alice, 700e6);
        vm.startPrank(alice);
        usdc.approve(address(vault), 700e6);
        vm.expectEmit(address(vault));
        emit Vault.PositionChanged(alice, address(usdc), 1, Vault.PositionChange.Deposit, 700e6, 700e6, 0);
        vault.deposit(address(usdc), 700e6);
        vm.stopPrank();

        _assertPosition(alice, address(usdc), 700e6, 0);
        vm.assertEq(usdc.balanceOf(address(vault)), 10_000_700e6);
    }

    function test_NativeLifeCycleCountsEveryEventOnce() external {
        _depositNative(alice, 10 ether);
        uint256 balanceBefore = alice.balance;

        vm.startPrank(alice);
        vm.expectEmit(address(vault));
        emit Vault.PositionChanged(alice, NATIVE, 2, Vault.PositionChange.Borrow, 2 ether, 10 ether, 2 ether);
        vault.borrow(NATIVE, 2 ether);
        vm.expectEmit(address(vault));
        emit Vault.PositionChanged(alice, NATIVE, 3, Vault.PositionChange.Repay, 1 ether, 10 ether, 1 ether);
        vault.repayNative{value: 1 ether}();
        vm.expectEmit(address(vault));
        emit Vault.PositionChanged(alice, NATIVE, 4, Vault.PositionChange.Withdraw, 3 ether, 7 ether, 1 ether);
        vault.withdraw(NATIVE, 3 ether);
        vm.stopPrank();

        _assertPosition(alice, NATIVE, 7 ether, 1 ether);
        vm.assertEq(alice.balance, balanceBefore + 4 ether);
        vm.assertEq(vault.accountSequence(alice), 4);
    }

    function test_SequencesOfAccountsAreIndependent() external {
        _deposit(alice, usdc, 1e6);
        _deposit(alice, wbtc, 1e8);
        _deposit(bob, usdc, 1e6);
        vm.assertEq(vault.accountSequence(alice), 2);
        vm.assertEq(vault.accountSequence(bob), 1);
        vm.assertEq(vault.accountSequence(address(this)), 0);
    }

    function test_RepaymentReturnsToLiquidity() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        vm.assertEq(vault.liquidity(address(usdc)), 9_980_000e6);
        _repay(alice, usdc, 20_000e6);
        vm.assertEq(vault.liquidity(address(usdc)), 10_000_000e6);
        _assertPosition(alice, address(usdc), 0, 0);
    }

    function test_RevertWhen_RepaymentExceedsDebt() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 100e6);
        usdc.mint(alice, 1);
        vm.startPrank(alice);
        usdc.approve(address(vault), 100e6 + 1);
        vm.expectRevert(
            abi.encodeWithSelector(Vault.RepaymentExceedsDebt.selector, address(usdc), 100e6 + 1, 100e6)
        );
        vault.repay(address(usdc), 100e6 + 1);
    }

    function test_RevertWhen_WithdrawingMoreThanOwnCollateral() external {
        _deposit(alice, usdc, 100e6);
        _deposit(bob, usdc, 100e6);
        vm.expectRevert(
            abi.encodeWithSelector(Vault.InsufficientCollateral.selector, address(usdc), 100e6 + 1, 100e6)
        );
        vm.prank(alice);
        vault.withdraw(address(usdc), 100e6 + 1);
    }

    function test_RevertWhen_BorrowingCollateralOfOthers() external {
        vault.withdrawLiquidity(address(usdc), 10_000_000e6, address(this));
        _deposit(bob, usdc, 100e6);
        _deposit(alice, wbtc, 1e8);
        vm.expectRevert(abi.encodeWithSelector(Vault.InsufficientLiquidity.selector, address(usdc), 1, 0));
        _borrow(alice, address(usdc), 1);
    }

    function test_RevertWhen_AmountIsZero() external {
        bytes memory zeroUsdc = abi.encodeWithSelector(Vault.ZeroAmount.selector, address(usdc));
        bytes memory zeroNative = abi.encodeWithSelector(Vault.ZeroAmount.selector, NATIVE);
        vm.startPrank(alice);
        vm.expectRevert(zeroUsdc);
        vault.deposit(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.withdraw(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.borrow(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.repay(address(usdc), 0);
        vm.expectRevert(zeroNative);
        vault.depositNative();
        vm.expectRevert(zeroNative);
        vault.repayNative();
    }

    function test_RevertWhen_NativeGoesThroughTheTokenDoor() external {
        vm.startPrank(alice);
        vm.expectRevert(Vault.NativeAssetNeedsValue.selector);
        vault.deposit(NATIVE, 1);
        vm.expectRevert(Vault.NativeAssetNeedsValue.selector);
        vault.repay(NATIVE, 1);
    }

    function test_RevertWhen_NativeIsSentWithoutACall() external {
        vm.deal(alice, 1 ether);
        vm.prank(alice);
        (bool accepted,) = address(vault).call{value: 1 ether}("");
        vm.assertFalse(accepted);
    }

    function test_RevertWhen_AssetIsNotListed() external {
        address stranger = actor("unlisted token");
        bytes memory expected = abi.encodeWithSelector(Vault.AssetNotListed.selector, stranger);
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.deposit(stranger, 1);
        vm.expectRevert(expected);
        vault.withdraw(stranger, 1);
        vm.expectRevert(expected);
        vault.borrow(stranger, 1);
        vm.expectRevert(expected);
        vault.repay(stranger, 1);
    }

    function test_DisabledAssetAllowsExitsOnly() external {
        _deposit(alice, usdc, 1000e6);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 500e6);
        vault.configureAsset(address(usdc), usdcFeed, HEARTBEAT_S, 10_000, 10_000, false);

        bytes memory expected = abi.encodeWithSelector(Vault.AssetNotEnabled.selector, address(usdc));
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.deposit(address(usdc), 1);
        vm.expectRevert(expected);
        vault.borrow(address(usdc), 1);
        usdc.approve(address(vault), 500e6);
        vault.repay(address(usdc), 500e6);
        vault.withdraw(address(usdc), 1000e6);
        vm.stopPrank();
        _assertPosition(alice, address(usdc), 0, 0);
    }
}
