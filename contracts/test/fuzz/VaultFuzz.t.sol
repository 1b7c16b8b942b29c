// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IVault} from "../../src/interfaces/IVault.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Margin, lending and liquidation over random amounts, prices, times and decimals.
contract VaultFuzzTest is VaultFixture {
    function testFuzz_DepositThenWithdrawReturnsEverything(uint128 amount, uint8 decimals) external {
        MockERC20 token = new MockERC20("Token", "TKN", uint8(bound(decimals, 0, 18)));
        _list(address(token), usdcFeed, 10_000, 10_000);
        uint256 bounded = bound(amount, 1, 1e14);
        _deposit(alice, token, bounded);
        vm.prank(alice);
        vault.withdraw(address(token), bounded);
        vm.assertEq(token.balanceOf(alice), bounded);
        _assertPosition(alice, address(token), 0, 0);
        vm.assertEq(vault.accountSequence(alice), 2);
    }

    function testFuzz_LoansEndExactlyAtTheInitialMargin(uint256 price, uint256 collateral) external {
        price = bound(price, 1e8, 1_000_000e8);
        collateral = bound(collateral, 1e4, 10e8);
        // forge-lint: disable-next-line(unsafe-typecast) bounded above
        wbtcFeed.updateAnswer(int256(price));
        _deposit(alice, wbtc, collateral);

        // Restated without the contract's library: WBTC has 8 decimals and its feed 8, one unit of USDC is 10^-6 USD,
        // so collateral · price / 10^16 ≥ 1.5 · loan / 10^6.
        uint256 largestLoan = collateral * price / 1.5e10;
        if (largestLoan + 1 > 10_000_000e6) {
            largestLoan = 10_000_000e6 - 1;
        } else {
            vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
            _borrow(alice, address(usdc), largestLoan + 1);
        }
        if (largestLoan == 0) return;
        _borrow(alice, address(usdc), largestLoan);
        _assertPosition(alice, address(usdc), 0, largestLoan);
    }

    /// @dev Whoever supplies gets back no more than it put in while nobody pays interest, whatever came before.
    function testFuzz_SupplyAndRedeemNeverPays(uint128 first, uint128 second, uint32 elapsedS) external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        vm.warp(block.timestamp + bound(elapsedS, 0, 10 * 365 days));
        uint256 amount = bound(first, 1, 1e13);
        _supplyAs(liquidator, usdc, bound(second, 1, 1e13));
        uint256 shares = _supplyAs(bob, usdc, amount);
        vm.assume(vault.supplyAssetsOf(address(usdc)) > 0);
        if (_supplied(bob, address(usdc)) == 0) return;
        vm.prank(bob);
        vm.assertGe(amount, vault.redeem(address(usdc), shares));
    }

    /// @dev At any liquidatable price: never more than allowed, and the liquidator's gain is at most the bonus.
    function testFuzz_LiquidatorGainsTheBonusAtMost(uint256 price, uint256 amount) external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        price = bound(price, 1e8, 23_000e8 - 1);
        amount = bound(amount, 1000e6, 30_000e6);
        // forge-lint: disable-next-line(unsafe-typecast) bounded above
        wbtcFeed.updateAnswer(int256(price));
        usdc.mint(liquidator, amount);
        vm.startPrank(liquidator);
        usdc.approve(address(vault), amount);
        try vault.liquidate(alice, address(usdc), address(wbtc), amount, 0) returns (
            uint256 repaid, uint256 seized
        ) {
            vm.assertGe(20_000e6, repaid);
            // One base unit of each side is the rounding's.
            vm.assertGe((repaid + 1) * 10_500 * 1e10, seized * price * 10_000);
            if (_collateral(alice, address(wbtc)) == 0) vm.assertEq(_debt(alice, address(usdc)), 0);
        } catch (bytes memory reason) {
            // forge-lint: disable-next-line(unsafe-typecast) the selector is what is wanted
            vm.assertTrue(bytes4(reason) == IVault.DustLeft.selector);
        }
    }
}
