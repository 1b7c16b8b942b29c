// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DvpEscrow} from "../src/DvpEscrow.sol";
import {EscrowFactory} from "../src/EscrowFactory.sol";
import {DvpTerms} from "../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../src/mocks/MockERC20.sol";
import {Test} from "./Test.sol";

/// @notice A factory, a seller with a token of 8 decimals, a buyer with one of 6, and a stranger.
abstract contract DvpFixture is Test {
    address internal constant NATIVE = address(0);
    uint256 internal constant DELIVERY = 2e8;
    uint256 internal constant PAYMENT = 120_000e6;

    EscrowFactory internal factory;
    MockERC20 internal wbtc;
    MockERC20 internal usdc;
    address internal seller;
    address internal buyer;
    address internal stranger;
    uint64 internal deadline;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        deadline = 1_800_000_000 + 2 days;
        seller = actor("seller");
        buyer = actor("buyer");
        stranger = actor("stranger");
        factory = new EscrowFactory();
        wbtc = new MockERC20("Wrapped Bitcoin", "WBTC", 8);
        usdc = new MockERC20("USD Coin", "USDC", 6);
        wbtc.mint(seller, DELIVERY);
        usdc.mint(buyer, PAYMENT);
    }

    function _terms() internal view returns (DvpTerms memory) {
        return DvpTerms({
            seller: seller,
            buyer: buyer,
            deliveryAsset: address(wbtc),
            deliveryAmount: DELIVERY,
            paymentAsset: address(usdc),
            paymentAmount: PAYMENT,
            deadline: deadline
        });
    }

    function _createAsSeller() internal returns (DvpEscrow) {
        DvpTerms memory terms = _terms();
        vm.startPrank(seller);
        wbtc.approve(address(factory), DELIVERY);
        DvpEscrow dvp = DvpEscrow(factory.createDvp(terms, bytes32(0)));
        vm.stopPrank();
        return dvp;
    }

    function _depositAsBuyer(DvpEscrow dvp) internal {
        vm.startPrank(buyer);
        usdc.approve(address(dvp), PAYMENT);
        dvp.deposit();
        vm.stopPrank();
    }

    function _withdrawAs(address party, DvpEscrow dvp) internal {
        vm.prank(party);
        dvp.withdraw(party);
    }
}
