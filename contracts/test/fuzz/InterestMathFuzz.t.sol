// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {InterestMath} from "../../src/libraries/InterestMath.sol";
import {Test} from "../Test.sol";

/// @notice What rates and indexes may never do.
contract InterestMathFuzzTest is Test {
    uint256 private constant RAY = 1e27;

    function _curve(uint256 base, uint256 below, uint256 above, uint256 kink)
        private
        pure
        returns (InterestMath.Curve memory)
    {
        // forge-lint: disable-next-line(unsafe-typecast) bounded
        return InterestMath.Curve({
            baseBps: uint16(bound(base, 0, 65_535)),
            slopeBelowBps: uint16(bound(below, 0, 65_535)),
            slopeAboveBps: uint16(bound(above, 0, 65_535)),
            kinkBps: uint16(bound(kink, 1, 9999))
        });
    }

    function testFuzz_RateRisesWithUtilisation(
        uint256 base,
        uint256 below,
        uint256 above,
        uint256 kink,
        uint128 cash,
        uint128 debt,
        uint128 more
    ) external pure {
        InterestMath.Curve memory curve = _curve(base, below, above, kink);
        debt = uint128(bound(debt, 0, type(uint128).max / 2));
        uint256 before = InterestMath.ratePerSecond(curve, cash, debt);
        uint256 moved = bound(more, 0, cash);
        vm.assertGe(InterestMath.ratePerSecond(curve, cash - moved, debt + moved), before);
    }

    function testFuzz_RateIsBetweenBaseAndTop(
        uint256 base,
        uint256 below,
        uint256 above,
        uint256 kink,
        uint128 cash,
        uint128 debt
    ) external pure {
        InterestMath.Curve memory curve = _curve(base, below, above, kink);
        uint256 rate = InterestMath.ratePerSecond(curve, cash, debt);
        uint256 top = uint256(curve.baseBps) + curve.slopeBelowBps + curve.slopeAboveBps;
        vm.assertGe(rate, uint256(curve.baseBps) * RAY / 10_000 / 365 days);
        vm.assertGe(top * RAY / 10_000 / 365 days, rate);
    }

    function testFuzz_IndexNeverFallsAndNeverLocks(uint128 index, uint96 rate, uint40 elapsedS)
        external
        pure
    {
        index = uint128(bound(index, RAY, type(uint128).max));
        // The steepest curve there can be.
        uint256 bounded = bound(rate, 0, 3 * 65_535 * RAY / 10_000 / 365 days);
        uint256 grown = InterestMath.grow(index, bounded, elapsedS);
        vm.assertGe(grown, index);
        vm.assertGe(type(uint128).max, grown);
    }

    function testFuzz_OneStepIsNotMoreThanTwo(uint96 rate, uint32 firstS, uint32 secondS) external pure {
        uint256 bounded = bound(rate, 0, RAY / 365 days);
        uint256 first = bound(firstS, 0, 365 days);
        uint256 second = bound(secondS, 0, 365 days);
        uint256 once = InterestMath.grow(RAY, bounded, first + second);
        uint256 twice = InterestMath.grow(InterestMath.grow(RAY, bounded, first), bounded, second);
        // Each step is a truncated series: cutting it in two adds the terms left out, four hundredths at most here.
        vm.assertGe(twice + 2, once);
        vm.assertGe(once * 104 / 100, twice);
    }

    function testFuzz_DebtIsRoundedUpAndPaymentsDown(uint128 amount, uint128 index) external pure {
        uint256 bounded = bound(amount, 1, 1e36);
        uint256 grown = bound(index, RAY, 1e33);
        uint256 shares = InterestMath.sharesOfLoan(bounded, grown);
        uint256 debt = InterestMath.debtOf(shares, grown);
        vm.assertGe(debt, bounded);
        // A loan costs less than one share more than was lent.
        vm.assertGe(bounded + grown / RAY + 1, debt);
        vm.assertGe(shares, InterestMath.sharesOfPayment(bounded, grown));
    }
}
