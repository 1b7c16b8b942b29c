// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPriceOracle} from "./interfaces/IPriceOracle.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";
import {InterestMath} from "./libraries/InterestMath.sol";
import {LendingMarket} from "./libraries/LendingMarket.sol";
import {VaultLiquidation} from "./vault/VaultLiquidation.sol";
import {VaultMargin} from "./vault/VaultMargin.sol";

/// @title One chain's part of a cross-margin credit line
/// @notice An account deposits listed assets as collateral and borrows listed assets against all of it together.
/// Lenders supply what is borrowed and earn the interest. Collateral is never lent out.
/// @dev Tokens whose balances change without a transfer (rebasing) must not be listed. Who may call what below is the
/// AccessManager's to say; every role that can worsen an account's terms has a delay there.
contract Vault is VaultLiquidation, AccessManaged {
    using LendingMarket for LendingMarket.Market;
    using SafeCast for uint256;

    uint256 private constant MAX_DECIMALS = 18;
    uint256 private constant MAX_BONUS_BPS = 1500;
    uint256 private constant MAX_RESERVE_FACTOR_BPS = 5000;
    /// @dev Base units of a token of 18 decimals; see VaultMargin.
    uint256 private constant MAX_CAP = 2 ** 108;

    constructor(
        address authority,
        IPriceOracle oracle_,
        uint16 initialMarginBps_,
        uint16 liquidationMarginBps_
    ) AccessManaged(authority) VaultMargin(initialMarginBps_, liquidationMarginBps_) {
        _setOracle(oracle_);
    }

    // ---------------------------------------------------------------- accounts

    /// @notice Adds collateral to the caller's account; what arrives is booked. Send native collateral as value.
    function deposit(address asset, uint256 amount) external payable nonReentrant {
        _requireOpen(asset);
        uint256 received = _receive(asset, amount);
        if (received == 0) revert ZeroAmount(asset);
        _addCollateral(msg.sender, asset, received);
        _reportPosition(msg.sender, asset, PositionChange.Deposit, received);
    }

    /// @notice Returns collateral to the caller. Never paused, and free of prices without debt.
    function withdraw(address asset, uint256 amount) external nonReentrant {
        _requireListed(asset);
        if (amount == 0) revert ZeroAmount(asset);
        _takeCollateral(msg.sender, asset, amount);
        _reportPosition(msg.sender, asset, PositionChange.Withdraw, amount);
        _requireInitialMargin(msg.sender);
        AssetTransfer.send(asset, msg.sender, amount);
    }

    /// @notice Lends the caller `amount` of what lenders supplied, against all of the caller's collateral.
    function borrow(address asset, uint256 amount) external nonReentrant {
        _requireOpen(asset);
        if (amount == 0) revert ZeroAmount(asset);
        _markets[asset].accrue();
        _addDebt(msg.sender, asset, amount);
        _reportBoth(msg.sender, asset, PositionChange.Borrow, amount);
        _requireInitialMargin(msg.sender);
        AssetTransfer.send(asset, msg.sender, amount);
    }

    /// @notice Reduces the caller's debt by what arrives, and by no more than the debt: a larger `amount` means all of
    /// it. Native value beyond what is due comes back. Never paused.
    function repay(address asset, uint256 amount) external payable nonReentrant returns (uint256 repaid) {
        _requireListed(asset);
        _markets[asset].accrue();
        uint256 debt = _debtOf(msg.sender, asset);
        if (debt == 0) revert NoDebt(msg.sender, asset);
        repaid = _receiveDue(asset, amount < debt ? amount : debt);
        if (repaid == 0) revert ZeroAmount(asset);
        _takeDebt(msg.sender, asset, repaid);
        _reportBoth(msg.sender, asset, PositionChange.Repay, repaid);
    }

    // ---------------------------------------------------------------- lenders

    /// @notice Lends the vault what arrives, for shares. It is no collateral. Send native supply as value.
    function supply(address asset, uint256 amount) external payable nonReentrant returns (uint256 shares) {
        _requireOpen(asset);
        LendingMarket.Market storage market = _markets[asset];
        market.accrue();
        uint256 received = _receive(asset, amount);
        shares = market.supply(received);
        if (shares == 0) revert ZeroAmount(asset);
        uint256 total = market.supplyAssets(market.borrowIndex);
        uint256 cap = _configs[asset].supplyCap;
        if (total > cap) revert CapExceeded(asset, total, cap);
        Position storage held = _positions[msg.sender][asset];
        held.supplyShares = (held.supplyShares + shares).toUint128();
        _reportBoth(msg.sender, asset, PositionChange.Supply, received);
    }

    /// @notice Returns what `shares` are worth, as far as it is not lent. Never paused.
    /// @param shares The largest number means all that the caller has.
    function redeem(address asset, uint256 shares) external nonReentrant returns (uint256 assets) {
        _requireListed(asset);
        LendingMarket.Market storage market = _markets[asset];
        market.accrue();
        Position storage held = _positions[msg.sender][asset];
        if (shares == type(uint256).max) shares = held.supplyShares;
        if (shares > held.supplyShares) revert InsufficientSupply(asset, shares, held.supplyShares);
        assets = market.assetsOf(shares, market.borrowIndex);
        if (assets == 0) revert ZeroAmount(asset);
        if (assets > market.cash) revert InsufficientLiquidity(asset, assets, market.cash);
        market.redeem(shares, assets);
        held.supplyShares = (held.supplyShares - shares).toUint128();
        _reportBoth(msg.sender, asset, PositionChange.Redeem, assets);
        AssetTransfer.send(asset, msg.sender, assets);
    }

    // ---------------------------------------------------------------- roles

    /// @notice Lists an asset or changes its parameters. Decimals are read from the token.
    function configureAsset(address asset, AssetParameters calldata parameters)
        external
        restricted
        nonReentrant
    {
        AssetConfig storage config = _configs[asset];
        if (config.listed) {
            _markets[asset].accrue();
        } else {
            _list(asset, config);
        }
        _requireValid(parameters, config.decimals);
        _store(config, parameters);
        _markets[asset].reserveFactorBps = parameters.reserveFactorBps;
        emit AssetConfigured(
            asset,
            config.decimals,
            parameters.collateralFactorBps,
            parameters.borrowFactorBps,
            parameters.liquidationBonusBps,
            parameters.reserveFactorBps
        );
        InterestMath.Curve calldata curve = parameters.curve;
        emit CurveChanged(asset, curve.baseBps, curve.slopeBelowBps, curve.slopeAboveBps, curve.kinkBps);
        emit CapsChanged(asset, parameters.collateralCap, parameters.supplyCap, parameters.borrowCap);
        _reportMarket(asset);
    }

    /// @notice Lowers an asset's caps: what a risk officer may do at once. Raising them is a configuration.
    function lowerCaps(address asset, uint128 collateralCap, uint128 supplyCap, uint128 borrowCap)
        external
        restricted
    {
        _requireListed(asset);
        AssetConfig storage parameters = _configs[asset];
        bool isLower = collateralCap <= parameters.collateralCap && supplyCap <= parameters.supplyCap
            && borrowCap <= parameters.borrowCap;
        if (!isLower) revert CapRaised(asset);
        parameters.collateralCap = collateralCap;
        parameters.supplyCap = supplyCap;
        parameters.borrowCap = borrowCap;
        emit CapsChanged(asset, collateralCap, supplyCap, borrowCap);
    }

    /// @notice Stops new collateral, loans and supply of one asset. Exits and liquidation stay open.
    function freezeAsset(address asset) external restricted {
        _setFrozen(asset, true);
    }

    /// @notice Ends a freeze.
    function unfreezeAsset(address asset) external restricted {
        _setFrozen(asset, false);
    }

    /// @notice Stops new collateral, loans and supply. Exits and liquidation stay open.
    function pause() external restricted {
        _setPaused(true);
    }

    /// @notice Ends a pause.
    function unpause() external restricted {
        _setPaused(false);
    }

    /// @notice Replaces the oracle by one that has a feed for every listed asset.
    function setOracle(IPriceOracle oracle_) external restricted {
        _setOracle(oracle_);
    }

    /// @notice Pays out reserves: the treasury's part of interest that borrowers have paid. Lenders' money and collateral
    /// are out of reach.
    function withdrawReserves(address asset, uint256 amount, address recipient)
        external
        restricted
        nonReentrant
    {
        _requireListed(asset);
        if (recipient == address(0)) revert ZeroAddress();
        LendingMarket.Market storage market = _markets[asset];
        if (amount > market.reserves) revert InsufficientReserves(asset, amount, market.reserves);
        market.accrue();
        market.reserves -= amount.toUint128();
        emit ReservesWithdrawn(asset, recipient, amount);
        _reportMarket(asset);
        AssetTransfer.send(asset, recipient, amount);
    }

    // ---------------------------------------------------------------- views

    /// @notice An account's balances in one asset at this block, in base units.
    function position(address account, address asset)
        external
        view
        returns (uint256 collateral, uint256 debt, uint256 supplied)
    {
        Position storage held = _positions[account][asset];
        LendingMarket.Market storage market = _markets[asset];
        collateral = held.collateral;
        debt = _debtOf(account, asset);
        if (held.supplyShares != 0) supplied = market.assetsOf(held.supplyShares, market.currentIndex());
    }

    /// @notice An account's balances in one asset as they are kept: debt and supply in shares.
    function positionShares(address account, address asset) external view returns (Position memory) {
        return _positions[account][asset];
    }

    /// @notice Number of PositionChanged events that the account has had: the newest one's sequence.
    function accountSequence(address account) external view returns (uint64) {
        return _accounts[account].sequence;
    }

    /// @notice An asset's books as of its last change.
    function marketOf(address asset) external view returns (LendingMarket.Market memory) {
        _requireListed(asset);
        return _markets[asset];
    }

    /// @notice An asset's borrow index at this block.
    function borrowIndexOf(address asset) external view returns (uint256) {
        _requireListed(asset);
        return _markets[asset].currentIndex();
    }

    /// @notice What lenders of an asset own together at this block, in base units.
    function supplyAssetsOf(address asset) external view returns (uint256) {
        _requireListed(asset);
        return _markets[asset].supplyAssets(_markets[asset].currentIndex());
    }

    /// @notice All accounts' collateral in an asset, in base units.
    function collateralTotalOf(address asset) external view returns (uint256) {
        return _collateralTotals[asset];
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

    // ---------------------------------------------------------------- internals

    function _list(address asset, AssetConfig storage config) private {
        uint256 index = _assets.length;
        if (index == MAX_ASSETS) revert TooManyAssets(MAX_ASSETS);
        uint256 decimals = asset == AssetTransfer.NATIVE ? MAX_DECIMALS : IERC20Metadata(asset).decimals();
        if (decimals > MAX_DECIMALS) revert UnsupportedDecimals(asset, decimals);
        // Reverts without a feed: a crumb of what can never have a price would stop its holder's liquidation.
        oracle.priceBoundsUsd(asset);
        _assets.push(asset);
        (config.listed, config.index, config.decimals) = (true, index.toUint8(), decimals.toUint8());
        LendingMarket.Market storage market = _markets[asset];
        market.borrowIndex = uint128(InterestMath.RAY);
        market.accruedAt = uint40(block.timestamp);
    }

    function _store(AssetConfig storage config, AssetParameters calldata parameters) private {
        config.collateralFactorBps = parameters.collateralFactorBps;
        config.borrowFactorBps = parameters.borrowFactorBps;
        config.liquidationBonusBps = parameters.liquidationBonusBps;
        config.reserveFactorBps = parameters.reserveFactorBps;
        config.baseBps = parameters.curve.baseBps;
        config.slopeBelowBps = parameters.curve.slopeBelowBps;
        config.slopeAboveBps = parameters.curve.slopeAboveBps;
        config.kinkBps = parameters.curve.kinkBps;
        config.collateralCap = parameters.collateralCap;
        config.supplyCap = parameters.supplyCap;
        config.borrowCap = parameters.borrowCap;
    }

    function _requireValid(AssetParameters calldata parameters, uint8 decimals) private view {
        _requireRange("collateralFactorBps", parameters.collateralFactorBps, 0, BPS);
        _requireRange("borrowFactorBps", parameters.borrowFactorBps, 1, BPS);
        // With it (1 + bonus) · collateralFactor ≤ 1 + liquidationMargin: at the threshold a liquidation heals.
        uint256 maxBonusBps = liquidationMarginBps < MAX_BONUS_BPS ? liquidationMarginBps : MAX_BONUS_BPS;
        _requireRange("liquidationBonusBps", parameters.liquidationBonusBps, 0, maxBonusBps);
        _requireRange("reserveFactorBps", parameters.reserveFactorBps, 0, MAX_RESERVE_FACTOR_BPS);
        _requireRange("kinkBps", parameters.curve.kinkBps, 1, BPS - 1);
        uint256 maxCap = MAX_CAP / 10 ** (MAX_DECIMALS - decimals);
        _requireRange("collateralCap", parameters.collateralCap, 0, maxCap);
        _requireRange("supplyCap", parameters.supplyCap, 0, maxCap);
        _requireRange("borrowCap", parameters.borrowCap, 0, maxCap);
    }

    function _requireRange(bytes32 parameter, uint256 value, uint256 low, uint256 high) private pure {
        if (value < low || value > high) revert ParameterOutOfRange(parameter, value);
    }

    function _setFrozen(address asset, bool frozen) private {
        _requireListed(asset);
        _configs[asset].frozen = frozen;
        emit AssetFrozen(asset, frozen);
    }

    function _setPaused(bool paused_) private {
        paused = paused_;
        emit PausedChanged(paused_);
    }

    function _setOracle(IPriceOracle oracle_) private {
        if (address(oracle_) == address(0)) revert ZeroAddress();
        // As when listing: every asset needs a feed.
        address[] memory assets = _assets;
        for (uint256 i = 0; i < assets.length; ++i) {
            oracle_.priceBoundsUsd(assets[i]);
        }
        oracle = oracle_;
        emit OracleChanged(address(oracle_));
    }
}
