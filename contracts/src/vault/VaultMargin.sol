// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {InterestMath} from "../libraries/InterestMath.sol";
import {LendingMarket} from "../libraries/LendingMarket.sol";
import {VaultBooks} from "./VaultBooks.sol";

/// @title What accounts are worth and whether that is enough
/// @notice The margin model of shared/risk, with the same factors and thresholds:
/// `collateral = Σ amount · price · collateralFactor`, `debt = Σ amount · price / borrowFactor`. New loans need
/// `collateral ≥ (1 + initialMargin) · debt`; an account is liquidatable when
/// `collateral < (1 + liquidationMargin) · debt`. So an asset's loan-to-value is collateralFactor / (1 + initialMargin)
/// and its liquidation threshold, which is higher, collateralFactor / (1 + liquidationMargin).
/// @dev USD values have 36 decimals, at which every factor-free product of amount and price is exact. The rounding that
/// remains is against the account: collateral down, debt up. A listed cap is at most 2^108 base units of a token of 18
/// decimals and a price at most 2^100, which leaves 2^29 for the growth of debt before a sum could pass 2^256.
abstract contract VaultMargin is VaultBooks {
    using LendingMarket for LendingMarket.Market;

    uint256 private constant WAD = 1e18;

    /// @notice By how much collateral must exceed debt after a loan or a withdrawal: 5500 means 55 % of the debt.
    uint16 public immutable initialMarginBps;
    /// @notice Below this excess of collateral over debt an account may be liquidated.
    uint16 public immutable liquidationMarginBps;

    constructor(uint16 initialMarginBps_, uint16 liquidationMarginBps_) {
        if (liquidationMarginBps_ == 0 || liquidationMarginBps_ > BPS) {
            revert ParameterOutOfRange("liquidationMarginBps", liquidationMarginBps_);
        }
        if (initialMarginBps_ <= liquidationMarginBps_) {
            revert ParameterOutOfRange("initialMarginBps", initialMarginBps_);
        }
        initialMarginBps = initialMarginBps_;
        liquidationMarginBps = liquidationMarginBps_;
    }

    /// @notice Collateral (after collateral factors) and debt (after borrow factors, with interest up to this block) in
    /// USD with 36 decimals.
    /// @dev Asks for the prices of assets that the account holds and no other; reverts when one has none.
    function accountValue(address account) public view returns (uint256 collateralUsd, uint256 debtUsd) {
        return _valueOf(account, new uint256[](MAX_ASSETS), false);
    }

    /// @notice `collateral / ((1 + liquidationMargin) · debt)` with 18 decimals, rounded down: below 1 the account may be
    /// liquidated. The largest number without debt. In the back office's terms health = ((1 + m) · factor − 1) · 100 %.
    function healthFactor(address account) external view returns (uint256) {
        if (_accounts[account].debtAssets == 0) return type(uint256).max;
        (uint256 collateralUsd, uint256 debtUsd) = accountValue(account);
        return Math.mulDiv(collateralUsd, WAD * BPS, debtUsd * (BPS + liquidationMarginBps));
    }

    /// @notice Whether the account may be liquidated at this block's prices and interest. What has no price now counts as
    /// its feed's bounds allow at best for the account: it shields as much as it may be worth, and no more.
    function isLiquidatable(address account) public view returns (bool) {
        if (_accounts[account].debtAssets == 0) return false;
        (uint256 collateralUsd, uint256 debtUsd) = _valueOf(account, new uint256[](MAX_ASSETS), true);
        return _isBelowMargin(collateralUsd, debtUsd, liquidationMarginBps);
    }

    /// @param knownUnits Unit prices that the caller has, by the assets' indexes; 0 is to be asked for.
    /// @param isBestCase What has no price counts as much as it may be worth, or its debt as little, instead of reverting.
    function _valueOf(address account, uint256[] memory knownUnits, bool isBestCase)
        internal
        view
        returns (uint256 collateralUsd, uint256 debtUsd)
    {
        (uint256 collateralAssets, uint256 debtAssets) =
            (_accounts[account].collateralAssets, _accounts[account].debtAssets);
        for (uint256 i = 0; (collateralAssets | debtAssets) >> i != 0; ++i) {
            if (((collateralAssets | debtAssets) >> i) & 1 == 0) continue;
            address asset = _assets[i];
            (uint256 low, uint256 high) = _unitPriceRange(asset, knownUnits[i], isBestCase);
            if ((collateralAssets >> i) & 1 == 1) {
                collateralUsd += uint256(_positions[account][asset].collateral) * high
                * _configs[asset].collateralFactorBps / BPS;
            }
            if ((debtAssets >> i) & 1 == 1) {
                debtUsd += Math.ceilDiv(_debtOf(account, asset) * low * BPS, _configs[asset].borrowFactorBps);
            }
        }
    }

    /// @dev Free of prices without debt: a broken feed must not lock what nobody has a claim on.
    function _requireInitialMargin(address account) internal view {
        if (_accounts[account].debtAssets == 0) return;
        (uint256 collateralUsd, uint256 debtUsd) = accountValue(account);
        if (_isBelowMargin(collateralUsd, debtUsd, initialMarginBps)) {
            revert InitialMarginNotMet(account, collateralUsd, _requiredUsd(debtUsd, initialMarginBps));
        }
    }

    function _isBelowMargin(uint256 collateralUsd, uint256 debtUsd, uint256 marginBps)
        internal
        pure
        returns (bool)
    {
        return collateralUsd * BPS < debtUsd * (BPS + marginBps);
    }

    function _requiredUsd(uint256 debtUsd, uint256 marginBps) internal pure returns (uint256) {
        return Math.ceilDiv(debtUsd * (BPS + marginBps), BPS);
    }

    /// @dev USD of one base unit with 36 decimals.
    function _unitPrice(address asset) internal view returns (uint256) {
        return oracle.priceUsd(asset) * _unitScale(asset);
    }

    /// @dev As `_unitPrice`, twice; in the best case the bounds of a price that there is not.
    /// @param knownUnit What `_unitPrice` said before, or 0.
    function _unitPriceRange(address asset, uint256 knownUnit, bool isBestCase)
        internal
        view
        returns (uint256 low, uint256 high)
    {
        if (knownUnit != 0) return (knownUnit, knownUnit);
        if (!isBestCase) {
            low = _unitPrice(asset);
            return (low, low);
        }
        uint256 scale = _unitScale(asset);
        try oracle.priceUsd(asset) returns (uint256 price) {
            return (price * scale, price * scale);
        } catch {
            (low, high) = oracle.priceBoundsUsd(asset);
            return (low * scale, high * scale);
        }
    }

    function _unitScale(address asset) private view returns (uint256) {
        return 10 ** (18 - _configs[asset].decimals);
    }

    /// @dev With interest up to this block, whether or not the market has accrued.
    function _debtOf(address account, address asset) internal view returns (uint256) {
        uint256 shares = _positions[account][asset].debtShares;
        return shares == 0 ? 0 : InterestMath.debtOf(shares, _markets[asset].currentIndex());
    }
}
