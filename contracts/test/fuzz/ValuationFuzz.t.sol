// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Valuation} from "../../src/libraries/Valuation.sol";
import {Test} from "../Test.sol";

/// @notice The library against the formula in plain 256-bit arithmetic, over ranges where that cannot overflow.
contract ValuationFuzzTest is Test {
    uint256 private constant LARGEST_AMOUNT = 1e30;
    uint256 private constant LARGEST_PRICE = 1e24;

    function testFuzz_CollateralIsRoundedDown(
        uint256 amount,
        uint256 price,
        uint256 decimalsSum,
        uint256 factorBps
    ) external pure {
        (amount, price, decimalsSum, factorBps) = _inRange(amount, price, decimalsSum, factorBps);
        vm.assertEq(
            Valuation.collateralUsd(amount, price, decimalsSum, factorBps),
            amount * price * 1e18 * factorBps / (10 ** decimalsSum * 10_000)
        );
    }

    function testFuzz_DebtIsRoundedUp(uint256 amount, uint256 price, uint256 decimalsSum, uint256 factorBps)
        external
        pure
    {
        (amount, price, decimalsSum, factorBps) = _inRange(amount, price, decimalsSum, factorBps);
        uint256 numerator = amount * price * 1e18 * 10_000;
        uint256 denominator = 10 ** decimalsSum * factorBps;
        vm.assertEq(
            Valuation.debtUsd(amount, price, decimalsSum, factorBps),
            numerator / denominator + (numerator % denominator == 0 ? 0 : 1)
        );
    }

    function _inRange(uint256 amount, uint256 price, uint256 decimalsSum, uint256 factorBps)
        private
        pure
        returns (uint256, uint256, uint256, uint256)
    {
        return (
            bound(amount, 0, LARGEST_AMOUNT),
            bound(price, 1, LARGEST_PRICE),
            bound(decimalsSum, 0, 2 * uint256(Valuation.MAX_DECIMALS)),
            bound(factorBps, 1, Valuation.BPS)
        );
    }
}
