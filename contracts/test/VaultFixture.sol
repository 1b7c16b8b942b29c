// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {AccessManager} from "@openzeppelin/contracts/access/manager/AccessManager.sol";

import {PriceOracle} from "../src/PriceOracle.sol";
import {Vault} from "../src/Vault.sol";
import {AggregatorV3Interface} from "../src/interfaces/AggregatorV3Interface.sol";
import {IPriceOracle} from "../src/interfaces/IPriceOracle.sol";
import {IVault} from "../src/interfaces/IVault.sol";
import {InterestMath} from "../src/libraries/InterestMath.sol";
import {MockAggregator} from "../src/mocks/MockAggregator.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {Test} from "./Test.sol";

/// @notice A vault with assets of 6, 8 and 18 decimals and the native one, priced by feeds of 8 and 18 decimals. The test
/// contract holds every role, and has supplied what can be borrowed.
abstract contract VaultFixture is Test {
    address internal constant NATIVE = address(0);
    uint32 internal constant HEARTBEAT_S = 1 hours;
    uint16 internal constant INITIAL_MARGIN_BPS = 5000;
    uint16 internal constant LIQUIDATION_MARGIN_BPS = 1500;
    uint256 internal constant USD = 1e36;
    uint256 internal constant RAY = 1e27;

    AccessManager internal manager;
    PriceOracle internal oracle;
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
    address internal liquidator;

    receive() external payable {}

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        alice = actor("alice");
        bob = actor("bob");
        liquidator = actor("liquidator");
        manager = AccessManager(vm.deployCode("AccessManager.sol", abi.encode(address(this))));
        oracle = new PriceOracle(address(manager), AggregatorV3Interface(address(0)), 0);
        vault = _deployVault(oracle, INITIAL_MARGIN_BPS, LIQUIDATION_MARGIN_BPS);

        usdc = new MockERC20("USD Coin", "USDC", 6);
        wbtc = new MockERC20("Wrapped Bitcoin", "WBTC", 8);
        weth = new MockERC20("Wrapped Ether", "WETH", 18);
        nativeFeed = new MockAggregator(address(this), 8, "ETH / USD", 2000e8);
        usdcFeed = new MockAggregator(address(this), 8, "USDC / USD", 1e8);
        wbtcFeed = new MockAggregator(address(this), 8, "BTC / USD", 50_000e8);
        wethFeed = new MockAggregator(address(this), 18, "WETH / USD", 2000e18);

        _list(NATIVE, nativeFeed, 8000, 10_000);
        _list(address(usdc), usdcFeed, 10_000, 10_000);
        _list(address(wbtc), wbtcFeed, 10_000, 10_000);
        _list(address(weth), wethFeed, 10_000, 8000);

        _supply(usdc, 10_000_000e6);
        _supply(wbtc, 100e8);
        _supply(weth, 5000e18);
        vm.deal(address(this), 5000 ether);
        vault.supply{value: 5000 ether}(NATIVE, 5000 ether);
    }

    /// @dev From its artifact: a test contract that held the vault's bytecode could not be deployed itself.
    function _deployVault(IPriceOracle oracle_, uint16 initialMarginBps, uint16 liquidationMarginBps)
        internal
        returns (Vault)
    {
        bytes memory arguments = abi.encode(address(manager), oracle_, initialMarginBps, liquidationMarginBps);
        return Vault(vm.deployCode("Vault.sol:Vault", arguments));
    }

    function _parameters(uint16 collateralFactorBps, uint16 borrowFactorBps)
        internal
        pure
        returns (IVault.AssetParameters memory)
    {
        return IVault.AssetParameters({
            collateralFactorBps: collateralFactorBps,
            borrowFactorBps: borrowFactorBps,
            liquidationBonusBps: 500,
            reserveFactorBps: 1000,
            curve: InterestMath.Curve({baseBps: 200, slopeBelowBps: 400, slopeAboveBps: 7500, kinkBps: 8000}),
            collateralCap: 1e20,
            supplyCap: 1e20,
            borrowCap: 1e20
        });
    }

    function _list(
        address asset,
        AggregatorV3Interface feed,
        uint16 collateralFactorBps,
        uint16 borrowFactorBps
    ) internal {
        oracle.configureFeed(asset, feed, HEARTBEAT_S, 1, 1e30);
        IVault.AssetParameters memory parameters = _parameters(collateralFactorBps, borrowFactorBps);
        uint8 decimals = asset == NATIVE ? 18 : MockERC20(asset).decimals();
        uint128 cap = uint128(3e32 / 10 ** (18 - decimals));
        (parameters.collateralCap, parameters.supplyCap, parameters.borrowCap) = (cap, cap, cap);
        vault.configureAsset(asset, parameters);
    }

    function _supply(MockERC20 token, uint256 amount) internal {
        _supplyAs(address(this), token, amount);
    }

    function _supplyAs(address lender, MockERC20 token, uint256 amount) internal returns (uint256 shares) {
        token.mint(lender, amount);
        vm.startPrank(lender);
        token.approve(address(vault), amount);
        shares = vault.supply(address(token), amount);
        vm.stopPrank();
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
        vault.deposit{value: amount}(NATIVE, amount);
    }

    function _borrow(address account, address asset, uint256 amount) internal {
        vm.prank(account);
        vault.borrow(asset, amount);
    }

    function _repay(address account, MockERC20 token, uint256 amount) internal returns (uint256 repaid) {
        vm.startPrank(account);
        token.approve(address(vault), amount);
        repaid = vault.repay(address(token), amount);
        vm.stopPrank();
    }

    /// @dev With tokens of the liquidator's own, or native value that is more than enough.
    function _liquidate(address account, address debtAsset, address collateralAsset, uint256 amount)
        internal
        returns (uint256 repaid, uint256 seized)
    {
        if (debtAsset == NATIVE) {
            vm.deal(liquidator, liquidator.balance + 10_000 ether);
            vm.prank(liquidator);
            return vault.liquidate{value: 10_000 ether}(account, debtAsset, collateralAsset, amount, 0);
        }
        MockERC20(debtAsset).mint(liquidator, 1e24);
        vm.startPrank(liquidator);
        MockERC20(debtAsset).approve(address(vault), type(uint256).max);
        (repaid, seized) = vault.liquidate(account, debtAsset, collateralAsset, amount, 0);
        vm.stopPrank();
    }

    /// @dev Feeds that answer as before, now: time alone must not make them stale in a test about something else.
    function _warpWithPrices(uint256 seconds_) internal {
        vm.warp(block.timestamp + seconds_);
        MockAggregator[4] memory feeds = [nativeFeed, usdcFeed, wbtcFeed, wethFeed];
        for (uint256 i = 0; i < feeds.length; ++i) {
            (, int256 answer,,,) = feeds[i].latestRoundData();
            feeds[i].updateAnswer(answer);
        }
    }

    function _assertPosition(address account, address asset, uint256 collateral, uint256 debt) internal view {
        (uint256 actualCollateral, uint256 actualDebt,) = vault.position(account, asset);
        vm.assertEq(actualCollateral, collateral, "collateral");
        vm.assertEq(actualDebt, debt, "debt");
    }

    function _debt(address account, address asset) internal view returns (uint256 debt) {
        (, debt,) = vault.position(account, asset);
    }

    function _collateral(address account, address asset) internal view returns (uint256 collateral) {
        (collateral,,) = vault.position(account, asset);
    }

    function _supplied(address account, address asset) internal view returns (uint256 supplied) {
        (,, supplied) = vault.position(account, asset);
    }
}
