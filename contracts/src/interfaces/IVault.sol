// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {InterestMath} from "../libraries/InterestMath.sol";

/// @title The vault's types, events and errors
/// @notice The native asset is address(0). Amounts are base units, factors and margins basis points, indexes and rates
/// have 27 decimals, USD values 36.
interface IVault {
    /// @notice What a PositionChanged event reports. The numbers are part of the event's format.
    enum PositionChange {
        None,
        Deposit,
        Withdraw,
        Borrow,
        Repay,
        Supply,
        Redeem,
        LiquidateDebt,
        LiquidateCollateral,
        WriteOff
    }

    /// @notice What an asset may be used for and what that costs.
    struct AssetParameters {
        /// @dev Part of the asset's value that counts as collateral, 0 to 10000.
        uint16 collateralFactorBps;
        /// @dev What the asset's debt is divided by, 1 to 10000.
        uint16 borrowFactorBps;
        /// @dev What a liquidator gets of this collateral on top of what it paid.
        uint16 liquidationBonusBps;
        /// @dev The treasury's part of interest.
        uint16 reserveFactorBps;
        InterestMath.Curve curve;
        /// @dev Most base units of each kind, all accounts together; 0 forbids the use.
        uint128 collateralCap;
        uint128 supplyCap;
        uint128 borrowCap;
    }

    /// @notice AssetParameters as they are kept, in as few slots as they fit, and what is not a parameter.
    struct AssetConfig {
        uint16 collateralFactorBps;
        uint16 borrowFactorBps;
        uint16 liquidationBonusBps;
        uint16 reserveFactorBps;
        uint16 baseBps;
        uint16 slopeBelowBps;
        uint16 slopeAboveBps;
        uint16 kinkBps;
        uint8 decimals;
        uint8 index;
        bool listed;
        bool frozen;
        uint128 collateralCap;
        uint128 supplyCap;
        uint128 borrowCap;
    }

    struct Position {
        uint128 collateral;
        uint128 debtShares;
        uint128 supplyShares;
    }

    /// @notice An account's balances in one asset changed: the whole fact, so that state can be rebuilt from events.
    /// @param sequence Counts the account's events: 1, 2, 3 …, without gaps.
    /// @param kind 1 deposit, 2 withdraw, 3 borrow, 4 repay, 5 supply, 6 redeem, 7 debt paid by a liquidator,
    /// 8 collateral taken by a liquidator, 9 debt written off.
    /// @param amount Base units that moved; of a payment, what arrived.
    /// @param debtAfter `debtSharesAfter` at `borrowIndex`, rounded up.
    /// @param suppliedAfter What `supplySharesAfter` can be redeemed for, rounded down.
    event PositionChanged(
        address indexed account,
        address indexed asset,
        uint64 sequence,
        PositionChange kind,
        uint256 amount,
        uint256 collateralAfter,
        uint256 debtSharesAfter,
        uint256 debtAfter,
        uint256 supplySharesAfter,
        uint256 suppliedAfter,
        uint256 borrowIndex
    );
    /// @notice A market's books changed: all of them, as of this block. Until the next one the index grows with
    /// `ratePerSecond`, so that every amount at every later time follows from this event.
    /// @param sequence Counts the market's events: 1, 2, 3 …, without gaps.
    event MarketChanged(
        address indexed asset,
        uint64 sequence,
        uint256 cash,
        uint256 supplyShares,
        uint256 debtShares,
        uint256 borrowIndex,
        uint256 pendingReserves,
        uint256 reserves,
        uint256 ratePerSecond,
        uint256 reserveFactorBps
    );
    event Liquidated(
        address indexed account,
        address indexed liquidator,
        address debtAsset,
        address collateralAsset,
        uint256 repaid,
        uint256 seized
    );
    event BadDebtRealised(
        address indexed account, address indexed asset, uint256 loss, uint256 borneByReserves
    );
    event AssetConfigured(
        address indexed asset,
        uint8 decimals,
        uint16 collateralFactorBps,
        uint16 borrowFactorBps,
        uint16 liquidationBonusBps,
        uint16 reserveFactorBps
    );
    event CurveChanged(
        address indexed asset, uint16 baseBps, uint16 slopeBelowBps, uint16 slopeAboveBps, uint16 kinkBps
    );
    event CapsChanged(address indexed asset, uint128 collateralCap, uint128 supplyCap, uint128 borrowCap);
    event AssetFrozen(address indexed asset, bool frozen);
    event OracleChanged(address indexed oracle);
    event PausedChanged(bool paused);
    event ReservesWithdrawn(address indexed asset, address recipient, uint256 amount);

    error AssetNotListed(address asset);
    error AssetIsFrozen(address asset);
    error VaultPaused();
    error TooManyAssets(uint256 limit);
    error WrongValue(address asset, uint256 sent, uint256 due);
    error ZeroAmount(address asset);
    error ZeroAddress();
    error AmountTooSmall(address asset, uint256 amount);
    error InsufficientCollateral(address asset, uint256 requested, uint256 available);
    error InsufficientLiquidity(address asset, uint256 requested, uint256 available);
    error InsufficientSupply(address asset, uint256 requestedShares, uint256 availableShares);
    error InsufficientReserves(address asset, uint256 requested, uint256 available);
    error NoDebt(address account, address asset);
    error CapExceeded(address asset, uint256 total, uint256 cap);
    error CapRaised(address asset);
    error InitialMarginNotMet(address account, uint256 collateralUsd, uint256 requiredUsd);
    error NotLiquidatable(address account, uint256 collateralUsd, uint256 requiredUsd);
    error DustLeft(uint256 debtLeftUsd, uint256 collateralLeftUsd);
    error SeizedTooLittle(uint256 seized, uint256 minSeized);
    error ParameterOutOfRange(bytes32 parameter, uint256 value);
    error UnsupportedDecimals(address asset, uint256 decimals);
}
