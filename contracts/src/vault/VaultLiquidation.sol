// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {AssetTransfer} from "../libraries/AssetTransfer.sol";
import {InterestMath} from "../libraries/InterestMath.sol";
import {LendingMarket} from "../libraries/LendingMarket.sol";
import {VaultMargin} from "./VaultMargin.sol";

/// @title Liquidation, and what happens to debt that nothing covers
/// @notice Never paused, and the same for every asset on either side, the native one included. The rules follow Aave
/// v3.3 (https://aave.com/docs): half of a debt at a time unless the account is far below its margin or a side is small,
/// and no remainder that nobody would care to liquidate.
abstract contract VaultLiquidation is VaultMargin {
    using LendingMarket for LendingMarket.Market;

    struct Liquidation {
        uint256 debt;
        uint256 collateral;
        uint256 debtUnit;
        uint256 collateralUnit;
        uint256 bonusBps;
        uint256 repay;
        uint256 seize;
    }

    /// @notice Part of a debt that one liquidation may repay.
    uint256 public constant CLOSE_FACTOR_BPS = 5000;
    /// @notice Below this part of the collateral that the liquidation margin asks for, all of a debt may be repaid.
    uint256 public constant CLOSE_OUT_BPS = 9500;
    /// @notice A debt or collateral worth less may be taken whole.
    uint256 public constant SMALL_POSITION_USD = 2000e36;
    /// @notice What is left of both sides is worth at least this much each, or one of them is gone.
    uint256 public constant MIN_LEFT_USD = 1000e36;
    /// @notice All collateral of an account together, when it is worth less, does not keep a loss out of the books.
    uint256 public constant WORTHLESS_USD = 1e36;

    /// @notice Repays up to `repayAmount` of an account's debt and takes collateral of that worth plus the bonus.
    /// @dev For native debt send at least what is due; the rest comes back. The two assets need prices; what else the
    /// account holds and has none counts at its best for the account (`isLiquidatable`), so that nobody is liquidated on a
    /// price that cannot be believed, and nobody is safe by holding a crumb of something that has none.
    /// @param repayAmount Most to repay; more than allowed means as much as is allowed.
    /// @param minSeized Reverts when the collateral received would be less.
    function liquidate(
        address account,
        address debtAsset,
        address collateralAsset,
        uint256 repayAmount,
        uint256 minSeized
    ) external payable nonReentrant returns (uint256 repaid, uint256 seized) {
        _requireListed(debtAsset);
        _requireListed(collateralAsset);
        _markets[debtAsset].accrue();
        Liquidation memory plan = _plan(account, debtAsset, collateralAsset, repayAmount);
        (repaid, seized) = (plan.repay, plan.seize);
        uint256 received = _receiveDue(debtAsset, repaid);
        if (received < repaid) {
            // A token that takes a fee: what did not arrive was not paid and buys nothing.
            seized = Math.mulDiv(seized, received, repaid);
            repaid = received;
        }
        if (seized == 0) revert AmountTooSmall(collateralAsset, seized);
        if (seized < minSeized) revert SeizedTooLittle(seized, minSeized);
        _settle(account, debtAsset, collateralAsset, repaid, seized);
        AssetTransfer.send(collateralAsset, msg.sender, seized);
    }

    function _settle(
        address account,
        address debtAsset,
        address collateralAsset,
        uint256 repaid,
        uint256 seized
    ) private {
        _takeDebt(account, debtAsset, repaid);
        _reportBoth(account, debtAsset, PositionChange.LiquidateDebt, repaid);
        _takeCollateral(account, collateralAsset, seized);
        _reportPosition(account, collateralAsset, PositionChange.LiquidateCollateral, seized);
        emit Liquidated(account, msg.sender, debtAsset, collateralAsset, repaid, seized);
        bool isAllTaken = _positions[account][collateralAsset].collateral == 0;
        if (isAllTaken && _isWorthless(account) && isLiquidatable(account)) _realiseLoss(account);
    }

    /// @dev Whether nobody would come for what collateral is left, whatever it may count for.
    function _isWorthless(address account) private view returns (bool) {
        uint256 collateralAssets = _accounts[account].collateralAssets;
        uint256 mostUsd = 0;
        for (uint256 i = 0; collateralAssets >> i != 0; ++i) {
            if ((collateralAssets >> i) & 1 == 0) continue;
            (, uint256 high) = _unitPriceRange(_assets[i], 0, true);
            mostUsd += _positions[account][_assets[i]].collateral * high;
        }
        return mostUsd < WORTHLESS_USD;
    }

    /// @dev Nothing covers what is left of the debts: the markets know at once. Crumbs of collateral are the treasury's.
    function _realiseLoss(address account) private {
        uint256 collateralAssets = _accounts[account].collateralAssets;
        uint256 debtAssets = _accounts[account].debtAssets;
        for (uint256 i = 0; (collateralAssets | debtAssets) >> i != 0; ++i) {
            if ((collateralAssets >> i) & 1 == 1) _takeCrumb(account, _assets[i]);
            if ((debtAssets >> i) & 1 == 1) _writeOffDebt(account, _assets[i]);
        }
    }

    function _plan(address account, address debtAsset, address collateralAsset, uint256 repayAmount)
        private
        view
        returns (Liquidation memory plan)
    {
        plan.debt = _debtOf(account, debtAsset);
        plan.collateral = _positions[account][collateralAsset].collateral;
        if (plan.debt == 0) revert NoDebt(account, debtAsset);
        if (plan.collateral == 0) revert InsufficientCollateral(collateralAsset, 1, 0);
        plan.debtUnit = _unitPrice(debtAsset);
        plan.collateralUnit = _unitPrice(collateralAsset);
        plan.bonusBps = _configs[collateralAsset].liquidationBonusBps;
        uint256[] memory knownUnits = new uint256[](MAX_ASSETS);
        knownUnits[_configs[debtAsset].index] = plan.debtUnit;
        knownUnits[_configs[collateralAsset].index] = plan.collateralUnit;
        plan.repay = Math.min(repayAmount, _mostRepayable(account, plan, knownUnits));
        if (plan.repay == 0) revert ZeroAmount(debtAsset);
        plan.seize = Math.mulDiv(plan.repay * plan.debtUnit, BPS + plan.bonusBps, plan.collateralUnit * BPS);
        if (plan.seize > plan.collateral) {
            plan.seize = plan.collateral;
            uint256 worth = Math.mulDiv(
                plan.collateral * plan.collateralUnit,
                BPS,
                plan.debtUnit * (BPS + plan.bonusBps),
                Math.Rounding.Ceil
            );
            // A payment of less than a share would be refused, and nobody could take the last of a collateral.
            uint256 least = InterestMath.debtOf(1, _markets[debtAsset].borrowIndex);
            plan.repay = Math.min(plan.repay, Math.max(worth, least));
        }
        _requireNoDust(plan);
    }

    function _mostRepayable(address account, Liquidation memory plan, uint256[] memory knownUnits)
        private
        view
        returns (uint256)
    {
        (uint256 collateralUsd, uint256 debtUsd) = _valueOf(account, knownUnits, true);
        if (!_isBelowMargin(collateralUsd, debtUsd, liquidationMarginBps)) {
            revert NotLiquidatable(account, collateralUsd, _requiredUsd(debtUsd, liquidationMarginBps));
        }
        bool isCloseOut = collateralUsd * BPS * BPS < debtUsd * (BPS + liquidationMarginBps) * CLOSE_OUT_BPS;
        bool isSmall = plan.debt * plan.debtUnit < SMALL_POSITION_USD
            || plan.collateral * plan.collateralUnit < SMALL_POSITION_USD;
        return isCloseOut || isSmall ? plan.debt : plan.debt * CLOSE_FACTOR_BPS / BPS;
    }

    function _requireNoDust(Liquidation memory plan) private pure {
        uint256 debtLeft = plan.debt - plan.repay;
        uint256 collateralLeft = plan.collateral - plan.seize;
        if (debtLeft == 0 || collateralLeft == 0) return;
        uint256 debtLeftUsd = debtLeft * plan.debtUnit;
        uint256 collateralLeftUsd = collateralLeft * plan.collateralUnit;
        if (debtLeftUsd < MIN_LEFT_USD || collateralLeftUsd < MIN_LEFT_USD) {
            revert DustLeft(debtLeftUsd, collateralLeftUsd);
        }
    }
}
