// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {MockAggregator} from "./MockAggregator.sol";

/// @title Moves a whole development market in one transaction
/// @notice Must own the feeds it sets.
contract MarketSetter is Ownable {
    error LengthMismatch(uint256 feeds, uint256 answers);

    constructor(address initialOwner) Ownable(initialOwner) {}

    /// @notice Gives the i-th feed the i-th answer, all dated now.
    function updateAnswers(MockAggregator[] calldata feeds, int256[] calldata answers) external onlyOwner {
        if (feeds.length != answers.length) revert LengthMismatch(feeds.length, answers.length);
        for (uint256 i = 0; i < feeds.length; ++i) {
            feeds[i].updateAnswer(answers[i]);
        }
    }

    /// @notice Adds one round with any answer and times: a stale, zero or negative price.
    function updateRound(MockAggregator feed, int256 answer, uint64 startedAt, uint64 updatedAt)
        external
        onlyOwner
    {
        feed.updateRound(answer, startedAt, updatedAt);
    }
}
