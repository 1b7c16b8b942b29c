// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IVault} from "../../src/interfaces/IVault.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Deposits, withdrawals, loans and repayments, caps, and the events that report positions.
contract VaultPositionsTest is VaultFixture {
    function test_DepositBooksCollateralAndEmitsTheWholePosition() external {
        usdc.mint(alice, 700e6);
        vm.startPrank(alice);
        usdc.approve(address(vault), 700e6);
        vm.expectEmit(address(vault));
        emit IVault.PositionChanged(
            alice, address(usdc), 1, IVault.PositionChange.Deposit, 700e6, 700e6, 0, 0, 0, 0, RAY
        );
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
        emit IVault.PositionChanged(
            alice, NATIVE, 2, IVault.PositionChange.Borrow, 2 ether, 10 ether, 2 ether, 2 ether, 0, 0, RAY
        );
        vault.borrow(NATIVE, 2 ether);
        vm.expectEmit(address(vault));
        emit IVault.PositionChanged(
            alice, NATIVE, 3, IVault.PositionChange.Repay, 1 ether, 10 ether, 1 ether, 1 ether, 0, 0, RAY
        );
        vault.repay{value: 1 ether}(NATIVE, 1 ether);
        vm.expectEmit(address(vault));
        emit IVault.PositionChanged(
            alice, NATIVE, 4, IVault.PositionChange.Withdraw, 3 ether, 7 ether, 1 ether, 1 ether, 0, 0, RAY
        );
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
        vm.assertEq(vault.accountSequence(liquidator), 0);
    }

    function test_RepaymentReturnsToTheLenders() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        vm.assertEq(vault.marketOf(address(usdc)).cash, 9_980_000e6);
        _repay(alice, usdc, 20_000e6);
        vm.assertEq(vault.marketOf(address(usdc)).cash, 10_000_000e6);
        _assertPosition(alice, address(usdc), 0, 0);
    }

    function test_RepaymentBeyondTheDebtTakesTheDebtOnly() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 100e6);
        usdc.mint(alice, 50e6);
        vm.assertEq(_repay(alice, usdc, type(uint256).max), 100e6);
        vm.assertEq(usdc.balanceOf(alice), 50e6);
        _assertPosition(alice, address(usdc), 0, 0);
    }

    function test_NativeRepaymentReturnsTheSurplus() external {
        _depositNative(alice, 10 ether);
        _borrow(alice, NATIVE, 1 ether);
        vm.deal(alice, 5 ether);
        vm.prank(alice);
        vm.assertEq(vault.repay{value: 5 ether}(NATIVE, 5 ether), 1 ether);
        vm.assertEq(alice.balance, 4 ether);
    }

    function test_RevertWhen_RepayingWithoutDebt() external {
        usdc.mint(alice, 1);
        vm.startPrank(alice);
        usdc.approve(address(vault), 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.NoDebt.selector, alice, address(usdc)));
        vault.repay(address(usdc), 1);
    }

    function test_RevertWhen_WithdrawingMoreThanOwnCollateral() external {
        _deposit(alice, usdc, 100e6);
        _deposit(bob, usdc, 100e6);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.InsufficientCollateral.selector, address(usdc), 100e6 + 1, 100e6)
        );
        vm.prank(alice);
        vault.withdraw(address(usdc), 100e6 + 1);
    }

    function test_RevertWhen_BorrowingCollateralOfOthers() external {
        vault.redeem(address(usdc), type(uint256).max);
        _deposit(bob, usdc, 100e6);
        _deposit(alice, wbtc, 1e8);
        vm.expectRevert(abi.encodeWithSelector(IVault.InsufficientLiquidity.selector, address(usdc), 1, 0));
        _borrow(alice, address(usdc), 1);
    }

    function test_RevertWhen_AmountIsZero() external {
        bytes memory zeroUsdc = abi.encodeWithSelector(IVault.ZeroAmount.selector, address(usdc));
        bytes memory zeroNative = abi.encodeWithSelector(IVault.ZeroAmount.selector, NATIVE);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 1e6);
        vm.startPrank(alice);
        vm.expectRevert(zeroUsdc);
        vault.deposit(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.withdraw(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.borrow(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.repay(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.supply(address(usdc), 0);
        vm.expectRevert(zeroUsdc);
        vault.redeem(address(usdc), 0);
        vm.expectRevert(zeroNative);
        vault.deposit(NATIVE, 0);
    }

    function test_RevertWhen_ValueAndAmountDiffer() external {
        vm.deal(alice, 10);
        vm.startPrank(alice);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongValue.selector, NATIVE, 2, 3));
        vault.deposit{value: 2}(NATIVE, 3);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongValue.selector, NATIVE, 0, 3));
        vault.supply(NATIVE, 3);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongValue.selector, address(usdc), 1, 0));
        vault.deposit{value: 1}(address(usdc), 3);
    }

    function test_RevertWhen_NativeIsSentWithoutACall() external {
        vm.deal(alice, 1 ether);
        vm.prank(alice);
        (bool accepted,) = address(vault).call{value: 1 ether}("");
        vm.assertFalse(accepted);
    }

    function test_RevertWhen_AssetIsNotListed() external {
        address stranger = actor("unlisted token");
        bytes memory expected = abi.encodeWithSelector(IVault.AssetNotListed.selector, stranger);
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.deposit(stranger, 1);
        vm.expectRevert(expected);
        vault.withdraw(stranger, 1);
        vm.expectRevert(expected);
        vault.borrow(stranger, 1);
        vm.expectRevert(expected);
        vault.repay(stranger, 1);
        vm.expectRevert(expected);
        vault.supply(stranger, 1);
        vm.expectRevert(expected);
        vault.redeem(stranger, 1);
        vm.expectRevert(expected);
        vault.liquidate(bob, stranger, NATIVE, 1, 0);
    }

    function test_FrozenAssetAllowsExitsOnly() external {
        _deposit(alice, usdc, 1000e6);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 500e6);
        _supplyAs(alice, usdc, 100e6);
        vault.freezeAsset(address(usdc));

        bytes memory expected = abi.encodeWithSelector(IVault.AssetIsFrozen.selector, address(usdc));
        vm.startPrank(alice);
        vm.expectRevert(expected);
        vault.deposit(address(usdc), 1);
        vm.expectRevert(expected);
        vault.borrow(address(usdc), 1);
        vm.expectRevert(expected);
        vault.supply(address(usdc), 1);
        usdc.approve(address(vault), 500e6);
        vault.repay(address(usdc), 500e6);
        vault.withdraw(address(usdc), 1000e6);
        vault.redeem(address(usdc), type(uint256).max);
        vm.stopPrank();
        _assertPosition(alice, address(usdc), 0, 0);
        vm.assertEq(_supplied(alice, address(usdc)), 0);
    }

    function test_RevertWhen_CapsAreExceeded() external {
        vault.lowerCaps(address(wbtc), 2e8, 101e8, 1e8);
        _deposit(alice, wbtc, 2e8);
        wbtc.mint(bob, 2e8);
        vm.startPrank(bob);
        wbtc.approve(address(vault), 2e8);
        vm.expectRevert(abi.encodeWithSelector(IVault.CapExceeded.selector, address(wbtc), 2e8 + 1, 2e8));
        vault.deposit(address(wbtc), 1);
        vm.expectRevert(abi.encodeWithSelector(IVault.CapExceeded.selector, address(wbtc), 101e8 + 1, 101e8));
        vault.supply(address(wbtc), 1e8 + 1);
        vault.supply(address(wbtc), 1e8);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IVault.CapExceeded.selector, address(wbtc), 1e8 + 1, 1e8));
        _borrow(alice, address(wbtc), 1e8 + 1);
        _borrow(alice, address(wbtc), 1e8);
    }
}
