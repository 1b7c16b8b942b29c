// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {AggregatorV3Interface} from "./interfaces/AggregatorV3Interface.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";
import {Valuation} from "./libraries/Valuation.sol";

/// @title One chain's part of a cross-margin credit line
/// @notice An account deposits listed assets as collateral and borrows listed assets against all of it together.
/// The native asset is written as address(0). Amounts are base units; factors and margins are basis points.
/// Collateral is never lent out: loans come from the liquidity that the owner supplies.
/// @dev Tokens whose balances change without a transfer (rebasing) must not be listed.
contract Vault is Ownable2Step, ReentrancyGuardTransient {
    /// @notice What a PositionChanged event reports. The numbers are part of the event's format.
    enum PositionChange {
        None,
        Deposit,
        Withdraw,
        Borrow,
        Repay
    }

    /// @notice How an asset is valued and whether new positions in it are allowed.
    struct AssetConfig {
        AggregatorV3Interface feed;
        uint32 heartbeatS;
        uint16 collateralFactorBps;
        uint16 borrowFactorBps;
        uint8 decimals;
        uint8 feedDecimals;
        uint8 index;
        bool enabled;
    }

    struct Position {
        uint128 collateral;
        uint128 debt;
    }

    struct Account {
        uint64 sequence;
        /// @dev Bit i is set while the account has collateral or debt in the i-th listed asset.
        uint32 heldAssets;
    }

    /// @notice An account's position in one asset changed: the whole fact, so that state can be rebuilt from events.
    /// @param sequence Counts the account's events: 1, 2, 3 …, without gaps.
    /// @param kind 1 deposit, 2 withdraw, 3 borrow, 4 repay.
    /// @param amount Base units that moved; of a deposit or repayment, what arrived.
    event PositionChanged(
        address indexed account,
        address indexed asset,
        uint64 sequence,
        PositionChange kind,
        uint256 amount,
        uint256 collateralAfter,
        uint256 debtAfter
    );
    /// @notice An asset was listed, or its configuration changed.
    event AssetConfigured(
        address indexed asset,
        uint8 decimals,
        address feed,
        uint8 feedDecimals,
        uint32 heartbeatS,
        uint16 collateralFactorBps,
        uint16 borrowFactorBps,
        bool enabled
    );
    event LiquiditySupplied(address indexed asset, uint256 amount, uint256 liquidityAfter);
    event LiquidityWithdrawn(
        address indexed asset, address recipient, uint256 amount, uint256 liquidityAfter
    );

    error AssetNotListed(address asset);
    error AssetNotEnabled(address asset);
    error TooManyAssets(uint256 limit);
    error NativeAssetNeedsValue();
    error ZeroAmount(address asset);
    error InsufficientCollateral(address asset, uint256 requested, uint256 available);
    error InsufficientLiquidity(address asset, uint256 requested, uint256 available);
    error RepaymentExceedsDebt(address asset, uint256 repayment, uint256 debt);
    error InitialMarginNotMet(address account, uint256 collateralUsd, uint256 requiredUsd);
    error InitialMarginZero();
    error CollateralFactorOutOfRange(uint256 factorBps);
    error BorrowFactorOutOfRange(uint256 factorBps);
    error HeartbeatZero(address asset);
    error UnsupportedDecimals(address source, uint256 decimals);

    /// @notice Bounds the price reads that one borrow or withdrawal can need; the width of Account.heldAssets.
    uint256 public constant MAX_ASSETS = 32;

    /// @notice Collateral that must exceed debt after a borrow or withdrawal: 5000 means by half of the debt.
    uint16 public immutable initialMarginBps;

    /// @notice Base units of an asset that can be borrowed now.
    mapping(address asset => uint256 amount) public liquidity;

    mapping(address asset => AssetConfig config) private _configs;
    mapping(address account => mapping(address asset => Position position)) private _positions;
    mapping(address account => Account state) private _accounts;
    address[] private _assets;

    constructor(address initialOwner, uint16 initialMarginBps_) Ownable(initialOwner) {
        if (initialMarginBps_ == 0) revert InitialMarginZero();
        initialMarginBps = initialMarginBps_;
    }

    // ---------------------------------------------------------------- accounts

    /// @notice Adds ERC-20 collateral to the caller's account; what arrives is booked.
    function deposit(address asset, uint256 amount) external nonReentrant {
        _requireEnabled(asset);
        _bookDeposit(asset, _pullToken(asset, amount));
    }

    /// @notice Adds the native value sent as collateral to the caller's account.
    function depositNative() external payable nonReentrant {
        _requireEnabled(AssetTransfer.NATIVE);
        _bookDeposit(AssetTransfer.NATIVE, msg.value);
    }

    /// @notice Returns collateral to the caller. Open for disabled assets too, and free of prices without debt.
    function withdraw(address asset, uint256 amount) external nonReentrant {
        _requireListed(asset);
        if (amount == 0) revert ZeroAmount(asset);
        Position storage held = _positions[msg.sender][asset];
        if (amount > held.collateral) revert InsufficientCollateral(asset, amount, held.collateral);
        // forge-lint: disable-next-line(unsafe-typecast) not above a uint128
        held.collateral -= uint128(amount);
        _recordChange(asset, PositionChange.Withdraw, amount, held);
        _requireInitialMargin(msg.sender);
        AssetTransfer.send(asset, msg.sender, amount);
    }

    /// @notice Lends the caller `amount` of the vault's liquidity against all of the caller's collateral.
    function borrow(address asset, uint256 amount) external nonReentrant {
        _requireEnabled(asset);
        if (amount == 0) revert ZeroAmount(asset);
        _takeLiquidity(asset, amount);
        Position storage held = _positions[msg.sender][asset];
        held.debt += SafeCast.toUint128(amount);
        _recordChange(asset, PositionChange.Borrow, amount, held);
        _requireInitialMargin(msg.sender);
        AssetTransfer.send(asset, msg.sender, amount);
    }

    /// @notice Reduces the caller's ERC-20 debt by what arrives. Open for disabled assets too.
    function repay(address asset, uint256 amount) external nonReentrant {
        _requireListed(asset);
        _bookRepayment(asset, _pullToken(asset, amount));
    }

    /// @notice Reduces the caller's native debt by the value sent.
    function repayNative() external payable nonReentrant {
        _requireListed(AssetTransfer.NATIVE);
        _bookRepayment(AssetTransfer.NATIVE, msg.value);
    }

    // ---------------------------------------------------------------- owner

    /// @notice Lists an asset or changes its configuration. Decimals are read from the token and the feed.
    /// @param heartbeatS Oldest answer of the feed that still counts, in seconds.
    /// @param collateralFactorBps Part of the asset's value that counts as collateral, 0 to 10000.
    /// @param borrowFactorBps What the asset's debt is divided by, 1 to 10000.
    /// @param enabled Whether new deposits and loans are allowed; withdrawals and repayments always are.
    function configureAsset(
        address asset,
        AggregatorV3Interface feed,
        uint32 heartbeatS,
        uint16 collateralFactorBps,
        uint16 borrowFactorBps,
        bool enabled
    ) external onlyOwner {
        if (collateralFactorBps > Valuation.BPS) {
            revert CollateralFactorOutOfRange(collateralFactorBps);
        }
        if (borrowFactorBps == 0 || borrowFactorBps > Valuation.BPS) {
            revert BorrowFactorOutOfRange(borrowFactorBps);
        }
        if (heartbeatS == 0) revert HeartbeatZero(asset);
        uint8 decimals =
            asset == AssetTransfer.NATIVE ? Valuation.MAX_DECIMALS : IERC20Metadata(asset).decimals();
        if (decimals > Valuation.MAX_DECIMALS) revert UnsupportedDecimals(asset, decimals);
        uint8 feedDecimals = feed.decimals();
        if (feedDecimals > Valuation.MAX_DECIMALS) revert UnsupportedDecimals(address(feed), feedDecimals);

        _configs[asset] = AssetConfig({
            feed: feed,
            heartbeatS: heartbeatS,
            collateralFactorBps: collateralFactorBps,
            borrowFactorBps: borrowFactorBps,
            decimals: decimals,
            feedDecimals: feedDecimals,
            index: _indexForListing(asset),
            enabled: enabled
        });
        emit AssetConfigured(
            asset,
            decimals,
            address(feed),
            feedDecimals,
            heartbeatS,
            collateralFactorBps,
            borrowFactorBps,
            enabled
        );
    }

    /// @notice Adds ERC-20 liquidity for loans; what arrives is booked.
    function supply(address asset, uint256 amount) external onlyOwner nonReentrant {
        _requireListed(asset);
        _bookSupply(asset, _pullToken(asset, amount));
    }

    /// @notice Adds the native value sent as liquidity for loans.
    function supplyNative() external payable onlyOwner nonReentrant {
        _requireListed(AssetTransfer.NATIVE);
        _bookSupply(AssetTransfer.NATIVE, msg.value);
    }

    /// @notice Takes back liquidity that is not lent. Collateral is out of the owner's reach.
    function withdrawLiquidity(address asset, uint256 amount, address recipient)
        external
        onlyOwner
        nonReentrant
    {
        _requireListed(asset);
        if (amount == 0) revert ZeroAmount(asset);
        uint256 liquidityAfter = _takeLiquidity(asset, amount);
        emit LiquidityWithdrawn(asset, recipient, amount, liquidityAfter);
        AssetTransfer.send(asset, recipient, amount);
    }

    // ---------------------------------------------------------------- views

    /// @notice An account's collateral and debt in one asset, in base units.
    function position(address account, address asset)
        external
        view
        returns (uint256 collateral, uint256 debt)
    {
        Position storage held = _positions[account][asset];
        return (held.collateral, held.debt);
    }

    /// @notice Number of PositionChanged events that the account has had: the newest one's sequence.
    function accountSequence(address account) external view returns (uint64) {
        return _accounts[account].sequence;
    }

    /// @notice Every asset ever listed, in the order of listing.
    function listedAssets() external view returns (address[] memory) {
        return _assets;
    }

    /// @notice An asset's configuration. Reverts when it is not listed.
    function assetConfig(address asset) external view returns (AssetConfig memory) {
        _requireListed(asset);
        return _configs[asset];
    }

    /// @notice Collateral (after collateral factors) and debt (after borrow factors) in USD with 18 decimals.
    /// @dev Reads the feeds of the assets that the account holds and no other; reverts when one has no valid price.
    function accountValue(address account) public view returns (uint256 collateralUsd, uint256 debtUsd) {
        uint256 heldAssets = _accounts[account].heldAssets;
        for (uint256 i = 0; heldAssets >> i != 0; ++i) {
            if ((heldAssets >> i) & 1 == 0) continue;
            address asset = _assets[i];
            AssetConfig memory config = _configs[asset];
            Position memory held = _positions[account][asset];
            uint256 price = Valuation.readPrice(asset, config.feed, config.heartbeatS);
            uint256 decimalsSum = uint256(config.decimals) + config.feedDecimals;
            collateralUsd += Valuation.collateralUsd(
                held.collateral, price, decimalsSum, config.collateralFactorBps
            );
            debtUsd += Valuation.debtUsd(held.debt, price, decimalsSum, config.borrowFactorBps);
        }
    }

    // ---------------------------------------------------------------- internals

    function _bookDeposit(address asset, uint256 received) private {
        if (received == 0) revert ZeroAmount(asset);
        Position storage held = _positions[msg.sender][asset];
        held.collateral += SafeCast.toUint128(received);
        _recordChange(asset, PositionChange.Deposit, received, held);
    }

    function _bookRepayment(address asset, uint256 received) private {
        if (received == 0) revert ZeroAmount(asset);
        Position storage held = _positions[msg.sender][asset];
        if (received > held.debt) revert RepaymentExceedsDebt(asset, received, held.debt);
        // forge-lint: disable-next-line(unsafe-typecast) not above a uint128
        held.debt -= uint128(received);
        liquidity[asset] += received;
        _recordChange(asset, PositionChange.Repay, received, held);
    }

    function _bookSupply(address asset, uint256 received) private {
        if (received == 0) revert ZeroAmount(asset);
        uint256 liquidityAfter = liquidity[asset] + received;
        liquidity[asset] = liquidityAfter;
        emit LiquiditySupplied(asset, received, liquidityAfter);
    }

    function _takeLiquidity(address asset, uint256 amount) private returns (uint256 liquidityAfter) {
        uint256 available = liquidity[asset];
        if (amount > available) revert InsufficientLiquidity(asset, amount, available);
        liquidityAfter = available - amount;
        liquidity[asset] = liquidityAfter;
    }

    function _recordChange(address asset, PositionChange kind, uint256 amount, Position storage held)
        private
    {
        Account storage account = _accounts[msg.sender];
        uint32 assetBit = uint32(1) << _configs[asset].index;
        (uint256 collateral, uint256 debt) = (held.collateral, held.debt);
        if (collateral == 0 && debt == 0) {
            account.heldAssets &= ~assetBit;
        } else {
            account.heldAssets |= assetBit;
        }
        uint64 sequence = ++account.sequence;
        emit PositionChanged(msg.sender, asset, sequence, kind, amount, collateral, debt);
    }

    function _requireInitialMargin(address account) private view {
        if (!_hasDebt(account)) return;
        (uint256 collateralUsd, uint256 debtUsd) = accountValue(account);
        uint256 marginFactorBps = Valuation.BPS + initialMarginBps;
        if (collateralUsd * Valuation.BPS < debtUsd * marginFactorBps) {
            uint256 requiredUsd = Math.ceilDiv(debtUsd * marginFactorBps, Valuation.BPS);
            revert InitialMarginNotMet(account, collateralUsd, requiredUsd);
        }
    }

    /// @dev Keeps withdrawals without debt free of prices: a broken feed must not lock them.
    function _hasDebt(address account) private view returns (bool) {
        uint256 heldAssets = _accounts[account].heldAssets;
        for (uint256 i = 0; heldAssets >> i != 0; ++i) {
            if ((heldAssets >> i) & 1 == 1 && _positions[account][_assets[i]].debt != 0) return true;
        }
        return false;
    }

    function _pullToken(address asset, uint256 amount) private returns (uint256 received) {
        if (asset == AssetTransfer.NATIVE) revert NativeAssetNeedsValue();
        return AssetTransfer.pull(asset, msg.sender, address(this), amount);
    }

    function _indexForListing(address asset) private returns (uint8) {
        if (_isListed(asset)) return _configs[asset].index;
        uint256 index = _assets.length;
        if (index == MAX_ASSETS) revert TooManyAssets(MAX_ASSETS);
        _assets.push(asset);
        // forge-lint: disable-next-line(unsafe-typecast) below MAX_ASSETS
        return uint8(index);
    }

    function _requireListed(address asset) private view {
        if (!_isListed(asset)) revert AssetNotListed(asset);
    }

    function _requireEnabled(address asset) private view {
        _requireListed(asset);
        if (!_configs[asset].enabled) revert AssetNotEnabled(asset);
    }

    function _isListed(address asset) private view returns (bool) {
        return address(_configs[asset].feed) != address(0);
    }
}
