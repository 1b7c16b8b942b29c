// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {ApprovalPolicy, EscrowTerms, ROLE_ARBITER, ROLE_PAYEE} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {FeeToken} from "../adversaries/FeeToken.sol";

/// @notice Creation, predictable addresses, funding, bounds, and who may emit events: what EscrowFactory.tree says.
contract EscrowFactoryTest is EscrowFixture {
    function test_CreationEmitsAllFactsAtThePredictedAddress() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.TwoOfThree);
        address predicted = factory.predictEscrow(terms, bytes32(0));
        vm.assertEq(predicted.code.length, 0);

        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowCreated(
            predicted,
            1,
            payer,
            payee,
            arbiter,
            NATIVE,
            AMOUNT,
            createdAt + RELEASE_DELAY_S,
            createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S,
            DISPUTE_WINDOW_S,
            ApprovalPolicy.TwoOfThree
        );
        vm.prank(payer);
        Escrow escrow = Escrow(factory.createEscrow{value: AMOUNT}(terms, bytes32(0)));

        vm.assertEq(address(escrow), predicted);
        vm.assertTrue(factory.isEscrow(predicted));
        vm.assertEq(predicted.balance, AMOUNT);
        vm.assertEq(keccak256(abi.encode(escrow.terms())), keccak256(abi.encode(terms)));
        vm.assertEq(escrow.releaseTime(), createdAt + RELEASE_DELAY_S);
        vm.assertEq(escrow.refundTime(), createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S);
        vm.assertEq(escrow.arbiter(), arbiter);
        vm.assertEq(escrow.step(), 1);
    }

    function test_AddressCommitsToTheTermsAndTheSaltAndNotToTheTime() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        address base = factory.predictEscrow(terms, bytes32(0));
        vm.assertTrue(base != factory.predictEscrow(terms, bytes32(uint256(1))));
        terms.policy = ApprovalPolicy.TwoOfThree;
        vm.assertTrue(base != factory.predictEscrow(terms, bytes32(0)));
        terms.policy = ApprovalPolicy.Payer;
        terms.payer = stranger;
        vm.assertTrue(base != factory.predictEscrow(terms, bytes32(0)));
        terms.payer = payer;
        vm.warp(createdAt + 365 days);
        vm.assertEq(base, factory.predictEscrow(terms, bytes32(0)));
    }

    function test_TokenEscrowHoldsTheAgreedAmount() external {
        Escrow escrow = _createToken(usdc, 250e6, ApprovalPolicy.Payer);
        vm.assertEq(usdc.balanceOf(address(escrow)), 250e6);
        vm.assertEq(usdc.balanceOf(address(factory)), 0);
    }

    function test_WhatWasThereBeforeIsNotTakenForFunding() external {
        EscrowTerms memory terms = _terms(address(usdc), 250e6, ApprovalPolicy.Payer);
        usdc.mint(factory.predictEscrow(terms, bytes32(0)), 250e6);
        vm.expectRevert(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(factory), 0, 250e6
            )
        );
        vm.prank(payer);
        factory.createEscrow(terms, bytes32(0));
    }

    function test_RevertWhen_CreatedTwice() external {
        _createNative(ApprovalPolicy.Payer);
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        vm.expectRevert(Errors.FailedDeployment.selector);
        vm.prank(payer);
        factory.createEscrow{value: AMOUNT}(terms, bytes32(0));
    }

    function test_RevertWhen_TokenTakesAFee() external {
        FeeToken fee = new FeeToken();
        EscrowTerms memory terms = _terms(address(fee), 100e18, ApprovalPolicy.Payer);
        fee.mint(payer, 100e18);
        vm.startPrank(payer);
        fee.approve(address(factory), 100e18);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.ReceivedAmountMismatch.selector, 99e18, 100e18));
        factory.createEscrow(terms, bytes32(0));
    }

    function test_RevertWhen_AllowanceIsMissing() external {
        EscrowTerms memory terms = _terms(address(usdc), 1, ApprovalPolicy.Payer);
        usdc.mint(payer, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(factory), 0, 1)
        );
        vm.prank(payer);
        factory.createEscrow(terms, bytes32(0));
    }

    function test_RevertWhen_ValueDoesNotMatch() external {
        EscrowTerms memory native = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        EscrowTerms memory token = _terms(address(usdc), 1, ApprovalPolicy.Payer);
        vm.startPrank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(EscrowFactory.NativeValueMismatch.selector, AMOUNT - 1, AMOUNT)
        );
        factory.createEscrow{value: AMOUNT - 1}(native, bytes32(0));
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.NativeValueMismatch.selector, 1, 0));
        factory.createEscrow{value: 1}(token, bytes32(0));
    }

    function test_RevertWhen_CreatedInTheNameOfAnotherPayer() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        vm.deal(stranger, AMOUNT);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.PayerNotCaller.selector, payer, stranger));
        vm.prank(stranger);
        factory.createEscrow{value: AMOUNT}(terms, bytes32(0));
    }

    function test_RevertWhen_PartiesAreZeroOrNotDistinct() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        terms.payee = address(0);
        _expectCreationRevert(terms, abi.encodeWithSelector(EscrowFactory.PartyZero.selector, ROLE_PAYEE));
        terms.payee = payee;
        terms.arbiter = address(0);
        _expectCreationRevert(terms, abi.encodeWithSelector(EscrowFactory.PartyZero.selector, ROLE_ARBITER));
        _expectNotDistinct(payer, arbiter);
        _expectNotDistinct(payee, payer);
        _expectNotDistinct(payee, payee);
    }

    function test_RevertWhen_AmountIsZero() external {
        _expectCreationRevert(
            _terms(NATIVE, 0, ApprovalPolicy.Payer), abi.encodeWithSelector(EscrowFactory.AmountZero.selector)
        );
    }

    function test_RevertWhen_TimesAreOutOfRange() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        terms.releaseDelayS = 365 days + 1;
        _expectCreationRevert(
            terms,
            abi.encodeWithSelector(EscrowFactory.ReleaseDelayOutOfRange.selector, 365 days + 1, 365 days)
        );
        terms.releaseDelayS = 365 days;
        uint64[2] memory windows = [uint64(1 hours - 1), uint64(365 days + 1)];
        for (uint256 i = 0; i < 2; ++i) {
            terms.refundWindowS = windows[i];
            _expectCreationRevert(
                terms,
                abi.encodeWithSelector(
                    EscrowFactory.RefundWindowOutOfRange.selector, windows[i], 1 hours, 365 days
                )
            );
        }
        terms.refundWindowS = 365 days;
        windows[1] = 90 days + 1;
        for (uint256 i = 0; i < 2; ++i) {
            terms.disputeWindowS = windows[i];
            _expectCreationRevert(
                terms,
                abi.encodeWithSelector(
                    EscrowFactory.DisputeWindowOutOfRange.selector, windows[i], 1 hours, 90 days
                )
            );
        }
    }

    function test_RevertWhen_NotifiedByAnyoneButAnEscrow() external {
        bytes[12] memory notifications = [
            abi.encodeCall(factory.notifyApproved, (2, 1, stranger, 1)),
            abi.encodeCall(factory.notifyArbiterProposed, (2, 1, stranger)),
            abi.encodeCall(factory.notifyArbiterChanged, (2, arbiter, stranger)),
            abi.encodeCall(factory.notifyDisputed, (2, 1, createdAt)),
            abi.encodeCall(factory.notifyResolved, (2, 1, 1, 1)),
            abi.encodeCall(factory.notifyReleased, (2, payee, AMOUNT)),
            abi.encodeCall(factory.notifyRefunded, (2, payer, AMOUNT)),
            abi.encodeCall(factory.notifyWithdrawn, (2, 2, payee, payee, AMOUNT)),
            abi.encodeCall(factory.notifyDvpDeposited, (2, 1, payee, NATIVE, AMOUNT)),
            abi.encodeCall(factory.notifyDvpSettled, (2)),
            abi.encodeCall(factory.notifyDvpRefunded, (2, 1)),
            abi.encodeCall(factory.notifyDvpWithdrawn, (2, 1, payee, payee, NATIVE, AMOUNT))
        ];
        for (uint256 i = 0; i < notifications.length; ++i) {
            vm.prank(stranger);
            (bool done, bytes memory result) = address(factory).call(notifications[i]);
            vm.assertFalse(done);
            vm.assertEq(
                keccak256(result),
                keccak256(abi.encodeWithSelector(EscrowJournal.NotEscrow.selector, stranger))
            );
        }
    }

    function test_RevertWhen_EscrowIsInitializedAgainOrByAStranger() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotFactory.selector, stranger));
        vm.prank(stranger);
        escrow.initialize();
        vm.expectRevert(Escrow.AlreadyInitialized.selector);
        vm.prank(address(factory));
        escrow.initialize();
        Escrow implementation = Escrow(factory.implementation());
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotFactory.selector, stranger));
        vm.prank(stranger);
        implementation.initialize();
    }

    function _expectNotDistinct(address payee_, address arbiter_) private {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        terms.payee = payee_;
        terms.arbiter = arbiter_;
        _expectCreationRevert(
            terms, abi.encodeWithSelector(EscrowFactory.PartiesNotDistinct.selector, payer, payee_, arbiter_)
        );
    }

    function _expectCreationRevert(EscrowTerms memory terms, bytes memory expected) private {
        vm.expectRevert(expected);
        vm.prank(payer);
        factory.createEscrow{value: terms.amount}(terms, bytes32(0));
    }
}
