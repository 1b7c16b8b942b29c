// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {CallbackToken} from "../adversaries/CallbackToken.sol";
import {ReentrantParty} from "../adversaries/ReentrantParty.sol";

/// @notice A payer whose token calls it back in the middle of the funding.
contract EscrowAdversariesTest is EscrowFixture {
    CallbackToken private _token;
    ReentrantParty private _thief;
    EscrowFactory.EscrowParameters private _agreed;
    address private _predicted;

    function setUp() public override {
        super.setUp();
        _token = new CallbackToken();
        _thief = new ReentrantParty();
        _token.mint(address(_thief), 20e18);
        _thief.act(address(_token), abi.encodeCall(_token.approve, (address(factory), 20e18)), 0);
        _agreed = _parameters(address(_token), 10e18, ApprovalPolicy.Payer);
        _agreed.releaseDelayS = 0;
        _predicted = factory.predictEscrow(address(_thief), _agreed);
    }

    function test_EscrowIsInertUntilItIsFunded() external {
        _thief.arm(_predicted, abi.encodeCall(Escrow.approve, ()));
        _thief.act(address(factory), abi.encodeCall(EscrowFactory.createEscrow, (_agreed)), 0);

        vm.assertTrue(_thief.attempted());
        vm.assertFalse(_thief.succeeded());
        vm.assertEq(
            keccak256(_thief.result()),
            keccak256(
                abi.encodeWithSelector(Escrow.WrongStatus.selector, Escrow.Status.None, Escrow.Status.Funded)
            )
        );
        vm.assertEq(Escrow(_predicted).step(), 1);
    }

    function test_NestedCreationOfTheSameEscrowIsRefused() external {
        bytes memory creation = abi.encodeCall(EscrowFactory.createEscrow, (_agreed));
        _thief.arm(address(factory), creation);
        _thief.act(address(factory), creation, 0);

        vm.assertTrue(_thief.attempted());
        vm.assertFalse(_thief.succeeded());
        vm.assertEq(_token.balanceOf(_predicted), 10e18);
    }
}
