// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Vault} from "../src/Vault.sol";
import {AggregatorV3Interface} from "../src/interfaces/AggregatorV3Interface.sol";
import {MockAggregator} from "../src/mocks/MockAggregator.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {Test} from "./Test.sol";

/// @notice A vault with assets of 6, 8 and 18 decimals and the native one, priced by feeds of 8 and 18 decimals.
abstract contract VaultFixture is Test {
    address internal constant NATIVE = address(0);
    uint32 internal constant HEARTBEAT_S = 1 hours;
    uint16 internal constant INITIAL_MARGIN_BPS = 5000;
    uint16 internal constant NATIVE_COLLATERAL_FACTOR_BPS = 8000;
    uint16 internal constant WETH_BORROW_FACTOR_BPS = 8000;

    Vault internal vault;
    MockERC20 internal usdc;
    MockERC20 internal wbtc;
    MockERC20 internal weth;
    MockAggregator internal nativeFeed;
    MockAggregator internal usdcFeed;
    MockAggregator internal wbtcFeed;
    MockAggregator internal wethFeed;

    address internal alice;
    address internal bob;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        alice = actor("alice");
        bob = actor("bob");
        vault = new Vault(address(this), INITIAL_MARGIN_BPS);

        usdc = new MockERC20("USD Coin", "USDC", 6);
        wbtc = new MockERC20("Wrapped Bitcoin", "WBTC", 8);
        weth = new MockERC20("Wrapped Ether", "WETH", 18);
        nativeFeed = new MockAggregator(address(this), 8, "ETH / USD", 2000e8);
        usdcFeed = new MockAggregator(address(this), 8, "USDC / USD", 1e8);
        wbtcFeed = new MockAggregator(address(this), 8, "BTC / USD", 50_000e8);
        wethFeed = new MockAggregator(address(this), 18, "WETH / USD", 2000e18);

        _list(NATIVE, nativeFeed, NATIVE_COLLATERAL_FACTOR_BPS, 10_000);
        _list(address(usdc), usdcFeed, 10_000, 10_000);
        _list(address(wbtc), wbtcFeed, 10_000, 10_000);
        _list(address(weth), wethFeed, 10_000, WETH_BORROW_FACTOR_BPS);

        _supply(usdc, 10_000_000e6);
        _supply(wbtc, 100e8);
        _supply(weth, 5000e18);
        vm.deal(address(this), 5000 ether);
        vault.supplyNative{value: 5000 ether}();
    }

    function _list(
        address asset,
        AggregatorV3Interface feed,
        uint16 collateralFactorBps,
        uint16 borrowFactorBps
    ) internal {
        vault.configureAsset(asset, feed, HEARTBEAT_S, collateralFactorBps, borrowFactorBps, true);
    }

    function _supply(MockERC20 token, uint256 amount) internal {
        token.mint(address(this), amount);
        token.approve(address(vault), amount);
        vault.supply(address(token), amount);
    }

    function _deposit(address account, MockERC20 token, uint256 amount) internal {
        token.mint(account, amount);
        vm.startPrank(account);
        token.approve(address(vault), amount);
        vault.deposit(address(token), amount);
        vm.stopPrank();
    }

    function _depositNative(address account, uint256 amount) internal {
        vm.deal(account, account.balance + amount);
        vm.prank(account);
        vault.depositNative{value: amount}();
    }

    function _borrow(address account, address asset, uint256 amount) internal {
        vm.prank(account);
        vault.borrow(asset, amount);
    }

    function _repay(address account, MockERC20 token, uint256 amount) internal {
        vm.startPrank(account);
        token.approve(address(vault), amount);
        vault.repay(address(token), amount);
        vm.stopPrank();
    }

    function _assertPosition(address account, address asset, uint256 collateral, uint256 debt) internal view {
        (uint256 actualCollateral, uint256 actualDebt) = vault.position(account, asset);
        vm.assertEq(actualCollateral, collateral, "collateral");
        vm.assertEq(actualDebt, debt, "debt");
    }
}
