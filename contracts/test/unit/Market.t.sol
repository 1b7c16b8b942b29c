// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {MarketSetter} from "../../src/mocks/MarketSetter.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {Test} from "../Test.sol";

/// @notice The development feeds answer as Chainlink's do.
contract MarketTest is Test {
    MarketSetter private _setter;
    MockAggregator private _ether;
    MockAggregator private _bitcoin;

    function setUp() external {
        vm.warp(1_800_000_000);
        _setter = new MarketSetter(address(this));
        _ether = new MockAggregator(address(_setter), 8, "ETH / USD", 2000e8);
        _bitcoin = new MockAggregator(address(_setter), 8, "BTC / USD", 50_000e8);
    }

    function test_OneTransactionMovesTheMarket() external {
        vm.expectEmit(address(_ether));
        emit MockAggregator.AnswerUpdated(1800e8, 2, block.timestamp);
        vm.expectEmit(address(_bitcoin));
        emit MockAggregator.AnswerUpdated(45_000e8, 2, block.timestamp);
        _updateBoth(1800e8, 45_000e8);
        _assertLatest(_ether, 2, 1800e8, block.timestamp);
        _assertLatest(_bitcoin, 2, 45_000e8, block.timestamp);
    }

    function test_RoundsKeepTheirHistory() external {
        vm.warp(block.timestamp + 60);
        _updateBoth(1800e8, 45_000e8);
        (uint80 roundId, int256 answer, uint256 startedAt, uint256 updatedAt, uint80 answeredInRound) =
            _ether.getRoundData(1);
        vm.assertEq(roundId, 1);
        vm.assertEq(answer, 2000e8);
        vm.assertEq(startedAt, 1_800_000_000);
        vm.assertEq(updatedAt, 1_800_000_000);
        vm.assertEq(answeredInRound, 1);
    }

    function test_StaleZeroAndNegativeAnswersCanBeSet() external {
        _setter.updateRound(_ether, 0, 100, 200);
        _assertLatest(_ether, 2, 0, 200);
        _setter.updateRound(_ether, -5, 300, 400);
        _assertLatest(_ether, 3, -5, 400);
    }

    function test_RevertWhen_RoundHasNoData() external {
        vm.expectRevert(bytes("No data present"));
        _ether.getRoundData(2);
        vm.expectRevert(bytes("No data present"));
        _ether.getRoundData(0);
    }

    function test_RevertWhen_StrangerSetsPrices() external {
        address stranger = actor("stranger");
        bytes memory expected = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(expected);
        _ether.updateAnswer(1);
        vm.expectRevert(expected);
        _setter.updateRound(_ether, 1, 1, 1);
        vm.expectRevert(expected);
        _setter.updateAnswers(new MockAggregator[](0), new int256[](0));
    }

    function test_RevertWhen_LengthsDiffer() external {
        vm.expectRevert(abi.encodeWithSelector(MarketSetter.LengthMismatch.selector, 1, 2));
        _setter.updateAnswers(new MockAggregator[](1), new int256[](2));
    }

    function _updateBoth(int256 etherAnswer, int256 bitcoinAnswer) private {
        MockAggregator[] memory feeds = new MockAggregator[](2);
        int256[] memory answers = new int256[](2);
        (feeds[0], feeds[1]) = (_ether, _bitcoin);
        (answers[0], answers[1]) = (etherAnswer, bitcoinAnswer);
        _setter.updateAnswers(feeds, answers);
    }

    function _assertLatest(MockAggregator feed, uint256 roundId, int256 answer, uint256 updatedAt)
        private
        view
    {
        (uint80 actualRoundId, int256 actualAnswer,, uint256 actualUpdatedAt, uint80 answeredInRound) =
            feed.latestRoundData();
        vm.assertEq(actualRoundId, roundId);
        vm.assertEq(actualAnswer, answer);
        vm.assertEq(actualUpdatedAt, updatedAt);
        vm.assertEq(answeredInRound, roundId);
    }
}
