// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {LendingMarket} from "../../src/libraries/LendingMarket.sol";
import {MockAggregator} from "../../src/mocks/MockAggregator.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {VaultFixture} from "../VaultFixture.sol";

/// @notice The vault against the back office: accounts that Python made up, with what shared/risk and
/// shared/domain/interest.py say of each. Every number must be equal, to the last digit.
/// @dev tests/differential/cases.py writes the file; without one of its own this runs the committed one.
contract MarginDifferentialTest is VaultFixture {
    /// @dev Four assets in the fixture's order: native, USDC, WBTC, WETH.
    struct Case {
        uint256 elapsedS;
        int256[4] openingAnswers;
        uint256[4] collateral;
        uint256[4] loans;
        uint256 heldS;
        uint256[4] payments;
        int256[4] closingAnswers;
        // What must come of it.
        uint256[4] debts;
        uint256 collateralUsd;
        uint256 debtUsd;
        uint256 healthFactor;
        uint256 isLiquidatable;
    }

    uint256 private constant CASE_SIZE = 32 * 30;
    address[4] private _assets;
    MockAggregator[4] private _feeds;

    function test_EveryAccountIsWorthWhatTheRiskCoreSays() external {
        vm.pauseGasMetering();
        _assets = [NATIVE, address(usdc), address(wbtc), address(weth)];
        _feeds = [nativeFeed, usdcFeed, wbtcFeed, wethFeed];
        string memory path = vm.envOr("DIFFERENTIAL_CASES", "test/differential/cases.hex");
        bytes memory file = vm.parseBytes(vm.readFile(path));
        uint256 count = (file.length - 4 * 10 * 32) / CASE_SIZE;
        vm.assertGt(count, 0);
        vm.assertEq(file.length, count * CASE_SIZE + 4 * 10 * 32);
        uint256 liquidatable;
        for (uint256 i = 0; i < count; ++i) {
            liquidatable += this.check(i, _slice(file, i * CASE_SIZE, CASE_SIZE)) ? 1 : 0;
        }
        // Both answers must have been tried.
        vm.assertGt(liquidatable, count / 10);
        vm.assertGt(count - liquidatable, count / 10);
        for (uint256 a = 0; a < 4; ++a) {
            _assertMarket(_assets[a], _slice(file, count * CASE_SIZE + a * 320, 320));
        }
    }

    /// @dev External, so that the memory of one account is given back before the next.
    function check(uint256 number, bytes calldata encoded) external returns (bool) {
        Case memory wanted = abi.decode(encoded, (Case));
        address account = vm.addr(number + 1);
        _answer(wanted.openingAnswers, wanted.elapsedS);
        _open(account, wanted);
        _answer(wanted.closingAnswers, wanted.heldS);
        for (uint256 a = 0; a < 4; ++a) {
            if (wanted.payments[a] != 0) _pay(account, _assets[a], wanted.payments[a]);
        }
        for (uint256 a = 0; a < 4; ++a) {
            vm.assertEq(_debt(account, _assets[a]), wanted.debts[a], "debt");
        }
        (uint256 collateralUsd, uint256 debtUsd) = vault.accountValue(account);
        vm.assertEq(collateralUsd, wanted.collateralUsd, "collateral in USD");
        vm.assertEq(debtUsd, wanted.debtUsd, "debt in USD");
        vm.assertEq(vault.healthFactor(account), wanted.healthFactor, "health factor");
        bool isLiquidatable = vault.isLiquidatable(account);
        vm.assertEq(isLiquidatable, wanted.isLiquidatable == 1);
        return isLiquidatable;
    }

    function _answer(int256[4] memory answers, uint256 elapsedS) private {
        vm.warp(block.timestamp + elapsedS);
        for (uint256 a = 0; a < 4; ++a) {
            _feeds[a].updateAnswer(answers[a]);
        }
    }

    function _open(address account, Case memory wanted) private {
        for (uint256 a = 0; a < 4; ++a) {
            uint256 amount = wanted.collateral[a];
            if (amount == 0) continue;
            if (_assets[a] == NATIVE) _depositNative(account, amount);
            else _deposit(account, MockERC20(_assets[a]), amount);
        }
        for (uint256 a = 0; a < 4; ++a) {
            if (wanted.loans[a] != 0) _borrow(account, _assets[a], wanted.loans[a]);
        }
    }

    function _pay(address account, address asset, uint256 amount) private {
        if (asset == NATIVE) {
            vm.deal(account, amount);
            vm.prank(account);
            vault.repay{value: amount}(NATIVE, amount);
        } else {
            MockERC20(asset).mint(account, amount);
            _repay(account, MockERC20(asset), amount);
        }
    }

    function _assertMarket(address asset, bytes memory encoded) private view {
        uint256[10] memory wanted = abi.decode(encoded, (uint256[10]));
        LendingMarket.Market memory market = vault.marketOf(asset);
        vm.assertEq(market.cash, wanted[0], "cash");
        vm.assertEq(market.supplyShares, wanted[1], "supply shares");
        vm.assertEq(market.debtShares, wanted[2], "debt shares");
        vm.assertEq(market.borrowIndex, wanted[3], "borrow index");
        vm.assertEq(market.pendingReserves, wanted[4], "pending reserves");
        vm.assertEq(market.reserves, wanted[5], "reserves");
        vm.assertEq(market.ratePerSecond, wanted[6], "rate");
        vm.assertEq(market.reserveFactorBps, wanted[7], "reserve factor");
        vm.assertEq(market.accruedAt, wanted[8], "time of accrual");
        vm.assertEq(market.sequence, wanted[9], "sequence");
    }

    function _slice(bytes memory file, uint256 start, uint256 size) private pure returns (bytes memory part) {
        part = new bytes(size);
        for (uint256 i = 0; i < size; i += 32) {
            assembly ("memory-safe") {
                mstore(add(add(part, 32), i), mload(add(add(file, 32), add(start, i))))
            }
        }
    }
}
