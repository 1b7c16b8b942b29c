// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {IPriceOracle} from "../interfaces/IPriceOracle.sol";
import {IVault} from "../interfaces/IVault.sol";
import {AssetTransfer} from "../libraries/AssetTransfer.sol";
import {InterestMath} from "../libraries/InterestMath.sol";
import {LendingMarket} from "../libraries/LendingMarket.sol";

/// @title What the vault keeps: assets, markets, positions; how they change and are reported
abstract contract VaultBooks is IVault, ReentrancyGuardTransient {
    using LendingMarket for LendingMarket.Market;
    using SafeCast for uint256;

    struct Account {
        uint64 sequence;
        /// @dev Bit i is set while the account has collateral, or debt, in the i-th listed asset.
        uint32 collateralAssets;
        uint32 debtAssets;
    }

    /// @dev What of a PositionChanged event is not read as it is stored.
    struct Report {
        uint64 sequence;
        uint256 debt;
        uint256 supplied;
        uint256 index;
    }

    uint256 internal constant BPS = 10_000;
    /// @notice Bounds the prices that one call can need; the width of the sets in Account.
    uint256 public constant MAX_ASSETS = 32;

    IPriceOracle public oracle;
    /// @notice Whether new collateral, loans and supply are refused everywhere. Exits and liquidation never are.
    bool public paused;

    address[] internal _assets;
    mapping(address asset => AssetConfig config) internal _configs;
    mapping(address asset => LendingMarket.Market market) internal _markets;
    mapping(address asset => uint256 amount) internal _collateralTotals;
    mapping(address account => mapping(address asset => Position position)) internal _positions;
    mapping(address account => Account state) internal _accounts;

    // ---------------------------------------------------------------- what may be done

    function _requireListed(address asset) internal view {
        if (!_configs[asset].listed) revert AssetNotListed(asset);
    }

    /// @dev For what adds to positions; whatever reduces them asks for `_requireListed` only.
    function _requireOpen(address asset) internal view {
        _requireListed(asset);
        if (paused) revert VaultPaused();
        if (_configs[asset].frozen) revert AssetIsFrozen(asset);
    }

    // ---------------------------------------------------------------- moving assets

    /// @dev Takes exactly `amount` of the native value, or what arrives of a token transfer.
    function _receive(address asset, uint256 amount) internal returns (uint256 received) {
        if (asset == AssetTransfer.NATIVE) {
            if (msg.value != amount) revert WrongValue(asset, msg.value, amount);
            return amount;
        }
        return _pull(asset, amount);
    }

    /// @dev As `_receive` for a payment of which only now is known how much is due: native surplus goes back.
    function _receiveDue(address asset, uint256 amount) internal returns (uint256 received) {
        if (asset == AssetTransfer.NATIVE) {
            if (msg.value < amount) revert WrongValue(asset, msg.value, amount);
            uint256 surplus = msg.value - amount;
            if (surplus != 0) Address.sendValue(payable(msg.sender), surplus);
            return amount;
        }
        return _pull(asset, amount);
    }

    function _pull(address token, uint256 amount) private returns (uint256 received) {
        if (msg.value != 0) revert WrongValue(token, msg.value, 0);
        if (amount == 0) return 0;
        return Math.min(AssetTransfer.pull(token, msg.sender, address(this), amount), amount);
    }

    // ---------------------------------------------------------------- changing balances

    function _addCollateral(address account, address asset, uint256 amount) internal {
        Position storage held = _positions[account][asset];
        uint256 total = _collateralTotals[asset] + amount;
        uint256 cap = _configs[asset].collateralCap;
        if (total > cap) revert CapExceeded(asset, total, cap);
        _collateralTotals[asset] = total;
        held.collateral = (held.collateral + amount).toUint128();
        _accounts[account].collateralAssets |= _bitOf(asset);
    }

    function _takeCollateral(address account, address asset, uint256 amount) internal {
        Position storage held = _positions[account][asset];
        if (amount > held.collateral) revert InsufficientCollateral(asset, amount, held.collateral);
        _collateralTotals[asset] -= amount;
        // forge-lint: disable-next-line(unsafe-typecast) not above a uint128
        held.collateral -= uint128(amount);
        if (held.collateral == 0) _accounts[account].collateralAssets &= ~_bitOf(asset);
    }

    function _addDebt(address account, address asset, uint256 amount) internal {
        LendingMarket.Market storage market = _markets[asset];
        if (amount > market.cash) revert InsufficientLiquidity(asset, amount, market.cash);
        uint256 shares = market.borrow(amount);
        uint256 total = InterestMath.debtOf(market.debtShares, market.borrowIndex);
        uint256 cap = _configs[asset].borrowCap;
        if (total > cap) revert CapExceeded(asset, total, cap);
        Position storage held = _positions[account][asset];
        held.debtShares = (held.debtShares + shares).toUint128();
        _accounts[account].debtAssets |= _bitOf(asset);
    }

    /// @param amount What was paid, not more than the debt.
    function _takeDebt(address account, address asset, uint256 amount) internal {
        LendingMarket.Market storage market = _markets[asset];
        Position storage held = _positions[account][asset];
        uint256 index = market.borrowIndex;
        bool isAll = amount >= InterestMath.debtOf(held.debtShares, index);
        uint256 shares = isAll ? held.debtShares : InterestMath.sharesOfPayment(amount, index);
        if (shares == 0) revert AmountTooSmall(asset, amount);
        market.repay(shares, amount);
        _dropDebtShares(account, asset, held, shares);
    }

    /// @dev All of the account's collateral in one asset becomes reserves.
    function _takeCrumb(address account, address asset) internal {
        uint256 amount = _positions[account][asset].collateral;
        LendingMarket.Market storage market = _markets[asset];
        market.accrue();
        market.reserves = (market.reserves + amount).toUint128();
        _takeCollateral(account, asset, amount);
        _reportBoth(account, asset, PositionChange.LiquidateCollateral, amount);
    }

    function _writeOffDebt(address account, address asset) internal {
        LendingMarket.Market storage market = _markets[asset];
        market.accrue();
        Position storage held = _positions[account][asset];
        uint256 shares = held.debtShares;
        uint256 amount = InterestMath.debtOf(shares, market.borrowIndex);
        (uint256 loss, uint256 borneByReserves) = market.writeOff(shares);
        _dropDebtShares(account, asset, held, shares);
        emit BadDebtRealised(account, asset, loss, borneByReserves);
        _reportBoth(account, asset, PositionChange.WriteOff, amount);
    }

    function _dropDebtShares(address account, address asset, Position storage held, uint256 shares) private {
        held.debtShares = (held.debtShares - shares).toUint128();
        if (held.debtShares == 0) _accounts[account].debtAssets &= ~_bitOf(asset);
    }

    function _curveOf(address asset) private view returns (InterestMath.Curve memory) {
        AssetConfig storage config = _configs[asset];
        return InterestMath.Curve({
            baseBps: config.baseBps,
            slopeBelowBps: config.slopeBelowBps,
            slopeAboveBps: config.slopeAboveBps,
            kinkBps: config.kinkBps
        });
    }

    function _bitOf(address asset) private view returns (uint32) {
        return uint32(1) << _configs[asset].index;
    }

    // ---------------------------------------------------------------- reporting

    /// @dev For changes of collateral, which is no part of the market's books.
    function _reportPosition(address account, address asset, PositionChange kind, uint256 amount) internal {
        LendingMarket.Market storage market = _markets[asset];
        Position memory held = _positions[account][asset];
        uint256 index = market.currentIndex();
        Report memory report = Report({
            sequence: ++_accounts[account].sequence,
            debt: InterestMath.debtOf(held.debtShares, index),
            supplied: held.supplyShares == 0 ? 0 : market.assetsOf(held.supplyShares, index),
            index: index
        });
        emit PositionChanged(
            account,
            asset,
            report.sequence,
            kind,
            amount,
            held.collateral,
            held.debtShares,
            report.debt,
            held.supplyShares,
            report.supplied,
            report.index
        );
    }

    /// @dev For changes that the market's books know too: sets the new rate and reports both.
    function _reportBoth(address account, address asset, PositionChange kind, uint256 amount) internal {
        _reportMarket(asset);
        _reportPosition(account, asset, kind, amount);
    }

    function _reportMarket(address asset) internal {
        LendingMarket.Market storage stored = _markets[asset];
        LendingMarket.Market memory market = stored;
        market.ratePerSecond = LendingMarket.rateOf(market, _curveOf(asset));
        ++market.sequence;
        (stored.ratePerSecond, stored.sequence) = (market.ratePerSecond, market.sequence);
        emit MarketChanged(
            asset,
            market.sequence,
            market.cash,
            market.supplyShares,
            market.debtShares,
            market.borrowIndex,
            market.pendingReserves,
            market.reserves,
            market.ratePerSecond,
            market.reserveFactorBps
        );
    }
}
