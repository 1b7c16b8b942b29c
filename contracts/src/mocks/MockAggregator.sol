// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {AggregatorV3Interface} from "../interfaces/AggregatorV3Interface.sol";

/// @title A Chainlink feed whose owner sets the answers, for development chains and tests
/// @notice Interface, events and the revert of an empty round are those of Chainlink's aggregators.
contract MockAggregator is AggregatorV3Interface, Ownable {
    struct Round {
        int256 answer;
        uint64 startedAt;
        uint64 updatedAt;
    }

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);
    event NewRound(uint256 indexed roundId, address indexed startedBy, uint256 startedAt);

    uint256 public constant override version = 4;
    uint8 public immutable override decimals;
    string public override description;

    /// @notice Number of the newest round; rounds are 1, 2, 3 ….
    uint80 public latestRound;
    mapping(uint80 roundId => Round round) private _rounds;

    constructor(address initialOwner, uint8 decimals_, string memory description_, int256 initialAnswer)
        Ownable(initialOwner)
    {
        decimals = decimals_;
        description = description_;
        _addRound(initialAnswer, block.timestamp, block.timestamp);
    }

    /// @notice Adds a round dated now.
    function updateAnswer(int256 answer) external onlyOwner {
        _addRound(answer, block.timestamp, block.timestamp);
    }

    /// @notice Adds a round with any answer and times, so that stale, zero and negative answers can be set.
    function updateRound(int256 answer, uint64 startedAt, uint64 updatedAt) external onlyOwner {
        _addRound(answer, startedAt, updatedAt);
    }

    /// @inheritdoc AggregatorV3Interface
    function getRoundData(uint80 roundId_)
        public
        view
        override
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
    {
        require(roundId_ != 0 && roundId_ <= latestRound, "No data present");
        Round storage round = _rounds[roundId_];
        return (roundId_, round.answer, round.startedAt, round.updatedAt, roundId_);
    }

    /// @inheritdoc AggregatorV3Interface
    function latestRoundData()
        external
        view
        override
        returns (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound)
    {
        return getRoundData(latestRound);
    }

    function _addRound(int256 answer, uint256 startedAt, uint256 updatedAt) private {
        uint80 roundId = ++latestRound;
        // forge-lint: disable-next-line(unsafe-typecast) Unix seconds fit
        _rounds[roundId] = Round(answer, uint64(startedAt), uint64(updatedAt));
        emit NewRound(roundId, msg.sender, startedAt);
        emit AnswerUpdated(answer, roundId, updatedAt);
    }
}
