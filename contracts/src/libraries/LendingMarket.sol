// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {InterestMath} from "./InterestMath.sol";

/// @title The books of one asset's lenders and borrowers
/// @notice Lenders hold shares of `supplyAssets = cash + debt − pendingReserves`; borrowers hold shares of debt that
/// grow with the index. Collateral is not part of these books: it is never lent out.
/// @dev What is owed to lenders is rounded down, what is owed by borrowers up. Virtual shares and one virtual base unit
/// keep the price of a supply share from being moved by whoever comes first
/// (https://docs.openzeppelin.com/contracts/5.x/erc4626). Tokens sent without a call count for nobody.
library LendingMarket {
    using Math for uint256;
    using SafeCast for uint256;

    struct Market {
        /// @dev Base units that can be lent or redeemed now.
        uint128 cash;
        uint128 supplyShares;
        uint128 debtShares;
        uint128 borrowIndex;
        /// @dev The treasury's part of interest that borrowers have not paid yet.
        uint128 pendingReserves;
        /// @dev The treasury's part of interest that has been paid: held apart from `cash`.
        uint128 reserves;
        uint96 ratePerSecond;
        uint40 accruedAt;
        uint64 sequence;
        uint16 reserveFactorBps;
    }

    uint256 internal constant VIRTUAL_SHARES = 1e6;
    uint256 internal constant VIRTUAL_ASSETS = 1;

    /// @notice The index at this block.
    function currentIndex(Market storage market) internal view returns (uint256) {
        uint256 elapsedS = block.timestamp - market.accruedAt;
        if (elapsedS == 0) return market.borrowIndex;
        return InterestMath.grow(market.borrowIndex, market.ratePerSecond, elapsedS);
    }

    /// @notice Adds the interest since the last accrual. Must come before every change.
    function accrue(Market storage market) internal {
        if (market.accruedAt == block.timestamp) return;
        uint256 index = currentIndex(market);
        uint256 pending = pendingAt(market, index);
        if (pending != market.pendingReserves) market.pendingReserves = pending.toUint128();
        if (index != market.borrowIndex) market.borrowIndex = index.toUint128();
        market.accruedAt = uint40(block.timestamp);
    }

    /// @notice The treasury's unpaid part of interest at an index not below the market's.
    function pendingAt(Market storage market, uint256 index) internal view returns (uint256) {
        uint256 shares = market.debtShares;
        uint256 interest =
            shares.mulDiv(index, InterestMath.RAY) - shares.mulDiv(market.borrowIndex, InterestMath.RAY);
        return market.pendingReserves + interest * market.reserveFactorBps / InterestMath.BPS;
    }

    /// @notice What borrowers owe together, rounded down.
    function totalDebt(Market storage market, uint256 index) internal view returns (uint256) {
        return uint256(market.debtShares).mulDiv(index, InterestMath.RAY);
    }

    /// @notice What lenders own together.
    function supplyAssets(Market storage market, uint256 index) internal view returns (uint256) {
        return market.cash + totalDebt(market, index).saturatingSub(pendingAt(market, index));
    }

    /// @notice What `shares` of supply can be redeemed for, rounded down.
    function assetsOf(Market storage market, uint256 shares, uint256 index) internal view returns (uint256) {
        return
            shares.mulDiv(supplyAssets(market, index) + VIRTUAL_ASSETS, market.supplyShares + VIRTUAL_SHARES);
    }

    /// @notice Takes `assets` from a lender.
    /// @return shares What they buy, rounded down; 0 is for the caller to refuse.
    function supply(Market storage market, uint256 assets) internal returns (uint256 shares) {
        shares = assets.mulDiv(
            market.supplyShares + VIRTUAL_SHARES, supplyAssets(market, market.borrowIndex) + VIRTUAL_ASSETS
        );
        market.cash = (market.cash + assets).toUint128();
        market.supplyShares = (market.supplyShares + shares).toUint128();
    }

    /// @notice Takes shares back from a lender. The caller has checked that `cash` covers them.
    function redeem(Market storage market, uint256 shares, uint256 assets) internal {
        market.cash = (market.cash - assets).toUint128();
        market.supplyShares = (market.supplyShares - shares).toUint128();
    }

    /// @notice Lends `amount`. The caller has checked that `cash` covers it.
    function borrow(Market storage market, uint256 amount) internal returns (uint256 shares) {
        shares = InterestMath.sharesOfLoan(amount, market.borrowIndex);
        market.cash = (market.cash - amount).toUint128();
        market.debtShares = (market.debtShares + shares).toUint128();
    }

    /// @notice Takes `amount` for `shares` of debt; the treasury's part of the interest in it becomes its own.
    function repay(Market storage market, uint256 shares, uint256 amount) internal {
        uint256 pending = market.pendingReserves;
        uint256 paid = Math.min(pending.mulDiv(shares, market.debtShares), amount);
        if (paid != 0) {
            market.pendingReserves = (pending - paid).toUint128();
            market.reserves = (market.reserves + paid).toUint128();
        }
        market.cash = (market.cash + amount - paid).toUint128();
        market.debtShares = (market.debtShares - shares).toUint128();
    }

    /// @notice Gives up `shares` of debt. The treasury bears the loss first, unpaid part before paid part, and the
    /// lenders the rest, at once: there is nobody who could leave before the others.
    /// @return loss Base units given up.
    /// @return borneByReserves Part of it that the treasury bore.
    function writeOff(Market storage market, uint256 shares)
        internal
        returns (uint256 loss, uint256 borneByReserves)
    {
        uint256 index = market.borrowIndex;
        uint256 before = totalDebt(market, index);
        market.debtShares = (market.debtShares - shares).toUint128();
        loss = before - totalDebt(market, index);
        uint256 fromPending = Math.min(market.pendingReserves, loss);
        uint256 fromReserves = Math.min(market.reserves, loss - fromPending);
        market.pendingReserves = (market.pendingReserves - fromPending).toUint128();
        market.reserves = (market.reserves - fromReserves).toUint128();
        market.cash = (market.cash + fromReserves).toUint128();
        borneByReserves = fromPending + fromReserves;
    }

    /// @notice The rate that holds from books just accrued until the next change.
    function rateOf(Market memory market, InterestMath.Curve memory curve) internal pure returns (uint96) {
        uint256 debt = uint256(market.debtShares).mulDiv(market.borrowIndex, InterestMath.RAY);
        return InterestMath.ratePerSecond(curve, market.cash, debt).toUint96();
    }
}
