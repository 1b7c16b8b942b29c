// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Interest by a kinked curve and a growing index
/// @notice Rates and indexes have 27 decimals (RAY). shared/domain/interest.py computes the same to the last digit.
library InterestMath {
    /// @notice Yearly rates in basis points: `base` without loans, `base + slopeBelow` at the kink,
    /// `base + slopeBelow + slopeAbove` when everything is lent.
    struct Curve {
        uint16 baseBps;
        uint16 slopeBelowBps;
        uint16 slopeAboveBps;
        uint16 kinkBps;
    }

    uint256 internal constant RAY = 1e27;
    uint256 internal constant BPS = 10_000;
    uint256 internal constant SECONDS_PER_YEAR = 365 days;
    /// @dev An index stops here (3.4e11 times its start) rather than lock the market by an overflow.
    uint256 internal constant MAX_INDEX = type(uint128).max;

    /// @notice The rate per second at a utilisation of `debt / (cash + debt)`, rounded down.
    function ratePerSecond(Curve memory curve, uint256 cash, uint256 debt) internal pure returns (uint256) {
        uint256 used = debt == 0 ? 0 : Math.mulDiv(debt, RAY, cash + debt);
        uint256 kink = uint256(curve.kinkBps) * RAY / BPS;
        uint256 yearly = uint256(curve.baseBps) * RAY / BPS;
        if (used <= kink) {
            yearly += used * curve.slopeBelowBps / curve.kinkBps;
        } else {
            yearly += uint256(curve.slopeBelowBps) * RAY / BPS;
            yearly += (used - kink) * curve.slopeAboveBps / (BPS - curve.kinkBps);
        }
        return yearly / SECONDS_PER_YEAR;
    }

    /// @notice The index after `elapsedS` seconds at a rate: the first terms of e^x, x = rate · time, rounded down.
    function grow(uint256 index, uint256 rate, uint256 elapsedS) internal pure returns (uint256) {
        uint256 first = rate * elapsedS;
        uint256 second = Math.mulDiv(first, first, 2 * RAY);
        uint256 third = Math.mulDiv(second, first, 3 * RAY);
        return Math.min(index + Math.mulDiv(index, first + second + third, RAY), MAX_INDEX);
    }

    /// @notice What `shares` of debt amount to at an index, rounded up.
    function debtOf(uint256 shares, uint256 index) internal pure returns (uint256) {
        return Math.mulDiv(shares, index, RAY, Math.Rounding.Ceil);
    }

    /// @notice The debt shares that a loan of `amount` creates, rounded up.
    function sharesOfLoan(uint256 amount, uint256 index) internal pure returns (uint256) {
        return Math.mulDiv(amount, RAY, index, Math.Rounding.Ceil);
    }

    /// @notice The debt shares that a payment of `amount` extinguishes, rounded down.
    function sharesOfPayment(uint256 amount, uint256 index) internal pure returns (uint256) {
        return Math.mulDiv(amount, RAY, index);
    }
}
