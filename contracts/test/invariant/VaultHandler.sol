// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {Vault} from "../../src/Vault.sol";
import {IVault} from "../../src/interfaces/IVault.sol";
import {InterestMath} from "../../src/libraries/InterestMath.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {Test, Vm} from "../Test.sol";

/// @notice Random but valid actions of borrowers, lenders and liquidators on three tokens and the native asset, while
/// prices move and time passes.
/// @dev Keeps the projection that a reader of the events would have, and nothing the vault told it otherwise. What an
/// action may be refused for is listed with it; anything else fails the campaign.
contract VaultHandler is Test {
    struct Projection {
        uint256 collateral;
        uint256 debtShares;
        uint256 supplyShares;
    }

    struct Books {
        uint64 sequence;
        uint256 supplyShares;
        uint256 supplyAssets;
        uint256 borrowIndex;
    }

    /// @dev With 36 decimals: what one deposit or supply is worth at most.
    uint256 private constant LARGEST_USD = 1e6 * 1e36;

    Vault public immutable vault;
    address[] public accounts;
    address[] public assets;
    mapping(address asset => MockAggregator feed) private _feeds;

    mapping(address account => mapping(address asset => Projection projection)) public projections;
    mapping(address account => uint64 sequence) public sequences;
    mapping(address asset => Books books) public books;
    mapping(address asset => bool isBetween) private _hasLost;

    /// @notice How often an action took effect, by its name: a campaign that never liquidates proves nothing.
    mapping(bytes32 action => uint256 count) public counts;

    constructor(Vault vault_, address[] memory assets_, MockAggregator[] memory feeds) {
        vault = vault_;
        assets = assets_;
        accounts = [actor("alice"), actor("bob"), actor("carol"), actor("dave")];
        for (uint256 i = 0; i < assets_.length; ++i) {
            _feeds[assets_[i]] = feeds[i];
        }
    }

    modifier projected() {
        vm.recordLogs();
        _;
        _applyLogs(vm.getRecordedLogs());
    }

    receive() external payable {}

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }

    function assetCount() external view returns (uint256) {
        return assets.length;
    }

    function deposit(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        // Crumbs too: they must not keep a loss in the books.
        amount = amount % 4 == 0 ? 1 : bound(amount, 1, LARGEST_USD / _unitPrice(asset));
        _fund(account, asset, amount);
        vm.prank(account);
        vault.deposit{value: _valueOf(asset, amount)}(asset, amount);
    }

    function supply(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        amount = bound(amount, 1, LARGEST_USD / _unitPrice(asset));
        _fund(account, asset, amount);
        vm.prank(account);
        try vault.supply{value: _valueOf(asset, amount)}(asset, amount) {}
        catch (bytes memory reason) {
            // Where lenders have lost all but a billionth, shares would be too many to count.
            bool isLost = vault.supplyAssetsOf(asset) * 1e15 < vault.marketOf(asset).supplyShares;
            _assertRefusal(
                reason,
                IVault.ZeroAmount.selector,
                isLost ? SafeCast.SafeCastOverflowedUintDowncast.selector : IVault.CapExceeded.selector
            );
        }
    }

    function redeem(uint256 accountSeed, uint256 assetSeed, uint256 shares) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        uint256 held = vault.positionShares(account, asset).supplyShares;
        if (held == 0) return;
        vm.prank(account);
        try vault.redeem(asset, bound(shares, 1, held)) {
            ++counts["redeem"];
        } catch (bytes memory reason) {
            _assertRefusal(reason, IVault.ZeroAmount.selector, IVault.InsufficientLiquidity.selector);
        }
    }

    function withdraw(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        uint256 held = vault.positionShares(account, asset).collateral;
        if (held == 0) return;
        vm.prank(account);
        try vault.withdraw(asset, bound(amount, 1, held)) {
            _assertInitialMargin(account);
        } catch (bytes memory reason) {
            _assertRefusal(reason, IVault.InitialMarginNotMet.selector, bytes4(0));
        }
    }

    /// @dev Around what the margin allows, so that loans are often taken and often refused.
    function borrow(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        uint256 cash = vault.marketOf(asset).cash;
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(account);
        uint256 allowedUsd = collateralUsd * 10_000 / (10_000 + uint256(vault.initialMarginBps()));
        if (allowedUsd <= debtUsd) return;
        uint256 allowed =
            (allowedUsd - debtUsd) / _unitPrice(asset) * vault.assetConfig(asset).borrowFactorBps / 10_000;
        // Half of the loans are as large as they may be: only such an account is soon in need.
        amount = amount % 2 == 0 ? allowed : bound(amount, 0, allowed * 3 / 2);
        if (amount > cash) amount = cash;
        if (amount == 0) return;
        vm.prank(account);
        try vault.borrow(asset, amount) {
            ++counts["borrow"];
            _assertInitialMargin(account);
        } catch (bytes memory reason) {
            _assertRefusal(reason, IVault.InitialMarginNotMet.selector, bytes4(0));
        }
    }

    function repay(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        (, uint256 debt,) = vault.position(account, asset);
        if (debt == 0) return;
        amount = bound(amount, 1, debt + 1000);
        _fund(account, asset, amount);
        vm.prank(account);
        try vault.repay{value: _valueOf(asset, amount)}(asset, amount) {
            ++counts["repay"];
        } catch (bytes memory reason) {
            // Less than one share.
            _assertRefusal(reason, IVault.AmountTooSmall.selector, bytes4(0));
        }
    }

    function liquidate(uint256 accountSeed, uint256 debtSeed, uint256 collateralSeed, uint256 amount)
        external
        projected
    {
        address account = _debtorFrom(accountSeed);
        // Two of three times prices fall until somebody is in need: by chance alone that is rare.
        for (uint256 i = 0; amount % 3 != 0 && i < 8 && !vault.isLiquidatable(account); ++i) {
            crash(accountSeed, 60);
            account = _debtorFrom(accountSeed);
        }
        address debtAsset = _assetFrom(account, debtSeed, true);
        address collateralAsset = _assetFrom(account, collateralSeed, false);
        (, uint256 debt,) = vault.position(account, debtAsset);
        if (debt == 0 || vault.positionShares(account, collateralAsset).collateral == 0) return;
        bool isLiquidatable = vault.isLiquidatable(account);
        // Often for all of it: remainders are refused, and bad debt only comes to light at the end.
        amount = amount % 2 == 0 ? debt : bound(amount, 1, debt);
        _fund(address(this), debtAsset, debt);
        try vault.liquidate{value: _valueOf(debtAsset, debt)}(
            account, debtAsset, collateralAsset, amount, 0
        ) returns (
            uint256 repaid, uint256 seized
        ) {
            vm.assertTrue(isLiquidatable, "a healthy account was liquidated");
            ++counts["liquidate"];
            uint256 bonusBps = vault.assetConfig(collateralAsset).liquidationBonusBps;
            vm.assertLe(
                seized * _unitPrice(collateralAsset) * 10_000,
                repaid * _unitPrice(debtAsset) * (10_000 + bonusBps)
            );
            _assertLossIsRealised(account, collateralAsset);
        } catch (bytes memory reason) {
            // forge-lint: disable-next-line(unsafe-typecast) the selector is what is wanted
            bytes4 selector = bytes4(reason);
            if (isLiquidatable) {
                bool isSmall =
                    selector == IVault.AmountTooSmall.selector || selector == IVault.ZeroAmount.selector;
                // All of a debt is refused when it is worth less than the smallest part of this collateral.
                bool isCrumb = debt * _unitPrice(debtAsset) < 2 * _unitPrice(collateralAsset);
                vm.assertTrue(
                    selector == IVault.DustLeft.selector || (isSmall && (amount < debt || isCrumb)),
                    "liquidation was refused"
                );
            } else {
                vm.assertTrue(selector == IVault.NotLiquidatable.selector, "refused for another reason");
            }
            vm.getRecordedLogs();
        }
    }

    function movePrice(uint256 assetSeed, uint256 change) external {
        _scalePrice(assets[assetSeed % assets.length], bound(change, 50, 150));
    }

    /// @dev What one account has falls and what it owes rises.
    function crash(uint256 accountSeed, uint256 change) public {
        address account = accounts[accountSeed % accounts.length];
        for (uint256 i = 0; i < assets.length; ++i) {
            IVault.Position memory held = vault.positionShares(account, assets[i]);
            if (held.debtShares == 0 && held.collateral != 0) _scalePrice(assets[i], bound(change, 10, 90));
            if (held.debtShares != 0 && held.collateral == 0) _scalePrice(assets[i], 110);
        }
    }

    function passTime(uint256 seconds_) external {
        vm.warp(block.timestamp + bound(seconds_, 1, 60 days));
        for (uint256 i = 0; i < assets.length; ++i) {
            (, int256 answer,,,) = _feeds[assets[i]].latestRoundData();
            _feeds[assets[i]].updateAnswer(answer);
        }
    }

    function _scalePrice(address asset, uint256 percent) private {
        (, int256 answer,,,) = _feeds[asset].latestRoundData();
        // forge-lint: disable-next-line(unsafe-typecast) a percentage
        int256 moved = answer * int256(percent) / 100;
        _feeds[asset].updateAnswer(moved < 1e6 ? int256(1e6) : moved > 1e13 ? int256(1e13) : moved);
    }

    /// @dev The first account from the seed on that may be liquidated, if there is one.
    function _debtorFrom(uint256 seed) private view returns (address) {
        uint256 start = seed % accounts.length;
        for (uint256 i = 0; i < accounts.length; ++i) {
            address account = accounts[(start + i) % accounts.length];
            if (vault.isLiquidatable(account)) return account;
        }
        return accounts[start];
    }

    /// @dev The first asset from the seed on that the account owes, or holds, if there is one.
    function _assetFrom(address account, uint256 seed, bool owed) private view returns (address) {
        uint256 start = seed % assets.length;
        for (uint256 i = 0; i < assets.length; ++i) {
            address asset = assets[(start + i) % assets.length];
            IVault.Position memory held = vault.positionShares(account, asset);
            if ((owed ? held.debtShares : held.collateral) != 0) return asset;
        }
        return assets[start];
    }

    function _unitPrice(address asset) private view returns (uint256) {
        return vault.oracle().priceUsd(asset) * 10 ** (18 - vault.assetConfig(asset).decimals);
    }

    function _fund(address account, address asset, uint256 amount) private {
        if (asset == address(0)) {
            vm.deal(account, account.balance + amount);
        } else {
            MockERC20(asset).mint(account, amount);
            vm.prank(account);
            MockERC20(asset).approve(address(vault), amount);
        }
    }

    function _valueOf(address asset, uint256 amount) private pure returns (uint256) {
        return asset == address(0) ? amount : 0;
    }

    function _pick(uint256 accountSeed, uint256 assetSeed) private view returns (address, address) {
        return (accounts[accountSeed % accounts.length], assets[assetSeed % assets.length]);
    }

    function _assertInitialMargin(address account) private view {
        if (vault.healthFactor(account) == type(uint256).max) return;
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(account);
        vm.assertGe(collateralUsd * 10_000, debtUsd * (10_000 + uint256(vault.initialMarginBps())));
    }

    /// @dev Nobody who could still be liquidated owes on nothing but crumbs.
    function _assertLossIsRealised(address account, address seizedAsset) private {
        if (vault.positionShares(account, seizedAsset).collateral != 0) return;
        ++counts["take all of a collateral"];
        if (!vault.isLiquidatable(account)) return;
        uint256 leftUsd;
        for (uint256 i = 0; i < assets.length; ++i) {
            leftUsd += vault.positionShares(account, assets[i]).collateral * _unitPrice(assets[i]);
        }
        vm.assertTrue(leftUsd >= vault.WORTHLESS_USD(), "debt is left that nothing covers");
    }

    function _assertRefusal(bytes memory reason, bytes4 either, bytes4 other) private {
        // forge records the events of reverted calls too; a chain does not.
        vm.getRecordedLogs();
        // forge-lint: disable-next-line(unsafe-typecast) the selector is what is wanted
        bytes4 selector = bytes4(reason);
        vm.assertTrue(selector == either || selector == other, "refused for another reason");
    }

    function _applyLogs(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] == IVault.BadDebtRealised.selector) {
                _hasLost[address(uint160(uint256(logs[i].topics[2])))] = true;
            }
            if (logs[i].topics[0] == IVault.PositionChanged.selector) _applyPosition(logs[i]);
            if (logs[i].topics[0] == IVault.MarketChanged.selector) _applyMarket(logs[i]);
        }
    }

    function _applyPosition(Vm.Log memory log) private {
        address account = address(uint160(uint256(log.topics[1])));
        address asset = address(uint160(uint256(log.topics[2])));
        uint256[9] memory words = abi.decode(log.data, (uint256[9]));
        vm.assertEq(words[0], sequences[account] + 1, "sequence has a gap or a repeat");
        sequences[account] = uint64(words[0]);
        if (words[1] == uint256(IVault.PositionChange.WriteOff)) ++counts["write off"];

        Projection storage projection = projections[account][asset];
        if (words[1] == 1) projection.collateral += words[2];
        else if (words[1] == 2 || words[1] == 8) projection.collateral -= words[2];
        vm.assertEq(projection.collateral, words[3], "collateral does not follow from the amounts");
        vm.assertEq(words[5], InterestMath.debtOf(words[4], words[8]), "debt is not its shares at the index");
        _assertDebtChangesByNoMoreThanIsPaid(words, projection.debtShares);
        (projection.debtShares, projection.supplyShares) = (words[4], words[6]);
    }

    /// @dev A loan adds at least its amount of debt, a payment takes away at most its own.
    function _assertDebtChangesByNoMoreThanIsPaid(uint256[9] memory words, uint256 sharesBefore)
        private
        pure
    {
        (uint256 kind, uint256 amount, uint256 sharesAfter, uint256 index) =
            (words[1], words[2], words[4], words[8]);
        if (kind == uint256(IVault.PositionChange.Borrow)) {
            vm.assertGe((sharesAfter - sharesBefore) * index, amount * InterestMath.RAY);
        } else if (sharesAfter < sharesBefore && kind != uint256(IVault.PositionChange.WriteOff)) {
            vm.assertLe((sharesBefore - sharesAfter) * index, amount * InterestMath.RAY);
        }
    }

    /// @dev Nobody gains from the other lenders: a share of supply is worth no less after any change but a loss.
    function _applyMarket(Vm.Log memory log) private {
        address asset = address(uint160(uint256(log.topics[1])));
        uint256[9] memory words = abi.decode(log.data, (uint256[9]));
        Books storage known = books[asset];
        uint256 debt = words[3] * words[4] / InterestMath.RAY;
        uint256 supplyAssets = words[1] + (debt > words[5] ? debt - words[5] : 0);
        // The first ones, of the listing, came before this handler.
        if (known.sequence != 0) {
            vm.assertEq(words[0], known.sequence + 1, "market sequence has a gap or a repeat");
            vm.assertGe(words[4], known.borrowIndex);
            vm.assertTrue(
                (supplyAssets + 1) * (known.supplyShares + 1e6) >= (known.supplyAssets + 1) * (words[2] + 1e6)
                    || _hasLost[asset],
                "a share of supply has lost without a loss"
            );
        }
        _hasLost[asset] = false;
        books[asset] = Books(uint64(words[0]), words[2], supplyAssets, words[4]);
    }
}
