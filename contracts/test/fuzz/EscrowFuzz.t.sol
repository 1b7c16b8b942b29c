// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {ApprovalPolicy, EscrowTerms, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice Any order of approval attempts, any terms within the bounds, any split.
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
        address payee_,
        address arbiter_,
        uint256 amount,
        uint64[3] calldata durationsS,
        uint8 policy,
        bytes32 salt
    ) external {
        vm.assume(payee_ != address(0) && payee_ != payer);
        vm.assume(arbiter_ != address(0) && arbiter_ != payer && arbiter_ != payee_);
        EscrowTerms memory terms = EscrowTerms({
            payer: payer,
            payee: payee_,
            arbiter: arbiter_,
            asset: address(usdc),
            amount: bound(amount, 1, type(uint256).max),
            releaseDelayS: uint64(bound(durationsS[0], 0, 365 days)),
            refundWindowS: uint64(bound(durationsS[1], 1 hours, 365 days)),
            disputeWindowS: uint64(bound(durationsS[2], 1 hours, 90 days)),
            policy: ApprovalPolicy(policy % 3)
        });
        usdc.mint(payer, terms.amount);
        vm.startPrank(payer);
        usdc.approve(address(factory), terms.amount);
        Escrow escrow = Escrow(factory.createEscrow(terms, salt));
        vm.stopPrank();

        vm.assertEq(address(escrow), factory.predictEscrow(terms, salt));
        vm.assertEq(keccak256(abi.encode(escrow.terms())), keccak256(abi.encode(terms)));
        vm.assertEq(escrow.releaseTime(), createdAt + terms.releaseDelayS);
        vm.assertEq(escrow.refundTime(), createdAt + terms.releaseDelayS + terms.refundWindowS);
    }

    function testFuzz_SplitPaysOutTheWholeAmountAndNoMore(uint256 amount, uint16 shareBps) external {
        amount = bound(amount, 1, type(uint256).max);
        shareBps = uint16(bound(shareBps, 0, 10_000));
        Escrow escrow = _createToken(usdc, amount, ApprovalPolicy.Payer);
        vm.prank(payer);
        escrow.dispute();
        vm.prank(arbiter);
        escrow.resolve(shareBps);
        uint256 payeePart = escrow.withdrawable(ROLE_PAYEE);
        // floor(amount · share / 10,000), put together without the product that would overflow
        vm.assertEq(payeePart, amount / 10_000 * shareBps + (amount % 10_000) * shareBps / 10_000);
        vm.assertEq(payeePart + escrow.withdrawable(ROLE_PAYER), amount);
    }

    function testFuzz_OnlyTheHoldersSignatureApproves(uint256 key, uint8 role, bytes32 digest) external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        key = bound(key, 1, type(uint128).max);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        vm.expectPartialRevert(Escrow.InvalidSignature.selector);
        escrow.approveBySignature(role, createdAt, abi.encodePacked(r, s, v));
        vm.assertEq(escrow.approvedRoles(), 0);
    }
}
