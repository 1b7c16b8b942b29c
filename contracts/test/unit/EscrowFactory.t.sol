// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Errors} from "@openzeppelin/contracts/utils/Errors.sol";

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy, EscrowTerms, ROLE_ARBITER, ROLE_PAYEE} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {FeeToken} from "../adversaries/FeeToken.sol";

/// @notice Creation: predictable addresses, funding, bounds, and who may emit events.
contract EscrowFactoryTest is EscrowFixture {
    function test_CreationEmitsAllFactsAtThePredictedAddress() external {
        EscrowFactory.EscrowParameters memory parameters =
            _parameters(NATIVE, AMOUNT, ApprovalPolicy.TwoOfThree);
        address predicted = factory.predictEscrow(payer, parameters);
        vm.assertEq(predicted.code.length, 0);

        vm.expectEmit(address(factory));
        emit EscrowFactory.EscrowCreated(
            predicted,
            1,
            payer,
            payee,
            arbiter,
            NATIVE,
            AMOUNT,
            createdAt + RELEASE_DELAY_S,
            createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S,
            ApprovalPolicy.TwoOfThree
        );
        vm.prank(payer);
        address escrow = factory.createEscrow{value: AMOUNT}(parameters);

        vm.assertEq(escrow, predicted);
        vm.assertTrue(factory.isEscrow(escrow));
        vm.assertEq(escrow.balance, AMOUNT);
        EscrowTerms memory terms = Escrow(escrow).terms();
        vm.assertEq(terms.payer, payer);
        vm.assertEq(terms.payee, payee);
        vm.assertEq(terms.arbiter, arbiter);
        vm.assertEq(terms.amount, AMOUNT);
        vm.assertEq(terms.releaseTime, createdAt + RELEASE_DELAY_S);
        vm.assertEq(terms.refundTime, createdAt + RELEASE_DELAY_S + REFUND_WINDOW_S);
        vm.assertEq(Escrow(escrow).step(), 1);
    }

    function test_AddressCommitsToPayerAndEveryParameter() external view {
        EscrowFactory.EscrowParameters memory parameters = _parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        address base = factory.predictEscrow(payer, parameters);
        vm.assertTrue(base != factory.predictEscrow(stranger, parameters));
        parameters.policy = ApprovalPolicy.TwoOfThree;
        vm.assertTrue(base != factory.predictEscrow(payer, parameters));
        parameters.policy = ApprovalPolicy.Payer;
        parameters.salt = bytes32(uint256(1));
        vm.assertTrue(base != factory.predictEscrow(payer, parameters));
    }

    function test_TokenEscrowHoldsTheAgreedAmount() external {
        usdc.mint(payer, 250e6);
        vm.startPrank(payer);
        usdc.approve(address(factory), 250e6);
        address escrow = factory.createEscrow(_parameters(address(usdc), 250e6, ApprovalPolicy.Payer));
        vm.stopPrank();
        vm.assertEq(usdc.balanceOf(escrow), 250e6);
        vm.assertEq(usdc.balanceOf(address(factory)), 0);
    }

    function test_RevertWhen_CreatedTwice() external {
        _createNative(ApprovalPolicy.Payer);
        vm.expectRevert(Errors.FailedDeployment.selector);
        vm.prank(payer);
        factory.createEscrow{value: AMOUNT}(_parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer));
    }

    function test_RevertWhen_TokenTakesAFee() external {
        FeeToken fee = new FeeToken();
        fee.mint(payer, 100e18);
        vm.startPrank(payer);
        fee.approve(address(factory), 100e18);
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.ReceivedAmountMismatch.selector, 99e18, 100e18));
        factory.createEscrow(_parameters(address(fee), 100e18, ApprovalPolicy.Payer));
    }

    function test_RevertWhen_AllowanceIsMissing() external {
        usdc.mint(payer, 1);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(factory), 0, 1)
        );
        vm.prank(payer);
        factory.createEscrow(_parameters(address(usdc), 1, ApprovalPolicy.Payer));
    }

    function test_RevertWhen_ValueDoesNotMatch() external {
        vm.startPrank(payer);
        vm.expectRevert(
            abi.encodeWithSelector(EscrowFactory.NativeValueMismatch.selector, AMOUNT - 1, AMOUNT)
        );
        factory.createEscrow{value: AMOUNT - 1}(_parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer));
        vm.expectRevert(abi.encodeWithSelector(EscrowFactory.NativeValueMismatch.selector, 1, 0));
        factory.createEscrow{value: 1}(_parameters(address(usdc), 1, ApprovalPolicy.Payer));
    }

    function test_RevertWhen_PartiesAreZeroOrNotDistinct() external {
        EscrowFactory.EscrowParameters memory parameters = _parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        parameters.payee = address(0);
        _expectCreationRevert(
            parameters, abi.encodeWithSelector(EscrowFactory.PartyZero.selector, ROLE_PAYEE)
        );
        parameters.payee = payee;
        parameters.arbiter = address(0);
        _expectCreationRevert(
            parameters, abi.encodeWithSelector(EscrowFactory.PartyZero.selector, ROLE_ARBITER)
        );
        _expectNotDistinct(payer, arbiter);
        _expectNotDistinct(payee, payer);
        _expectNotDistinct(payee, payee);
    }

    function test_RevertWhen_AmountIsZero() external {
        _expectCreationRevert(
            _parameters(NATIVE, 0, ApprovalPolicy.Payer),
            abi.encodeWithSelector(EscrowFactory.AmountZero.selector)
        );
    }

    function test_RevertWhen_TimesAreOutOfRange() external {
        EscrowFactory.EscrowParameters memory parameters = _parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        parameters.releaseDelayS = 365 days + 1;
        _expectCreationRevert(
            parameters,
            abi.encodeWithSelector(EscrowFactory.ReleaseDelayOutOfRange.selector, 365 days + 1, 365 days)
        );
        parameters.releaseDelayS = 365 days;
        parameters.refundWindowS = 1 hours - 1;
        _expectCreationRevert(
            parameters,
            abi.encodeWithSelector(
                EscrowFactory.RefundWindowOutOfRange.selector, 1 hours - 1, 1 hours, 365 days
            )
        );
        parameters.refundWindowS = 365 days + 1;
        _expectCreationRevert(
            parameters,
            abi.encodeWithSelector(
                EscrowFactory.RefundWindowOutOfRange.selector, 365 days + 1, 1 hours, 365 days
            )
        );
    }

    function test_RevertWhen_NotifiedByAnyoneButAnEscrow() external {
        bytes memory expected = abi.encodeWithSelector(EscrowFactory.NotEscrow.selector, stranger);
        vm.startPrank(stranger);
        vm.expectRevert(expected);
        factory.notifyApproved(2, 1, stranger, 1);
        vm.expectRevert(expected);
        factory.notifyReleased(2, payee, AMOUNT);
        vm.expectRevert(expected);
        factory.notifyRefunded(2, payer, AMOUNT);
        vm.expectRevert(expected);
        factory.notifyWithdrawn(2, payee, payee, AMOUNT);
    }

    function test_RevertWhen_EscrowIsInitializedAgainOrByAStranger() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        EscrowTerms memory terms = escrow.terms();
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotFactory.selector, stranger));
        vm.prank(stranger);
        escrow.initialize(terms);
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.Funded, Escrow.Status.None)
        );
        vm.prank(address(factory));
        escrow.initialize(terms);
        Escrow implementation = Escrow(factory.implementation());
        vm.expectRevert(abi.encodeWithSelector(Escrow.NotFactory.selector, stranger));
        vm.prank(stranger);
        implementation.initialize(terms);
    }

    function _expectNotDistinct(address payee_, address arbiter_) private {
        EscrowFactory.EscrowParameters memory parameters = _parameters(NATIVE, AMOUNT, ApprovalPolicy.Payer);
        parameters.payee = payee_;
        parameters.arbiter = arbiter_;
        _expectCreationRevert(
            parameters,
            abi.encodeWithSelector(EscrowFactory.PartiesNotDistinct.selector, payer, payee_, arbiter_)
        );
    }

    function _expectCreationRevert(EscrowFactory.EscrowParameters memory parameters, bytes memory expected)
        private
    {
        vm.expectRevert(expected);
        vm.prank(payer);
        factory.createEscrow{value: parameters.amount}(parameters);
    }
}
