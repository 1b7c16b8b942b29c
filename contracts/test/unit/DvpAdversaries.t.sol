// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {DvpTerms, ROLE_BUYER} from "../../src/interfaces/IEscrowFactory.sol";
import {DvpFixture} from "../DvpFixture.sol";
import {CallbackToken} from "../adversaries/CallbackToken.sol";
import {FeeToken} from "../adversaries/FeeToken.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Legs of tokens that call back or take a fee, and parties that refuse to be paid.
contract DvpAdversariesTest is DvpFixture {
    function test_BuyerCannotTakeTheDeliveryFromInsideItsOwnPayment() external {
        CallbackToken token = new CallbackToken();
        ReentrantParty thief = new ReentrantParty();
        token.mint(address(thief), 1e18);
        DvpTerms memory terms = _terms();
        terms.buyer = address(thief);
        terms.paymentAsset = address(token);
        terms.paymentAmount = 1e18;
        vm.startPrank(seller);
        wbtc.approve(address(factory), DELIVERY);
        address dvp = factory.createDvp(terms, bytes32(0));
        vm.stopPrank();
        thief.act(address(token), abi.encodeCall(token.approve, (dvp, 1e18)), 0);

        thief.arm(dvp, abi.encodeCall(DvpEscrow.withdraw, (address(thief))));
        thief.act(dvp, abi.encodeCall(DvpEscrow.deposit, ()), 0);
        vm.assertTrue(thief.attempted());
        vm.assertFalse(thief.succeeded());
        vm.assertEq(
            keccak256(thief.result()),
            keccak256(abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector))
        );
        vm.assertEq(wbtc.balanceOf(dvp), DELIVERY);
        vm.assertEq(token.balanceOf(dvp), 1e18);
    }

    function test_DvpIsInertUntilItsFirstLegIsHere() external {
        CallbackToken token = new CallbackToken();
        ReentrantParty creator = new ReentrantParty();
        token.mint(address(creator), 1e18);
        DvpTerms memory terms = _terms();
        terms.seller = address(creator);
        terms.deliveryAsset = address(token);
        terms.deliveryAmount = 1e18;
        creator.act(address(token), abi.encodeCall(token.approve, (address(factory), 1e18)), 0);
        creator.arm(factory.predictDvp(terms, bytes32(0)), abi.encodeCall(DvpEscrow.refund, ()));
        creator.act(address(factory), abi.encodeCall(EscrowFactory.createDvp, (terms, bytes32(0))), 0);
        vm.assertTrue(creator.attempted());
        vm.assertFalse(creator.succeeded());
        vm.assertEq(
            keccak256(creator.result()),
            keccak256(
                abi.encodeWithSelector(
                    DvpEscrow.WrongStatus.selector, DvpEscrow.Status.None, DvpEscrow.Status.Open
                )
            )
        );
    }

    function test_RevertWhen_ALegsTokenTakesAFee() external {
        FeeToken fee = new FeeToken();
        fee.mint(buyer, 100e18);
        fee.mint(seller, 100e18);
        DvpTerms memory terms = _terms();
        terms.paymentAsset = address(fee);
        terms.paymentAmount = 100e18;
        vm.startPrank(seller);
        wbtc.approve(address(factory), DELIVERY);
        DvpEscrow dvp = DvpEscrow(factory.createDvp(terms, bytes32(0)));
        vm.stopPrank();
        vm.startPrank(buyer);
        fee.approve(address(dvp), 100e18);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.ReceivedAmountMismatch.selector, 99e18, 100e18));
        dvp.deposit();
        fee.approve(address(factory), 100e18);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.ReceivedAmountMismatch.selector, 99e18, 100e18));
        factory.createDvp(terms, bytes32(uint256(1)));
    }

    function test_RefusingSellerDoesNotHoldTheBuyer() external {
        RefusingReceiver wallet = new RefusingReceiver();
        DvpTerms memory terms = _terms();
        terms.seller = address(wallet);
        (terms.paymentAsset, terms.paymentAmount) = (NATIVE, 40 ether);
        vm.deal(buyer, 40 ether);
        wbtc.mint(address(wallet), DELIVERY);
        vm.prank(buyer);
        DvpEscrow dvp = DvpEscrow(factory.createDvp{value: 40 ether}(terms, bytes32(0)));
        wallet.act(address(wbtc), abi.encodeCall(wbtc.approve, (address(dvp), DELIVERY)), 0);
        wallet.act(address(dvp), abi.encodeCall(DvpEscrow.deposit, ()), 0);
        vm.expectRevert(RefusingReceiver.PaymentRefused.selector);
        wallet.act(address(dvp), abi.encodeCall(DvpEscrow.withdraw, (address(wallet))), 0);
        _withdrawAs(buyer, dvp);
        vm.assertEq(wbtc.balanceOf(buyer), DELIVERY);
        vm.assertEq(dvp.withdrawnRoles(), ROLE_BUYER);
        wallet.act(address(dvp), abi.encodeCall(DvpEscrow.withdraw, (stranger)), 0);
        vm.assertEq(stranger.balance, 40 ether);
    }
}
