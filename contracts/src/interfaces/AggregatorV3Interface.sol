// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Chainlink's price feed interface
/// @notice Signatures as published by Chainlink (https://docs.chain.link/data-feeds/api-reference).
interface AggregatorV3Interface {
    /// @notice Number of decimals of every answer.
    function decimals() external view returns (uint8);

    /// @notice What the feed quotes, for example "ETH / USD".
    function description() external view returns (string memory);

    /// @notice Version of the aggregator behind the feed.
    function version() external view returns (uint256);

    /// @notice One past round. Reverts when the round has no data.
    /// @return roundId The round asked for.
    /// @return answer The price with `decimals` decimals.
    /// @return startedAt Unix time at which the round began.
    /// @return updatedAt Unix time at which the answer was set.
    /// @return answeredInRound The round in which the answer was computed (deprecated by Chainlink).
    function getRoundData(uint80 roundId_)
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);

    /// @notice The newest round; the values are those of `getRoundData`.
    function latestRoundData()
        external
        view
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound);
}
