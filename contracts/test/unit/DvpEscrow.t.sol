// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {DvpTerms, ROLE_BUYER, ROLE_SELLER} from "../../src/interfaces/IEscrowFactory.sol";
import {DvpFixture} from "../DvpFixture.sol";

/// @notice Both legs or neither: what DvpEscrow.tree says.
contract DvpEscrowTest is DvpFixture {
    function test_SecondDepositSettlesBothLegsAtOnce() external {
        DvpTerms memory terms = _terms();
        address predicted = factory.predictDvp(terms, bytes32(0));
        vm.startPrank(seller);
        wbtc.approve(address(factory), DELIVERY);
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpCreated(
            predicted, 1, seller, buyer, address(wbtc), DELIVERY, address(usdc), PAYMENT, deadline
        );
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpDeposited(predicted, 2, ROLE_SELLER, seller, address(wbtc), DELIVERY);
        DvpEscrow dvp = DvpEscrow(factory.createDvp(terms, bytes32(0)));
        vm.stopPrank();
        vm.assertEq(address(dvp), predicted);
        vm.assertEq(keccak256(abi.encode(dvp.terms())), keccak256(abi.encode(terms)));

        vm.warp(deadline - 1);
        vm.startPrank(buyer);
        usdc.approve(predicted, PAYMENT);
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpDeposited(predicted, 3, ROLE_BUYER, buyer, address(usdc), PAYMENT);
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpSettled(predicted, 4);
        dvp.deposit();
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpWithdrawn(predicted, 5, ROLE_BUYER, buyer, stranger, address(wbtc), DELIVERY);
        dvp.withdraw(stranger);
        vm.stopPrank();
        _withdrawAs(seller, dvp);
        vm.assertEq(wbtc.balanceOf(stranger), DELIVERY);
        vm.assertEq(usdc.balanceOf(seller), PAYMENT);
        vm.assertEq(dvp.step(), 6);
    }

    function test_BuyerMayCreateAndNativeMayBeALeg() external {
        DvpTerms memory terms = _terms();
        terms.paymentAsset = NATIVE;
        terms.paymentAmount = 40 ether;
        vm.deal(buyer, 40 ether);
        vm.prank(buyer);
        DvpEscrow dvp = DvpEscrow(factory.createDvp{value: 40 ether}(terms, bytes32(0)));
        vm.assertEq(dvp.depositedRoles(), ROLE_BUYER);
        vm.startPrank(seller);
        wbtc.approve(address(dvp), DELIVERY);
        dvp.deposit();
        dvp.withdraw(seller);
        vm.stopPrank();
        vm.assertEq(seller.balance, 40 ether);
        (address asset, uint256 amount) = dvp.withdrawable(ROLE_BUYER);
        vm.assertEq(asset, address(wbtc));
        vm.assertEq(amount, DELIVERY);
        (, amount) = dvp.withdrawable(ROLE_SELLER);
        vm.assertEq(amount, 0);
    }

    function test_NativeLegMayComeSecond() external {
        DvpTerms memory terms = _terms();
        terms.paymentAsset = NATIVE;
        terms.paymentAmount = 40 ether;
        vm.deal(buyer, 41 ether);
        vm.startPrank(seller);
        wbtc.approve(address(factory), DELIVERY);
        DvpEscrow dvp = DvpEscrow(factory.createDvp(terms, bytes32(0)));
        vm.stopPrank();
        vm.startPrank(buyer);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.NativeValueMismatch.selector, 39 ether, 40 ether));
        dvp.deposit{value: 39 ether}();
        dvp.deposit{value: 40 ether}();
        vm.stopPrank();
        vm.assertEq(uint256(dvp.status()), uint256(DvpEscrow.Status.Settled));
    }

    function test_LegGoesBackAfterTheDeadlineByAnyonesCall() external {
        DvpEscrow dvp = _createAsSeller();
        vm.warp(deadline);
        vm.startPrank(buyer);
        usdc.approve(address(dvp), PAYMENT);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.DepositTooLate.selector, deadline, deadline));
        dvp.deposit();
        vm.stopPrank();
        vm.expectEmit(address(factory));
        emit EscrowJournal.DvpRefunded(address(dvp), 3, ROLE_SELLER);
        vm.prank(stranger);
        dvp.refund();
        _withdrawAs(seller, dvp);
        vm.assertEq(wbtc.balanceOf(seller), DELIVERY);
        vm.expectRevert(
            abi.encodeWithSelector(DvpEscrow.NothingToWithdraw.selector, buyer, DvpEscrow.Status.Refunded)
        );
        _withdrawAs(buyer, dvp);
    }

    function test_CounterpartyMayDeclineAtOnce() external {
        DvpEscrow dvp = _createAsSeller();
        vm.prank(buyer);
        dvp.refund();
        _withdrawAs(seller, dvp);
        vm.assertEq(wbtc.balanceOf(seller), DELIVERY);
        vm.expectRevert(
            abi.encodeWithSelector(
                DvpEscrow.WrongStatus.selector, DvpEscrow.Status.Refunded, DvpEscrow.Status.Open
            )
        );
        vm.prank(buyer);
        dvp.deposit();
    }

    function test_RevertWhen_DepositorOrStrangerRefundsBeforeTheDeadline() external {
        DvpEscrow dvp = _createAsSeller();
        vm.warp(deadline - 1);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.RefundTooEarly.selector, deadline, deadline - 1));
        vm.prank(seller);
        dvp.refund();
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.NotParty.selector, stranger));
        vm.prank(stranger);
        dvp.refund();
    }

    function test_RevertWhen_SettledTradeIsRefundedOrDepositedAgain() external {
        DvpEscrow dvp = _createAsSeller();
        _depositAsBuyer(dvp);
        bytes memory expected = abi.encodeWithSelector(
            DvpEscrow.WrongStatus.selector, DvpEscrow.Status.Settled, DvpEscrow.Status.Open
        );
        vm.warp(deadline);
        vm.expectRevert(expected);
        dvp.refund();
        vm.expectRevert(expected);
        vm.prank(buyer);
        dvp.deposit();
    }

    function test_RevertWhen_DepositedByAStrangerOrTwice() external {
        DvpEscrow dvp = _createAsSeller();
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.NotParty.selector, stranger));
        vm.prank(stranger);
        dvp.deposit();
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.AlreadyDeposited.selector, ROLE_SELLER));
        vm.prank(seller);
        dvp.deposit();
    }

    function test_RevertWhen_WithdrawnEarlyOrTwiceOrByAStranger() external {
        DvpEscrow dvp = _createAsSeller();
        vm.expectRevert(
            abi.encodeWithSelector(DvpEscrow.NothingToWithdraw.selector, seller, DvpEscrow.Status.Open)
        );
        _withdrawAs(seller, dvp);
        _depositAsBuyer(dvp);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.NotParty.selector, stranger));
        _withdrawAs(stranger, dvp);
        vm.startPrank(seller);
        vm.expectRevert(DvpEscrow.RecipientZero.selector);
        dvp.withdraw(address(0));
        dvp.withdraw(seller);
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.AlreadyWithdrawn.selector, ROLE_SELLER));
        dvp.withdraw(seller);
    }

    function test_RevertWhen_SecondLegCannotBePulled() external {
        DvpEscrow dvp = _createAsSeller();
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(dvp), 0, PAYMENT)
        );
        vm.prank(buyer);
        dvp.deposit();
        vm.assertEq(uint256(dvp.status()), uint256(DvpEscrow.Status.Open));
        vm.assertEq(dvp.depositedRoles(), ROLE_SELLER);
    }

    function test_RevertWhen_TermsAreOutOfRange() external {
        DvpTerms memory terms = _terms();
        terms.buyer = address(0);
        _expectCreationRevert(terms, abi.encodeWithSelector(EscrowFactory.PartyZero.selector, ROLE_BUYER));
        terms = _terms();
        terms.buyer = seller;
        _expectCreationRevert(
            terms, abi.encodeWithSelector(EscrowFactory.DvpPartiesNotDistinct.selector, seller)
        );
        terms = _terms();
        terms.seller = stranger;
        _expectCreationRevert(terms, abi.encodeWithSelector(EscrowFactory.CreatorNotParty.selector, seller));
        terms = _terms();
        terms.paymentAmount = 0;
        _expectCreationRevert(terms, abi.encodeWithSelector(EscrowFactory.AmountZero.selector));
        terms = _terms();
        terms.paymentAsset = address(wbtc);
        _expectCreationRevert(
            terms, abi.encodeWithSelector(EscrowFactory.AssetsNotDistinct.selector, address(wbtc))
        );
        terms = _terms();
        uint256[2] memory deadlines = [block.timestamp, block.timestamp + 365 days + 1];
        for (uint256 i = 0; i < 2; ++i) {
            terms.deadline = uint64(deadlines[i]);
            _expectCreationRevert(
                terms,
                abi.encodeWithSelector(
                    EscrowFactory.DeadlineOutOfRange.selector,
                    deadlines[i],
                    block.timestamp + 1,
                    block.timestamp + 365 days
                )
            );
        }
    }

    function test_RevertWhen_DvpIsInitializedAgainOrByAStranger() external {
        DvpEscrow dvp = _createAsSeller();
        vm.expectRevert(abi.encodeWithSelector(DvpEscrow.NotFactory.selector, stranger));
        vm.prank(stranger);
        dvp.initialize(ROLE_BUYER);
        vm.expectRevert(DvpEscrow.AlreadyInitialized.selector);
        vm.prank(address(factory));
        dvp.initialize(ROLE_BUYER);
    }

    function _expectCreationRevert(DvpTerms memory terms, bytes memory expected) private {
        vm.expectRevert(expected);
        vm.prank(seller);
        factory.createDvp(terms, bytes32(0));
    }
}
