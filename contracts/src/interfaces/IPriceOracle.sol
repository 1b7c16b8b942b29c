// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title What the vault asks of an oracle
interface IPriceOracle {
    /// @notice USD per whole token with 18 decimals, and never more than `MAX_PRICE_USD` of the oracle.
    /// @dev Reverts when there is no price that may be used; a price is never invented.
    function priceUsd(address asset) external view returns (uint256);

    /// @notice The least and the most that `priceUsd` can be, for when this asset has no price that may be used.
    /// @dev Reverts while no asset's price may be used.
    function priceBoundsUsd(address asset) external view returns (uint256 minPriceUsd, uint256 maxPriceUsd);
}
