// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Vault} from "../../src/Vault.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {Test, Vm} from "../Test.sol";

/// @notice Random but valid actions of three accounts on two tokens and the native asset, while prices move.
/// @dev Keeps the projection that a reader of the events would have, and nothing the vault told it otherwise.
contract VaultHandler is Test {
    struct Projection {
        uint256 collateral;
        uint256 debt;
    }

    bytes32 private constant POSITION_CHANGED = Vault.PositionChanged.selector;
    uint256 private constant LARGEST_AMOUNT = 1e24;

    Vault public immutable vault;
    address[] public accounts;
    address[] public assets;
    mapping(address asset => MockAggregator feed) private _feeds;

    mapping(address account => mapping(address asset => Projection projection)) public projections;
    mapping(address account => uint64 sequence) public sequences;

    constructor(Vault vault_, address[] memory assets_, MockAggregator[] memory feeds) {
        vault = vault_;
        assets = assets_;
        accounts = [actor("alice"), actor("bob"), actor("carol")];
        for (uint256 i = 0; i < assets_.length; ++i) {
            _feeds[assets_[i]] = feeds[i];
        }
    }

    modifier projected() {
        vm.recordLogs();
        _;
        _applyLogs(vm.getRecordedLogs());
    }

    function accountCount() external view returns (uint256) {
        return accounts.length;
    }

    function assetCount() external view returns (uint256) {
        return assets.length;
    }

    function deposit(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        _pay(
            account,
            asset,
            bound(amount, 1, LARGEST_AMOUNT),
            Vault.deposit.selector,
            Vault.depositNative.selector
        );
    }

    function repay(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        (, uint256 debt) = vault.position(account, asset);
        if (debt == 0) return;
        _pay(account, asset, bound(amount, 1, debt), Vault.repay.selector, Vault.repayNative.selector);
    }

    /// @dev Whether the margin allows it is the vault's decision; the other reasons to revert are avoided here.
    function withdraw(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        (uint256 collateral,) = vault.position(account, asset);
        if (collateral == 0) return;
        vm.prank(account);
        try vault.withdraw(asset, bound(amount, 1, collateral)) {
            _assertInitialMargin(account);
        } catch (bytes memory reason) {
            _assertMarginRefusal(reason);
        }
    }

    function borrow(uint256 accountSeed, uint256 assetSeed, uint256 amount) external projected {
        (address account, address asset) = _pick(accountSeed, assetSeed);
        uint256 available = vault.liquidity(asset);
        if (available == 0) return;
        vm.prank(account);
        try vault.borrow(asset, bound(amount, 1, available)) {
            _assertInitialMargin(account);
        } catch (bytes memory reason) {
            _assertMarginRefusal(reason);
        }
    }

    function movePrice(uint256 assetSeed, uint256 price) external {
        _feeds[assets[assetSeed % assets.length]].updateAnswer(int256(bound(price, 1e6, 1e14)));
    }

    function _pay(address account, address asset, uint256 amount, bytes4 tokenFunction, bytes4 nativeFunction)
        private
    {
        bool done;
        if (asset == address(0)) {
            vm.deal(account, account.balance + amount);
            vm.prank(account);
            (done,) = address(vault).call{value: amount}(abi.encodePacked(nativeFunction));
        } else {
            MockERC20(asset).mint(account, amount);
            vm.startPrank(account);
            MockERC20(asset).approve(address(vault), amount);
            (done,) = address(vault).call(abi.encodeWithSelector(tokenFunction, asset, amount));
            vm.stopPrank();
        }
        vm.assertTrue(done, "a valid payment was refused");
    }

    function _pick(uint256 accountSeed, uint256 assetSeed) private view returns (address, address) {
        return (accounts[accountSeed % accounts.length], assets[assetSeed % assets.length]);
    }

    function _assertInitialMargin(address account) private view {
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(account);
        vm.assertGe(collateralUsd * 10_000, debtUsd * (10_000 + uint256(vault.initialMarginBps())));
    }

    function _assertMarginRefusal(bytes memory reason) private {
        // forge records the events of reverted calls too; a chain does not.
        vm.getRecordedLogs();
        // forge-lint: disable-next-line(unsafe-typecast) the selector is what is wanted
        vm.assertTrue(bytes4(reason) == Vault.InitialMarginNotMet.selector, "refused for another reason");
    }

    function _applyLogs(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != POSITION_CHANGED) continue;
            address account = address(uint160(uint256(logs[i].topics[1])));
            address asset = address(uint160(uint256(logs[i].topics[2])));
            (uint64 sequence, uint8 kind, uint256 amount, uint256 collateralAfter, uint256 debtAfter) =
                abi.decode(logs[i].data, (uint64, uint8, uint256, uint256, uint256));
            vm.assertEq(sequence, sequences[account] + 1, "sequence has a gap or a repeat");
            sequences[account] = sequence;

            Projection storage projection = projections[account][asset];
            if (kind == 1) projection.collateral += amount;
            else if (kind == 2) projection.collateral -= amount;
            else if (kind == 3) projection.debt += amount;
            else projection.debt -= amount;
            vm.assertEq(projection.collateral, collateralAfter, "collateral does not follow from the amounts");
            vm.assertEq(projection.debt, debtAfter, "debt does not follow from the amounts");
        }
    }
}
