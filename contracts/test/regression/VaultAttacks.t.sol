// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IAccessManaged} from "@openzeppelin/contracts/access/manager/IAccessManaged.sol";
import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {PriceOracle} from "../../src/PriceOracle.sol";
import {Vault} from "../../src/Vault.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {LendingMarket} from "../../src/libraries/LendingMarket.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Every attack and loss that was executed against the vaults of the platform that this one replaces: each must
/// fail here.
contract VaultAttacksTest is VaultFixture {
    /// @dev There, a message from any chain credited any collateral.
    function test_CollateralIsForgedByAMessage_NothingCreditsWhatDidNotArrive() external {
        vm.startPrank(alice);
        bytes[4] memory forged = [
            abi.encodeWithSignature("_execute(string,string,bytes)", "ethereum", "0x1", ""),
            abi.encodeWithSignature("execute(bytes32,string,string,bytes)", bytes32(0), "a", "b", ""),
            abi.encodeWithSignature("ccipReceive((bytes32,uint64,bytes,bytes,(address,uint256)[]))"),
            abi.encodeWithSignature("executeMessage(bytes32,address,uint256)", bytes32(0), alice, 1e27)
        ];
        for (uint256 i = 0; i < forged.length; ++i) {
            (bool accepted,) = address(vault).call(forged[i]);
            vm.assertFalse(accepted);
        }
        // Nor does a transfer without a call, or an approval without a balance.
        usdc.mint(address(vault), 1_000_000e6);
        usdc.approve(address(vault), 1e27);
        vm.expectPartialRevert(IERC20Errors.ERC20InsufficientBalance.selector);
        vault.deposit(address(usdc), 1e12);
        vm.stopPrank();
        _assertPosition(alice, address(usdc), 0, 0);
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        _borrow(alice, address(usdc), 1);
    }

    /// @dev There, the USD value of a debt was kept from the day it was borrowed.
    function test_DebtIsNotMarkedToMarket_HealthFollowsTheDebtsPrice() external {
        _deposit(alice, usdc, 40_000e6);
        _borrow(alice, address(wbtc), 0.5e8);
        uint256 before = vault.healthFactor(alice);
        wbtcFeed.updateAnswer(100_000e8);
        uint256 afterwards = vault.healthFactor(alice);
        vm.assertGe(1, before / 2 > afterwards ? before / 2 - afterwards : afterwards - before / 2);
        vm.assertTrue(vault.isLiquidatable(alice));
        // Half paid back at the higher price clears half of the tokens, not all of a USD figure.
        vm.startPrank(alice);
        wbtc.approve(address(vault), 0.25e8);
        vault.repay(address(wbtc), 0.25e8);
        vm.assertEq(_debt(alice, address(wbtc)), 0.25e8);
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        vault.withdraw(address(usdc), 40_000e6);
    }

    /// @dev There, liquidating a debt that had appreciated underflowed.
    function test_AppreciatedDebtCannotBeLiquidated_ItCan() external {
        _deposit(alice, usdc, 40_000e6);
        _borrow(alice, address(wbtc), 0.5e8);
        wbtcFeed.updateAnswer(72_000e8);
        (uint256 repaid, uint256 seized) = _liquidate(alice, address(wbtc), address(usdc), type(uint256).max);
        vm.assertEq(repaid, 0.25e8);
        vm.assertEq(seized, 18_900e6);
        vm.assertEq(_debt(alice, address(wbtc)), 0.25e8);
    }

    /// @dev There, positions in the native asset, on either side, could never be liquidated.
    function test_NativePositionsCannotBeLiquidated_TheyCan() external {
        _depositNative(alice, 20 ether);
        _borrow(alice, address(usdc), 20_000e6);
        _deposit(bob, usdc, 31_000e6);
        _borrow(bob, NATIVE, 10 ether);
        nativeFeed.updateAnswer(1400e8);
        _liquidate(alice, address(usdc), NATIVE, type(uint256).max);
        nativeFeed.updateAnswer(2750e8);
        _liquidate(bob, NATIVE, address(usdc), type(uint256).max);
    }

    /// @dev There, an adapter lent to anyone in the name of anyone.
    function test_StrangerLoadsDebtOnAnAccount_OnlyItselfBorrows() external {
        _deposit(alice, wbtc, 1e8);
        bytes[2] memory calls = [
            abi.encodeWithSignature("borrow(address,uint256,address)", usdc, 1e6, alice),
            abi.encodeWithSignature("borrowFor(address,address,uint256)", alice, usdc, 1e6)
        ];
        vm.startPrank(bob);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool accepted,) = address(vault).call(calls[i]);
            vm.assertFalse(accepted);
        }
        vm.expectPartialRevert(IVault.InitialMarginNotMet.selector);
        vault.borrow(address(usdc), 1e6);
        vm.assertEq(_debt(alice, address(usdc)), 0);
    }

    /// @dev There, a year of interest was nobody's.
    function test_SupplierBalancesNeverGrow_InterestIsTheirs() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _warpWithPrices(365 days);
        uint256 interest = _debt(alice, address(usdc)) - 2_000_000e6;
        usdc.mint(alice, interest);
        _repay(alice, usdc, type(uint256).max);
        uint256 received = vault.redeem(address(usdc), type(uint256).max);
        vm.assertEq(received, 10_000_000e6 + interest - interest / 10);
        LendingMarket.Market memory market = vault.marketOf(address(usdc));
        // Everything is somebody's: the rest is the treasury's and a base unit of rounding.
        vm.assertEq(usdc.balanceOf(address(vault)), uint256(market.reserves) + market.cash);
        vm.assertGe(1, market.cash);
    }

    /// @dev There, the owner withdrew reserves that no borrower had paid: depositors' money.
    function test_ReservesAreDepositorsMoney_UnpaidInterestCannotBeWithdrawn() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _warpWithPrices(365 days);
        _supplyAs(bob, usdc, 1e6);
        vm.assertGt(vault.marketOf(address(usdc)).pendingReserves, 6_000e6);
        vm.expectRevert(abi.encodeWithSelector(IVault.InsufficientReserves.selector, address(usdc), 1, 0));
        vault.withdrawReserves(address(usdc), 1, address(this));
    }

    /// @dev There, interest made borrowed exceed deposited, after which every loan panicked.
    function test_InterestBreaksTheBooks_BorrowingGoesOnAndExitsAreLimitedByCash() external {
        vault.redeem(address(usdc), 9_400_000e12);
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 600_000e6);
        _warpWithPrices(365 days);
        vm.assertGt(_debt(alice, address(usdc)), 600_000e6);
        _supplyAs(bob, usdc, 1000e6);
        _borrow(alice, address(usdc), 1000e6);
        vm.expectPartialRevert(IVault.InsufficientLiquidity.selector);
        vault.redeem(address(usdc), type(uint256).max);
    }

    /// @dev There, health read 100 after five years of interest that nobody had booked.
    function test_PendingInterestIsNotInHealth_ItIsWithoutAnyCall() external {
        _deposit(alice, usdc, 15_000e6);
        _borrow(alice, address(usdc), 10_000e6);
        uint256 before = vault.healthFactor(alice);
        vm.assertFalse(vault.isLiquidatable(alice));
        _warpWithPrices(15 * 365 days);
        vm.assertGt(before, vault.healthFactor(alice));
        vm.assertTrue(vault.isLiquidatable(alice));
    }

    /// @dev There, the maximum loan was at the liquidation threshold: a move of 0.0005 % liquidated it.
    function test_LoanToValueEqualsTheThreshold_AFullLoanHasAMargin() external {
        _deposit(alice, wbtc, 0.3e8);
        _borrow(alice, address(usdc), 10_000e6);
        wbtcFeed.updateAnswer(50_000e8 - 50_000e8 / 200_000);
        vm.assertFalse(vault.isLiquidatable(alice));
        wbtcFeed.updateAnswer(38_400e8);
        vm.assertFalse(vault.isLiquidatable(alice));
    }

    /// @dev There, every token was read each time, so that one broken feed froze every withdrawal.
    function test_OneBrokenFeedFreezesEveryone_OnlyItsHolders() external {
        _deposit(alice, usdc, 10_000e6);
        _borrow(alice, NATIVE, 1 ether);
        _deposit(bob, wbtc, 1e8);
        _borrow(bob, NATIVE, 1 ether);
        wbtcFeed.updateAnswer(0);
        vm.prank(alice);
        vault.withdraw(address(usdc), 1000e6);
        _borrow(alice, NATIVE, 1 ether);
        vm.expectPartialRevert(PriceOracle.InvalidPrice.selector);
        _borrow(bob, NATIVE, 1 ether);
        // Even its holder can leave.
        vm.deal(bob, 2 ether);
        vm.startPrank(bob);
        vault.repay{value: 2 ether}(NATIVE, 2 ether);
        vault.withdraw(address(wbtc), 1e8);
    }

    /// @dev There, interest on a small debt was rounded to nothing.
    function test_SmallDebtsBearNoInterest_TheyDoHoweverOftenTheMarketIsTouched() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _deposit(bob, usdc, 10e6);
        _borrow(bob, address(usdc), 1e6);
        for (uint256 day = 0; day < 365; ++day) {
            vm.warp(block.timestamp + 1 days);
            _supplyAs(liquidator, usdc, 1e6);
        }
        // About 3 % of a dollar: every call compounds an index of 27 decimals, not an amount of 6.
        vm.assertGe(_debt(bob, address(usdc)), 1_030_400);
        vm.assertGe(1_030_600, _debt(bob, address(usdc)));
    }

    /// @dev There, a pool emptied or filled for a moment rewrote a rate for the time before.
    function test_RateIsMovedForThePast_AChangeCountsFromItsBlockOn() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        vm.warp(block.timestamp + 30 days);
        uint256 debt = _debt(alice, address(usdc));
        uint256 shares = _supplyAs(bob, usdc, 10_000_000e6);
        vm.assertEq(_debt(alice, address(usdc)), debt);
        vm.prank(bob);
        vault.redeem(address(usdc), shares);
        vm.assertEq(_debt(alice, address(usdc)), debt);
        vault.redeem(address(usdc), 7_900_000e12);
        vm.assertEq(_debt(alice, address(usdc)), debt);
    }

    /// @dev There, borrowing and repaying the native asset reverted, or made debt that could not be repaid.
    function test_NativeCannotBeBorrowedOrRepaid_ItCan() external {
        _deposit(alice, usdc, 10_000e6);
        _borrow(alice, NATIVE, 1 ether);
        vm.assertEq(alice.balance, 1 ether);
        vm.prank(alice);
        vault.repay{value: 1 ether}(NATIVE, 1 ether);
        _assertPosition(alice, NATIVE, 0, 0);
    }

    /// @dev There, one age for all feeds blocked every stablecoin most of the day, and 8 decimals were assumed.
    function test_OneAgeForAllFeeds_EachHasItsOwnHeartbeatAndDecimals() external {
        oracle.configureFeed(address(usdc), usdcFeed, 1 days, 1, 1e30);
        _deposit(alice, usdc, 10_000e6);
        vm.warp(block.timestamp + 20 hours);
        nativeFeed.updateAnswer(2000e8);
        _borrow(alice, NATIVE, 1 ether);
        wethFeed.updateAnswer(2000e18);
        vm.assertEq(oracle.priceUsd(address(weth)), oracle.priceUsd(NATIVE));
    }

    /// @dev There, a pause stopped liquidation while interest ran on, and trapped whoever wanted out.
    function test_PauseStopsLiquidation_ItDoesNotNorExits() external {
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        _deposit(bob, wbtc, 1e8);
        _borrow(bob, address(usdc), 1_000e6);
        vault.pause();
        wbtcFeed.updateAnswer(22_000e8);
        _liquidate(alice, address(usdc), address(wbtc), type(uint256).max);
        _repay(bob, usdc, type(uint256).max);
        vm.prank(bob);
        vault.withdraw(address(wbtc), 1e8);
        vault.redeem(address(usdc), 1e12);
    }

    /// @dev There, anyone could set the oracle and whom the vault trusts.
    function test_AnyoneReplacesTheOracle_OnlyItsRole() external {
        vm.startPrank(bob);
        bytes memory expected = abi.encodeWithSelector(IAccessManaged.AccessManagedUnauthorized.selector, bob);
        vm.expectRevert(expected);
        vault.setOracle(oracle);
        vm.expectRevert(expected);
        oracle.configureFeed(address(usdc), wbtcFeed, 60, 1, 1e30);
        vm.expectRevert(expected);
        vault.setAuthority(bob);
    }

    /// @dev There, surplus value sent with a payment stayed in the vault.
    function test_SurplusValueIsKept_ItComesBackOrIsRefused() external {
        _depositNative(alice, 10 ether);
        _borrow(alice, NATIVE, 1 ether);
        _borrow(alice, address(usdc), 1e6);
        vm.deal(alice, 3 ether);
        vm.startPrank(alice);
        vault.repay{value: 3 ether}(NATIVE, type(uint256).max);
        vm.assertEq(alice.balance, 2 ether);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongValue.selector, NATIVE, 2 ether, 1 ether));
        vault.deposit{value: 2 ether}(NATIVE, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IVault.WrongValue.selector, address(usdc), 1, 0));
        vault.repay{value: 1}(address(usdc), 1);
    }

    /// @dev There, 2,300 gas of `.transfer` locked out contract wallets.
    function test_ContractWalletsCannotBePaid_TheyGetAllGas() external {
        ReentrantParty wallet = new ReentrantParty();
        vm.deal(address(wallet), 2 ether);
        wallet.act(address(vault), abi.encodeCall(Vault.deposit, (NATIVE, 1 ether)), 1 ether);
        // Its receive function makes a call of its own, which costs far more than 2,300 gas.
        wallet.arm(address(usdc), abi.encodeCall(usdc.mint, (address(wallet), 5)));
        wallet.act(address(vault), abi.encodeCall(Vault.withdraw, (NATIVE, 1 ether)), 0);
        vm.assertTrue(wallet.succeeded());
        vm.assertEq(usdc.balanceOf(address(wallet)), 5);
    }

    /// @dev An account that refuses payments must not be able to refuse liquidation.
    function test_DebtorRefusesLiquidation_ItIsNotAsked() external {
        RefusingReceiver debtor = new RefusingReceiver();
        vm.deal(address(debtor), 20 ether);
        debtor.act(address(vault), abi.encodeCall(Vault.deposit, (NATIVE, 20 ether)), 20 ether);
        debtor.act(address(vault), abi.encodeCall(Vault.borrow, (address(usdc), 20_000e6)), 0);
        nativeFeed.updateAnswer(1400e8);
        _liquidate(address(debtor), address(usdc), NATIVE, type(uint256).max);
    }

    /// @dev Fee-free borrow and repay in one block must not pay, nor move the books.
    function test_BorrowAndRepayInOneBlockPays_ItDoesNot() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _warpWithPrices(100 days);
        _deposit(bob, wbtc, 10e8);
        for (uint256 i = 0; i < 5; ++i) {
            _borrow(bob, address(usdc), 100_000e6 + 7);
            MockERC20(usdc).mint(bob, 1);
            _repay(bob, usdc, type(uint256).max);
        }
        // Each round costs the base unit by which debt is rounded up, and never gives one.
        vm.assertGe(5, usdc.balanceOf(bob));
        vm.assertEq(_debt(bob, address(usdc)), 0);
    }

    /// @dev There, borrowing one unit in the other rate mode rewrote the rate of the whole debt.
    function test_OneUnitMoreRewritesTheWholeDebt_ItAddsItsOwnSharesOnly() external {
        _deposit(alice, wbtc, 100e8);
        _borrow(alice, address(usdc), 2_000_000e6);
        _warpWithPrices(100 days);
        uint256 debt = _debt(alice, address(usdc));
        uint256 shares = vault.positionShares(alice, address(usdc)).debtShares;
        _borrow(alice, address(usdc), 1);
        vm.assertEq(vault.positionShares(alice, address(usdc)).debtShares, shares + 1);
        vm.assertEq(_debt(alice, address(usdc)), debt + 1);
    }

    /// @dev There, a batch contract was the vault's user for everyone, so that a stranger withdrew others' deposits.
    function test_StrangerWithdrawsAnothersDeposit_ACallerHasItsOwnAccountOnly() external {
        _deposit(alice, usdc, 1000e6);
        uint256 shares = _supplyAs(alice, usdc, 1000e6);
        vm.startPrank(bob);
        vm.expectRevert(
            abi.encodeWithSelector(IVault.InsufficientCollateral.selector, address(usdc), 1000e6, 0)
        );
        vault.withdraw(address(usdc), 1000e6);
        vm.expectRevert(abi.encodeWithSelector(IVault.InsufficientSupply.selector, address(usdc), shares, 0));
        vault.redeem(address(usdc), shares);
        _assertPosition(alice, address(usdc), 1000e6, 0);
    }

    /// @dev There, the sequencer of a rollup was not asked: users who could not act were liquidated on its first prices.
    function test_SequencerIsNotAsked_NobodyIsLiquidatedBeforeItsGracePeriodIsOver() external {
        MockAggregator uptime = new MockAggregator(address(this), 0, "uptime", 0);
        PriceOracle guarded = new PriceOracle(vault.authority(), uptime, 3600);
        guarded.configureFeed(address(usdc), usdcFeed, 30 days, 1, 1e30);
        guarded.configureFeed(address(wbtc), wbtcFeed, 30 days, 1, 1e30);
        guarded.configureFeed(address(weth), wethFeed, 30 days, 1, 1e30);
        guarded.configureFeed(NATIVE, nativeFeed, 30 days, 1, 1e30);
        _deposit(alice, wbtc, 0.3e8);
        _borrow(alice, address(usdc), 9_000e6);
        vm.warp(block.timestamp + 1 hours + 1);
        vault.setOracle(guarded);
        uptime.updateAnswer(1);
        uptime.updateAnswer(0);
        vm.warp(block.timestamp + 1 hours);
        wbtcFeed.updateAnswer(20_000e8);
        vm.expectPartialRevert(PriceOracle.SequencerGracePeriod.selector);
        vault.isLiquidatable(alice);
        vm.expectPartialRevert(PriceOracle.SequencerGracePeriod.selector);
        vault.liquidate(alice, address(usdc), address(wbtc), 1, 0);
        vm.warp(block.timestamp + 1);
        vm.assertTrue(vault.isLiquidatable(alice));
    }

    /// @dev There, an answer outside all reason counted: a feed that had stopped at its own limit, or a wrong one.
    function test_AnyPositiveAnswerCounts_OneOutsideItsBoundsDoesNot() external {
        oracle.configureFeed(address(wbtc), wbtcFeed, 30 days, 10_000e18, 500_000e18);
        _deposit(alice, wbtc, 1e8);
        _borrow(alice, address(usdc), 20_000e6);
        wbtcFeed.updateAnswer(1e8);
        vm.expectPartialRevert(PriceOracle.PriceOutOfBounds.selector);
        vault.liquidate(alice, address(usdc), address(wbtc), 1, 0);
        wbtcFeed.updateAnswer(5_000_000e8);
        vm.expectPartialRevert(PriceOracle.PriceOutOfBounds.selector);
        _borrow(alice, address(usdc), 1_000_000e6);
    }
}
