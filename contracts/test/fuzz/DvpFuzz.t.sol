// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {DvpTerms, ROLE_BUYER, ROLE_SELLER} from "../../src/interfaces/IEscrowFactory.sol";
import {DvpFixture} from "../DvpFixture.sol";

/// @notice Any amounts and any moment: both legs change hands, or the first goes back.
contract DvpFuzzTest is DvpFixture {
    function testFuzz_BothLegsOrNeither(uint256 delivery, uint256 payment, uint64 depositTime, bool bySeller)
        external
    {
        delivery = bound(delivery, 1, type(uint256).max - DELIVERY);
        payment = bound(payment, 1, type(uint256).max - PAYMENT);
        wbtc.mint(seller, delivery);
        usdc.mint(buyer, payment);
        DvpTerms memory terms = _terms();
        (terms.deliveryAmount, terms.paymentAmount) = (delivery, payment);
        (address first, address second) = bySeller ? (seller, buyer) : (buyer, seller);
        address predicted = factory.predictDvp(terms, bytes32(0));
        _allowAll(seller, predicted);
        _allowAll(buyer, predicted);
        vm.prank(first);
        DvpEscrow dvp = DvpEscrow(factory.createDvp(terms, bytes32(0)));
        vm.assertEq(address(dvp), predicted);
        vm.assertEq(keccak256(abi.encode(dvp.terms())), keccak256(abi.encode(terms)));

        vm.warp(bound(depositTime, block.timestamp, uint256(deadline) + 365 days));
        vm.prank(second);
        try dvp.deposit() {
            vm.assertTrue(block.timestamp < deadline);
            _withdrawAs(seller, dvp);
            _withdrawAs(buyer, dvp);
            vm.assertEq(usdc.balanceOf(seller), payment);
            vm.assertEq(wbtc.balanceOf(buyer), delivery);
        } catch {
            vm.assertTrue(block.timestamp >= deadline);
            dvp.refund();
            _withdrawAs(first, dvp);
            (, uint256 owed) = dvp.withdrawable(bySeller ? ROLE_BUYER : ROLE_SELLER);
            vm.assertEq(owed, 0);
            vm.assertEq(wbtc.balanceOf(seller), DELIVERY + delivery);
            vm.assertEq(usdc.balanceOf(buyer), PAYMENT + payment);
        }
        vm.assertEq(wbtc.balanceOf(address(dvp)), 0);
        vm.assertEq(usdc.balanceOf(address(dvp)), 0);
    }

    function _allowAll(address owner, address dvp) private {
        vm.startPrank(owner);
        wbtc.approve(address(factory), type(uint256).max);
        usdc.approve(address(factory), type(uint256).max);
        wbtc.approve(dvp, type(uint256).max);
        usdc.approve(dvp, type(uint256).max);
        vm.stopPrank();
    }
}
