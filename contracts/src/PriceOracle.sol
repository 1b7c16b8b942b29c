// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";

import {AggregatorV3Interface} from "./interfaces/AggregatorV3Interface.sol";
import {IPriceOracle} from "./interfaces/IPriceOracle.sol";

/// @title Prices from Chainlink feeds, each with its own heartbeat, decimals and bounds
/// @notice A feed that cannot be believed reverts, naming the asset, and only for whoever asks about that asset.
contract PriceOracle is IPriceOracle, AccessManaged {
    struct Feed {
        AggregatorV3Interface aggregator;
        uint32 heartbeatS;
        uint8 decimals;
        /// @dev USD per whole token with 18 decimals; an answer outside is a broken feed, not a market move.
        uint128 minPriceUsd;
        uint128 maxPriceUsd;
    }

    event FeedConfigured(
        address indexed asset,
        address aggregator,
        uint8 decimals,
        uint32 heartbeatS,
        uint128 minPriceUsd,
        uint128 maxPriceUsd
    );

    error FeedMissing(address asset);
    error InvalidPrice(address asset, int256 answer, uint256 updatedAt);
    error StalePrice(address asset, uint256 updatedAt, uint256 heartbeatS);
    error PriceOutOfBounds(address asset, uint256 priceUsd, uint256 minPriceUsd, uint256 maxPriceUsd);
    error SequencerDown(uint256 since);
    error SequencerGracePeriod(uint256 upSince, uint256 graceS);
    error InvalidFeed(address asset);

    /// @notice One trillion USD per token, which keeps every product of the vault below 2^256.
    uint256 public constant MAX_PRICE_USD = 1e30;
    uint8 private constant PRICE_DECIMALS = 18;

    /// @notice Chainlink's sequencer uptime feed of a rollup (https://docs.chain.link/data-feeds/l2-sequencer-feeds);
    /// address(0) on a chain without a sequencer.
    AggregatorV3Interface public immutable sequencerUptimeFeed;
    /// @notice How long after a sequencer's return prices are not used: users could not act while it was down.
    uint256 public immutable sequencerGraceS;

    mapping(address asset => Feed feed) private _feeds;

    constructor(address authority, AggregatorV3Interface sequencerUptimeFeed_, uint256 sequencerGraceS_)
        AccessManaged(authority)
    {
        sequencerUptimeFeed = sequencerUptimeFeed_;
        sequencerGraceS = sequencerGraceS_;
    }

    /// @notice Gives an asset its feed. Decimals are read from the feed.
    /// @param heartbeatS Oldest answer that still counts: the feed's own heartbeat and some slack.
    function configureFeed(
        address asset,
        AggregatorV3Interface aggregator,
        uint32 heartbeatS,
        uint128 minPriceUsd,
        uint128 maxPriceUsd
    ) external restricted {
        uint8 decimals = aggregator.decimals();
        bool isValid = heartbeatS != 0 && decimals <= PRICE_DECIMALS && minPriceUsd != 0
            && minPriceUsd < maxPriceUsd && maxPriceUsd <= MAX_PRICE_USD;
        if (!isValid) revert InvalidFeed(asset);
        _feeds[asset] = Feed(aggregator, heartbeatS, decimals, minPriceUsd, maxPriceUsd);
        emit FeedConfigured(asset, address(aggregator), decimals, heartbeatS, minPriceUsd, maxPriceUsd);
    }

    /// @notice An asset's feed. Reverts when it has none.
    function feedOf(address asset) external view returns (Feed memory feed) {
        return _feedOf(asset);
    }

    /// @inheritdoc IPriceOracle
    function priceBoundsUsd(address asset)
        external
        view
        override
        returns (uint256 minPriceUsd, uint256 maxPriceUsd)
    {
        _requireSequencer();
        Feed memory feed = _feedOf(asset);
        return (feed.minPriceUsd, feed.maxPriceUsd);
    }

    /// @inheritdoc IPriceOracle
    function priceUsd(address asset) external view override returns (uint256 price) {
        _requireSequencer();
        Feed memory feed = _feedOf(asset);
        (uint80 roundId, int256 answer,, uint256 updatedAt,) = feed.aggregator.latestRoundData();
        bool isPrice = roundId != 0 && answer > 0 && updatedAt != 0 && updatedAt <= block.timestamp;
        if (!isPrice || answer > type(int128).max) revert InvalidPrice(asset, answer, updatedAt);
        if (block.timestamp - updatedAt > feed.heartbeatS) {
            revert StalePrice(asset, updatedAt, feed.heartbeatS);
        }
        // forge-lint: disable-next-line(unsafe-typecast) the answer is positive here
        price = uint256(answer) * 10 ** (PRICE_DECIMALS - feed.decimals);
        if (price < feed.minPriceUsd || price > feed.maxPriceUsd) {
            revert PriceOutOfBounds(asset, price, feed.minPriceUsd, feed.maxPriceUsd);
        }
    }

    function _feedOf(address asset) private view returns (Feed memory feed) {
        feed = _feeds[asset];
        if (address(feed.aggregator) == address(0)) revert FeedMissing(asset);
    }

    function _requireSequencer() private view {
        if (address(sequencerUptimeFeed) == address(0)) return;
        (, int256 status, uint256 startedAt,,) = sequencerUptimeFeed.latestRoundData();
        // 0 is up; a start of 0 is Arbitrum's feed before its first round.
        if (status != 0 || startedAt == 0) revert SequencerDown(startedAt);
        if (block.timestamp - startedAt <= sequencerGraceS) {
            revert SequencerGracePeriod(startedAt, sequencerGraceS);
        }
    }
}
