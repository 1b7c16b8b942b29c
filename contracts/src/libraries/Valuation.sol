// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {AggregatorV3Interface} from "../interfaces/AggregatorV3Interface.sol";

/// @title What an amount of an asset is worth in USD
/// @notice USD values have 18 decimals. Every rounding is against the account: collateral down, debt up.
library Valuation {
    /// @notice The feed's answer cannot be a price: not positive, absurdly large, or dated in the future.
    error InvalidPrice(address asset, int256 answer, uint256 updatedAt);
    /// @notice The feed's answer is older than the asset's heartbeat allows.
    error StalePrice(address asset, uint256 updatedAt, uint256 heartbeatS);

    uint256 internal constant BPS = 10_000;
    uint256 internal constant USD_UNIT = 1e18;
    /// @dev Tokens and feeds beyond it are refused at listing, which keeps every product below 2^256.
    uint8 internal constant MAX_DECIMALS = 18;
    int256 private constant MAX_ANSWER = type(int128).max;

    /// @notice The feed's newest answer, checked.
    /// @return price Positive, with the feed's own decimals.
    function readPrice(address asset, AggregatorV3Interface feed, uint256 heartbeatS)
        internal
        view
        returns (uint256 price)
    {
        (, int256 answer,, uint256 updatedAt,) = feed.latestRoundData();
        if (answer <= 0 || answer > MAX_ANSWER || updatedAt > block.timestamp) {
            revert InvalidPrice(asset, answer, updatedAt);
        }
        if (block.timestamp - updatedAt > heartbeatS) revert StalePrice(asset, updatedAt, heartbeatS);
        // forge-lint: disable-next-line(unsafe-typecast) the answer is positive here
        price = uint256(answer);
    }

    /// @notice `amount · price · collateralFactor`, rounded down.
    /// @param decimalsSum The token's decimals plus the feed's.
    function collateralUsd(uint256 amount, uint256 price, uint256 decimalsSum, uint256 collateralFactorBps)
        internal
        pure
        returns (uint256)
    {
        return Math.mulDiv(amount, price * USD_UNIT * collateralFactorBps, 10 ** decimalsSum * BPS);
    }

    /// @notice `amount · price / borrowFactor`, rounded up.
    /// @param decimalsSum The token's decimals plus the feed's.
    function debtUsd(uint256 amount, uint256 price, uint256 decimalsSum, uint256 borrowFactorBps)
        internal
        pure
        returns (uint256)
    {
        return Math.mulDiv(
            amount, price * USD_UNIT * BPS, 10 ** decimalsSum * borrowFactorBps, Math.Rounding.Ceil
        );
    }
}
