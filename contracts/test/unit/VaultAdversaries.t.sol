// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {Vault} from "../../src/Vault.sol";
import {VaultFixture} from "../VaultFixture.sol";
import {CallbackToken} from "../adversaries/CallbackToken.sol";
import {FeeToken} from "../adversaries/FeeToken.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";
import {RefusingReceiver} from "../adversaries/RefusingReceiver.sol";

/// @notice Tokens and receivers that do not behave.
contract VaultAdversariesTest is VaultFixture {
    bytes private constant REENTRANCY_REFUSED =
        abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);

    function test_FeeOnTransferIsBookedByWhatArrived() external {
        FeeToken fee = new FeeToken();
        _list(address(fee), usdcFeed, 10_000, 10_000);
        fee.mint(address(this), 1000e18);
        fee.approve(address(vault), 1000e18);
        vault.supply(address(fee), 1000e18);
        vm.assertEq(vault.marketOf(address(fee)).cash, 990e18);

        _deposit(alice, fee, 300e18);
        _assertPosition(alice, address(fee), 297e18, 0);

        _borrow(alice, address(fee), 100e18);
        _repay(alice, fee, 99e18);
        _assertPosition(alice, address(fee), 297e18, 100e18 - 98.01e18);
        vm.assertEq(fee.balanceOf(address(vault)), 297e18 + vault.marketOf(address(fee)).cash);
    }

    function test_ReentrantWithdrawalOfNativeIsRefused() external {
        ReentrantParty thief = new ReentrantParty();
        vm.deal(address(thief), 1 ether);
        thief.act(address(vault), abi.encodeCall(Vault.deposit, (NATIVE, 1 ether)), 1 ether);
        thief.arm(address(vault), abi.encodeCall(Vault.withdraw, (NATIVE, 1 ether)));
        thief.act(address(vault), abi.encodeCall(Vault.withdraw, (NATIVE, 1 ether)), 0);

        _assertAttackRefused(thief);
        vm.assertEq(address(thief).balance, 1 ether);
        _assertPosition(address(thief), NATIVE, 0, 0);
    }

    function test_ReentrantBorrowDuringBorrowIsRefused() external {
        ReentrantParty thief = new ReentrantParty();
        _depositFor(thief, 1000e6);
        thief.arm(address(vault), abi.encodeCall(Vault.borrow, (NATIVE, 0.1 ether)));
        thief.act(address(vault), abi.encodeCall(Vault.borrow, (NATIVE, 0.1 ether)), 0);

        _assertAttackRefused(thief);
        _assertPosition(address(thief), NATIVE, 0, 0.1 ether);
    }

    function test_ReentrantDepositIsNotBookedTwice() external {
        CallbackToken token = new CallbackToken();
        _list(address(token), usdcFeed, 10_000, 10_000);
        ReentrantParty thief = new ReentrantParty();
        token.mint(address(thief), 20e18);
        thief.act(address(token), abi.encodeCall(token.approve, (address(vault), 20e18)), 0);
        thief.arm(address(vault), abi.encodeCall(Vault.deposit, (address(token), 10e18)));
        thief.act(address(vault), abi.encodeCall(Vault.deposit, (address(token), 10e18)), 0);

        _assertAttackRefused(thief);
        _assertPosition(address(thief), address(token), 10e18, 0);
        vm.assertEq(vault.accountSequence(address(thief)), 1);
    }

    function test_RefusingReceiverKeepsItsCollateral() external {
        RefusingReceiver wallet = new RefusingReceiver();
        vm.deal(address(wallet), 1 ether);
        wallet.act(address(vault), abi.encodeCall(Vault.deposit, (NATIVE, 1 ether)), 1 ether);
        vm.expectRevert(RefusingReceiver.PaymentRefused.selector);
        wallet.act(address(vault), abi.encodeCall(Vault.withdraw, (NATIVE, 1 ether)), 0);
        _assertPosition(address(wallet), NATIVE, 1 ether, 0);
        vm.assertEq(vault.accountSequence(address(wallet)), 1);
    }

    function _depositFor(ReentrantParty party, uint256 amount) private {
        usdc.mint(address(party), amount);
        party.act(address(usdc), abi.encodeCall(usdc.approve, (address(vault), amount)), 0);
        party.act(address(vault), abi.encodeCall(Vault.deposit, (address(usdc), amount)), 0);
    }

    function _assertAttackRefused(ReentrantParty thief) private view {
        vm.assertTrue(thief.attempted());
        vm.assertFalse(thief.succeeded());
        vm.assertEq(keccak256(thief.result()), keccak256(REENTRANCY_REFUSED));
    }
}
