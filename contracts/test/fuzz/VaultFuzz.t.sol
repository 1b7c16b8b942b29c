// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Vault} from "../../src/Vault.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Margin and bookkeeping over random amounts, prices and decimals.
contract VaultFuzzTest is VaultFixture {
    function testFuzz_DepositThenWithdrawReturnsEverything(uint128 amount, uint8 decimals) external {
        vm.assume(amount > 0);
        MockERC20 token = new MockERC20("Token", "TKN", uint8(bound(decimals, 0, 18)));
        _list(address(token), usdcFeed, 10_000, 10_000);
        _deposit(alice, token, amount);
        vm.prank(alice);
        vault.withdraw(address(token), amount);
        vm.assertEq(token.balanceOf(alice), amount);
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
        vm.expectPartialRevert(Vault.InitialMarginNotMet.selector);
        _borrow(alice, address(usdc), largestLoan + 1);
        _borrow(alice, address(usdc), largestLoan);
        _assertPosition(alice, address(usdc), 0, largestLoan);
    }
}
