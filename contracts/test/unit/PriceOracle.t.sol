// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PriceOracle} from "../../src/PriceOracle.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice Per-feed heartbeat, decimals and bounds, and the sequencer of a rollup.
contract PriceOracleTest is VaultFixture {
    address private constant ASSET = address(0xA55E7);

    function test_PricesHaveEighteenDecimalsWhateverTheFeeds() external view {
        vm.assertEq(oracle.priceUsd(address(usdc)), 1e18);
        vm.assertEq(oracle.priceUsd(address(weth)), 2000e18);
        vm.assertEq(oracle.priceUsd(NATIVE), 2000e18);
    }

    function test_EachFeedHasItsOwnHeartbeat() external {
        oracle.configureFeed(address(usdc), usdcFeed, 1 days, 1, 1e30);
        uint256 updatedAt = block.timestamp;
        vm.warp(updatedAt + 1 days);
        vm.assertEq(oracle.priceUsd(address(usdc)), 1e18);
        vm.expectRevert(
            abi.encodeWithSelector(PriceOracle.StalePrice.selector, address(wbtc), updatedAt, HEARTBEAT_S)
        );
        oracle.priceUsd(address(wbtc));
        vm.warp(updatedAt + 1 days + 1);
        vm.expectRevert(
            abi.encodeWithSelector(PriceOracle.StalePrice.selector, address(usdc), updatedAt, 1 days)
        );
        oracle.priceUsd(address(usdc));
    }

    function test_RevertWhen_PriceIsOutsideItsBounds() external {
        oracle.configureFeed(address(usdc), usdcFeed, 1 hours, 0.5e18, 2e18);
        usdcFeed.updateAnswer(2e8);
        vm.assertEq(oracle.priceUsd(address(usdc)), 2e18);
        usdcFeed.updateAnswer(2e8 + 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                PriceOracle.PriceOutOfBounds.selector, address(usdc), 2e18 + 1e10, 0.5e18, 2e18
            )
        );
        oracle.priceUsd(address(usdc));
        usdcFeed.updateAnswer(0.5e8 - 1);
        vm.expectPartialRevert(PriceOracle.PriceOutOfBounds.selector);
        oracle.priceUsd(address(usdc));
    }

    function test_RevertWhen_RoundHasNoTime() external {
        usdcFeed.updateRound(1e8, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(PriceOracle.InvalidPrice.selector, address(usdc), 1e8, 0));
        oracle.priceUsd(address(usdc));
    }

    function test_RevertWhen_AssetHasNoFeed() external {
        bytes memory expected = abi.encodeWithSelector(PriceOracle.FeedMissing.selector, ASSET);
        vm.expectRevert(expected);
        oracle.priceUsd(ASSET);
        vm.expectRevert(expected);
        oracle.feedOf(ASSET);
    }

    function test_RevertWhen_FeedConfigurationIsInvalid() external {
        bytes memory expected = abi.encodeWithSelector(PriceOracle.InvalidFeed.selector, ASSET);
        MockAggregator fine = new MockAggregator(address(this), 19, "X / USD", 1);
        vm.expectRevert(expected);
        oracle.configureFeed(ASSET, fine, 60, 1, 1e30);
        vm.expectRevert(expected);
        oracle.configureFeed(ASSET, usdcFeed, 0, 1, 1e30);
        vm.expectRevert(expected);
        oracle.configureFeed(ASSET, usdcFeed, 60, 0, 1e30);
        vm.expectRevert(expected);
        oracle.configureFeed(ASSET, usdcFeed, 60, 2, 2);
        vm.expectRevert(expected);
        oracle.configureFeed(ASSET, usdcFeed, 60, 1, 1e30 + 1);
    }

    function test_SequencerMustBeUpAndHaveBeenForTheGracePeriod() external {
        MockAggregator uptime = new MockAggregator(address(this), 0, "L2 sequencer", 0);
        PriceOracle rollup = new PriceOracle(address(manager), uptime, 1 hours);
        rollup.configureFeed(ASSET, usdcFeed, 1 days, 1, 1e30);
        uint64 start = uint64(block.timestamp);
        vm.expectRevert(abi.encodeWithSelector(PriceOracle.SequencerGracePeriod.selector, start, 1 hours));
        rollup.priceUsd(ASSET);
        vm.warp(start + 1 hours + 1);
        vm.assertEq(rollup.priceUsd(ASSET), 1e18);
        uptime.updateRound(1, start + 1 hours, start + 1 hours);
        vm.expectRevert(abi.encodeWithSelector(PriceOracle.SequencerDown.selector, start + 1 hours));
        rollup.priceUsd(ASSET);
        uptime.updateRound(0, 0, start);
        vm.expectRevert(abi.encodeWithSelector(PriceOracle.SequencerDown.selector, 0));
        rollup.priceUsd(ASSET);
    }

    function test_NoSequencerIsAskedForWhereThereIsNone() external view {
        vm.assertEq(address(oracle.sequencerUptimeFeed()), address(0));
        vm.assertEq(oracle.priceUsd(address(usdc)), 1e18);
    }
}
