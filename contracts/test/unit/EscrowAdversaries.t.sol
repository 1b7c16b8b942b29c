// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy, EscrowTerms} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {CallbackToken} from "../adversaries/CallbackToken.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Tokens that call back, receivers that refuse or re-enter.
contract EscrowAdversariesTest is EscrowFixture {
    CallbackToken private _token;
    ReentrantParty private _thief;
    EscrowTerms private _agreed;
    address private _predicted;

    function setUp() public override {
        super.setUp();
        _token = new CallbackToken();
        _thief = new ReentrantParty();
        _token.mint(address(_thief), 20e18);
        _thief.act(address(_token), abi.encodeCall(_token.approve, (address(factory), 20e18)), 0);
        payer = address(_thief);
        _agreed = _terms(address(_token), 10e18, ApprovalPolicy.Payer);
        _agreed.releaseDelayS = 0;
        _predicted = factory.predictEscrow(_agreed, bytes32(0));
    }

    function test_EscrowIsInertUntilItIsFunded() external {
        _thief.arm(_predicted, abi.encodeCall(Escrow.approve, ()));
        _thief.act(address(factory), _creation(), 0);

        _expectAttackFailed(abi.encodeWithSelector(Escrow.NotUndecided.selector, Escrow.Status.None));
        vm.assertEq(Escrow(_predicted).step(), 1);
    }

    function test_NestedCreationOfTheSameEscrowIsRefused() external {
        _thief.arm(address(factory), _creation());
        _thief.act(address(factory), _creation(), 0);

        vm.assertTrue(_thief.attempted());
        vm.assertFalse(_thief.succeeded());
        vm.assertEq(_token.balanceOf(_predicted), 10e18);
    }

    function test_ReentrantTokenWithdrawalIsRefused() external {
        _thief.act(address(factory), _creation(), 0);
        vm.prank(payee);
        Escrow(_predicted).refund();
        // More than the escrow's amount is there to be stolen.
        _token.mint(_predicted, 10e18);
        bytes memory withdrawal = abi.encodeCall(Escrow.withdraw, (address(_thief)));
        _thief.arm(_predicted, withdrawal);
        _thief.act(_predicted, withdrawal, 0);

        _expectAttackFailed(abi.encodeWithSelector(Escrow.AlreadyWithdrawn.selector, 1));
        vm.assertEq(_token.balanceOf(address(_thief)), 20e18);
    }

    function test_ReentrantNativeWithdrawalIsRefused() external {
        Escrow escrow = _releasedTo(address(_thief));
        vm.deal(address(escrow), 3 * AMOUNT);
        bytes memory withdrawal = abi.encodeCall(Escrow.withdraw, (address(_thief)));
        _thief.arm(address(escrow), withdrawal);
        _thief.act(address(escrow), withdrawal, 0);

        _expectAttackFailed(abi.encodeWithSelector(Escrow.AlreadyWithdrawn.selector, 2));
        vm.assertEq(address(_thief).balance, AMOUNT);
    }

    function test_RefusingPayeeBlocksNobodyAndCanPayElsewhere() external {
        RefusingReceiver wallet = new RefusingReceiver();
        Escrow escrow = _releasedTo(address(wallet));

        vm.expectRevert(RefusingReceiver.PaymentRefused.selector);
        wallet.act(address(escrow), abi.encodeCall(Escrow.withdraw, (address(wallet))), 0);
        vm.assertEq(escrow.withdrawnRoles(), 0);
        wallet.act(address(escrow), abi.encodeCall(Escrow.withdraw, (stranger)), 0);
        vm.assertEq(stranger.balance, AMOUNT);
    }

    function test_RefusingSideOfASplitDoesNotHoldTheOther() external {
        RefusingReceiver wallet = new RefusingReceiver();
        payer = actor("payer");
        payee = address(wallet);
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        vm.prank(payer);
        escrow.dispute();
        vm.prank(arbiter);
        escrow.resolve(5_000);
        vm.expectRevert(RefusingReceiver.PaymentRefused.selector);
        wallet.act(address(escrow), abi.encodeCall(Escrow.withdraw, (address(wallet))), 0);
        _withdrawAs(payer, escrow);
        vm.assertEq(address(escrow).balance, AMOUNT / 2);
    }

    function _creation() private view returns (bytes memory) {
        return abi.encodeCall(EscrowFactory.createEscrow, (_agreed, bytes32(0)));
    }

    function _releasedTo(address payee_) private returns (Escrow escrow) {
        payer = actor("payer");
        payee = payee_;
        escrow = _createNative(ApprovalPolicy.Payer);
        _approveAs(payer, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
    }

    function _expectAttackFailed(bytes memory expected) private view {
        vm.assertTrue(_thief.attempted());
        vm.assertFalse(_thief.succeeded());
        vm.assertEq(keccak256(_thief.result()), keccak256(expected));
    }
}
