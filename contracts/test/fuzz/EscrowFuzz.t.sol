// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy, EscrowTerms} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice Any order of approval attempts, and any terms within the bounds.
contract EscrowFuzzTest is EscrowFixture {
    function testFuzz_ApprovalDependsOnTheSetOfRolesOnly(uint8 policyNumber, uint8[8] calldata attempts)
        external
    {
        ApprovalPolicy policy = ApprovalPolicy(bound(policyNumber, 0, 2));
        Escrow escrow = _createNative(policy);
        address[4] memory callers = [payer, payee, arbiter, stranger];
        bool[4] memory attempted;
        for (uint256 i = 0; i < attempts.length; ++i) {
            uint256 caller = attempts[i] % 4;
            attempted[caller] = true;
            vm.prank(callers[caller]);
            try escrow.approve() {} catch {}
        }
        bool expected = policy == ApprovalPolicy.Payer
            ? attempted[0]
            : policy == ApprovalPolicy.PayerAndArbiter
                ? attempted[0] && attempted[2]
                : (attempted[0] && attempted[1]) || (attempted[1] && attempted[2])
                    || (attempted[0] && attempted[2]);
        vm.assertEq(escrow.isApproved(), expected);
    }

    function testFuzz_TermsAreKeptAndTheAddressIsPredicted(
        uint256 amount,
        uint64 releaseDelayS,
        uint64 refundWindowS,
        bytes32 salt
    ) external {
        EscrowFactory.EscrowParameters memory parameters = _parameters(
            address(usdc), bound(amount, 1, type(uint256).max), ApprovalPolicy.TwoOfThree
        );
        parameters.releaseDelayS = uint64(bound(releaseDelayS, 0, 365 days));
        parameters.refundWindowS = uint64(bound(refundWindowS, 1 hours, 365 days));
        parameters.salt = salt;
        usdc.mint(payer, parameters.amount);
        vm.startPrank(payer);
        usdc.approve(address(factory), parameters.amount);
        address escrow = factory.createEscrow(parameters);
        vm.stopPrank();

        vm.assertEq(escrow, factory.predictEscrow(payer, parameters));
        EscrowTerms memory terms = Escrow(escrow).terms();
        vm.assertEq(terms.amount, parameters.amount);
        vm.assertEq(terms.releaseTime, createdAt + parameters.releaseDelayS);
        vm.assertEq(terms.refundTime, createdAt + parameters.releaseDelayS + parameters.refundWindowS);
    }
}
