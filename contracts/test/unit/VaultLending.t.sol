// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IVault} from "../../src/interfaces/IVault.sol";
import {LendingMarket} from "../../src/libraries/LendingMarket.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Supply shares, interest by index, the treasury's part.
contract VaultLendingTest is VaultFixture {
    uint256 private constant YEAR_S = 365 days;

    function test_SupplyAndRedeemReturnTheSame() external {
        uint256 shares = _supplyAs(alice, usdc, 1000e6);
        vm.assertEq(shares, 1000e12);
        vm.assertEq(_supplied(alice, address(usdc)), 1000e6);
        vm.prank(alice);
        vm.assertEq(vault.redeem(address(usdc), shares), 1000e6);
        vm.assertEq(usdc.balanceOf(alice), 1000e6);
        vm.assertEq(vault.accountSequence(alice), 2);
    }

    function test_MarketReportsAllItsBooks() external {
        _deposit(alice, wbtc, 100e8);
        uint64 sequence = vault.marketOf(address(usdc)).sequence;
        // 20 % lent: 2 % + 4 % · 20/80 a year.
        uint256 rate = uint256(0.03e27) / YEAR_S;
        vm.expectEmit(address(vault));
        emit IVault.MarketChanged(
            address(usdc), sequence + 1, 8_000_000e6, 10_000_000e12, 2_000_000e6, RAY, 0, 0, rate, 1000
        );
        _borrow(alice, address(usdc), 2_000_000e6);
    }

    function test_InterestGrowsDebtAndSupply() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        vm.warp(block.timestamp + YEAR_S);
        // e^0.03 by its first terms: 2,000,000 · 1.0304545.
        vm.assertEq(_debt(alice, address(usdc)), 2_060_909_000_000);
        // Nine tenths of the interest are the lenders'.
        vm.assertEq(_supplied(address(this), address(usdc)), 10_054_818_099_999);
        vm.assertEq(vault.supplyAssetsOf(address(usdc)), 10_054_818_100_000);
    }

    function test_AmountsDoNotDependOnWhoAccrues() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        vm.warp(block.timestamp + YEAR_S);
        uint256 index = vault.borrowIndexOf(address(usdc));
        uint256 supplied = _supplied(address(this), address(usdc));
        _supplyAs(bob, usdc, 1e6);
        vm.assertEq(vault.borrowIndexOf(address(usdc)), index);
        vm.assertEq(vault.marketOf(address(usdc)).borrowIndex, index);
        vm.assertGe(_supplied(address(this), address(usdc)) + 1, supplied);
    }

    function test_ReservesBecomeTheTreasurysAsInterestIsPaid() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _warpWithPrices(YEAR_S);
        usdc.mint(alice, 60_909e6);
        _repay(alice, usdc, 1_030_454.5e6);
        LendingMarket.Market memory market = vault.marketOf(address(usdc));
        // Half of the debt, half of the treasury's tenth of 60,909; a base unit is lost in rounding.
        vm.assertEq(market.reserves, 3_045_449_999);
        vm.assertEq(market.pendingReserves, 3_045_450_000);
        _repay(alice, usdc, type(uint256).max);
        market = vault.marketOf(address(usdc));
        vm.assertEq(market.reserves, 6_090_899_999);
        vm.assertEq(market.pendingReserves, 0);

        vault.withdrawReserves(address(usdc), 6_090_899_999, bob);
        vm.assertEq(usdc.balanceOf(bob), 6_090_899_999);
        vm.expectRevert(abi.encodeWithSelector(IVault.InsufficientReserves.selector, address(usdc), 1, 0));
        vault.withdrawReserves(address(usdc), 1, bob);
        // Everything that is left is the lender's.
        vault.redeem(address(usdc), type(uint256).max);
        vm.assertGe(1, usdc.balanceOf(address(vault)));
    }

    function test_RevertWhen_RedeemingWhatIsLent() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IVault.InsufficientLiquidity.selector, address(usdc), 10_000_000e6, 8_000_000e6
            )
        );
        vault.redeem(address(usdc), type(uint256).max);
        vault.redeem(address(usdc), 8_000_000e12);
        vm.assertEq(usdc.balanceOf(address(this)), 8_000_000e6);
    }

    function test_RevertWhen_RedeemingSharesOfOthers() external {
        _supplyAs(alice, usdc, 10e6);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.InsufficientSupply.selector, address(usdc), 10e12 + 1, 10e12)
        );
        vm.prank(alice);
        vault.redeem(address(usdc), 10e12 + 1);
    }

    function test_SupplyIsNoCollateral() external {
        _supplyAs(alice, usdc, 100_000e6);
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        _borrow(alice, address(usdc), 1);
    }

    function test_FirstLenderCannotMoveThePriceOfAShare() external {
        MockERC20 token = new MockERC20("New", "NEW", 18);
        _list(address(token), usdcFeed, 10_000, 10_000);
        _supplyAs(alice, token, 1);
        // A donation is nobody's: it does not enter the books.
        token.mint(address(vault), 1000e18);
        uint256 shares = _supplyAs(bob, token, 10e18);
        vm.assertEq(_supplied(bob, address(token)), 10e18);
        vm.prank(bob);
        vm.assertEq(vault.redeem(address(token), shares), 10e18);
        vm.prank(alice);
        vm.assertEq(vault.redeem(address(token), type(uint256).max), 1);
    }

    function test_TimeWithoutLoansEarnsNothing() external {
        vm.warp(block.timestamp + YEAR_S);
        vm.assertEq(_supplied(address(this), address(usdc)), 10_000_000e6);
        _supplyAs(alice, usdc, 1e6);
        vm.assertEq(vault.marketOf(address(usdc)).pendingReserves, 0);
    }
}
