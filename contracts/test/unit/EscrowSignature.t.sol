// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {ApprovalPolicy, ROLE_ARBITER, ROLE_PAYEE, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";
import {SmartWallet} from "../SmartWallet.sol";

/// @notice Approvals without a transaction of the approver: what EscrowSignature.tree says.
contract EscrowSignatureTest is EscrowFixture {
    function test_SignedApprovalCountsAsTheRoles() external {
        Escrow escrow = _createNative(ApprovalPolicy.PayerAndArbiter);
        bytes memory signature = _sign("payer", escrow.approvalDigest(ROLE_PAYER, createdAt));
        vm.expectEmit(address(factory));
        emit EscrowJournal.EscrowApproved(address(escrow), 2, ROLE_PAYER, payer, ROLE_PAYER);
        vm.prank(stranger);
        escrow.approveBySignature(ROLE_PAYER, createdAt, signature);
        vm.assertEq(escrow.approvedRoles(), ROLE_PAYER);

        vm.expectRevert(abi.encodeWithSelector(Escrow.AlreadyApproved.selector, ROLE_PAYER));
        escrow.approveBySignature(ROLE_PAYER, createdAt, signature);
    }

    function test_DigestIsThatOfTheTypedData() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("Fusion Prime Escrow"),
                keccak256("1"),
                block.chainid,
                address(escrow)
            )
        );
        bytes32 approval = keccak256(
            abi.encode(
                keccak256(
                    "Approval(uint8 role,address payee,address asset,uint256 amount,uint32 round,uint256 deadline)"
                ),
                ROLE_PAYER,
                payee,
                NATIVE,
                AMOUNT,
                0,
                createdAt
            )
        );
        vm.assertEq(
            escrow.approvalDigest(ROLE_PAYER, createdAt),
            keccak256(abi.encodePacked(hex"1901", domain, approval))
        );
    }

    function test_ContractWalletApprovesByErc1271() external {
        payer = address(new SmartWallet(actor("owner")));
        vm.deal(payer, AMOUNT);
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes32 digest = escrow.approvalDigest(ROLE_PAYER, createdAt);
        vm.expectRevert(abi.encodeWithSelector(Escrow.InvalidSignature.selector, ROLE_PAYER, payer));
        escrow.approveBySignature(ROLE_PAYER, createdAt, _sign("stranger", digest));
        escrow.approveBySignature(ROLE_PAYER, createdAt, _sign("owner", digest));
        vm.assertTrue(escrow.isApproved());
    }

    /// @dev The factory, and with it an escrow of the same terms, has the same address on every chain.
    function test_RevertWhen_SignedForAnotherChain() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes memory signature = _sign("payer", escrow.approvalDigest(ROLE_PAYER, createdAt));
        vm.chainId(block.chainid + 1);
        vm.expectRevert(abi.encodeWithSelector(Escrow.InvalidSignature.selector, ROLE_PAYER, payer));
        escrow.approveBySignature(ROLE_PAYER, createdAt, signature);
    }

    function test_RevertWhen_SignatureHasExpired() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes memory signature = _sign("payer", escrow.approvalDigest(ROLE_PAYER, createdAt));
        vm.warp(createdAt + 1);
        vm.expectRevert(abi.encodeWithSelector(Escrow.SignatureExpired.selector, createdAt, createdAt + 1));
        escrow.approveBySignature(ROLE_PAYER, createdAt, signature);
    }

    function test_RevertWhen_SignedByAnotherOrForAnotherRoleOrDeadlineOrEscrow() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        Escrow other = _createNative(ApprovalPolicy.TwoOfThree, bytes32(uint256(1)));
        bytes memory payers = _sign("payer", escrow.approvalDigest(ROLE_PAYER, createdAt));
        _expectInvalid(escrow, ROLE_PAYEE, payee, createdAt, payers);
        _expectInvalid(escrow, ROLE_ARBITER, arbiter, createdAt, payers);
        _expectInvalid(escrow, ROLE_PAYER, payer, createdAt + 1, payers);
        _expectInvalid(other, ROLE_PAYER, payer, createdAt, payers);
        // A role that nobody holds, and two roles at once.
        _expectInvalid(escrow, 0, address(0), createdAt, payers);
        _expectInvalid(escrow, ROLE_PAYER | ROLE_PAYEE, address(0), createdAt, payers);
        _expectInvalid(escrow, ROLE_PAYER, payer, createdAt, new bytes(65));
        _expectInvalid(escrow, ROLE_PAYER, payer, createdAt, "");
    }

    function test_RevertWhen_SignatureIsOfAnEarlierRound() external {
        Escrow escrow = _createNative(ApprovalPolicy.TwoOfThree);
        bytes memory early = _sign("payee", escrow.approvalDigest(ROLE_PAYEE, createdAt));
        _proposeAs(payer, escrow, successor);
        _proposeAs(payee, escrow, successor);
        _expectInvalid(escrow, ROLE_PAYEE, payee, createdAt, early);
        escrow.approveBySignature(
            ROLE_PAYEE, createdAt, _sign("payee", escrow.approvalDigest(ROLE_PAYEE, createdAt))
        );
        escrow.approveBySignature(
            ROLE_ARBITER, createdAt, _sign("successor", escrow.approvalDigest(ROLE_ARBITER, createdAt))
        );
        vm.assertTrue(escrow.isApproved());
    }

    function test_RevertWhen_SignersRoleIsNotInThePolicy() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes memory signature = _sign("payee", escrow.approvalDigest(ROLE_PAYEE, createdAt));
        vm.expectRevert(
            abi.encodeWithSelector(Escrow.RoleNotInPolicy.selector, ROLE_PAYEE, ApprovalPolicy.Payer)
        );
        escrow.approveBySignature(ROLE_PAYEE, createdAt, signature);
    }

    function test_RevertWhen_SignatureIsMalleated() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        (uint8 v, bytes32 r, bytes32 s) =
            vm.sign(keyOf("payer"), escrow.approvalDigest(ROLE_PAYER, createdAt));
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        bytes memory twin = abi.encodePacked(r, bytes32(order - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        _expectInvalid(escrow, ROLE_PAYER, payer, createdAt, twin);
    }

    function _expectInvalid(
        Escrow escrow,
        uint8 role,
        address party,
        uint256 deadline,
        bytes memory signature
    ) private {
        vm.expectRevert(abi.encodeWithSelector(Escrow.InvalidSignature.selector, role, party));
        escrow.approveBySignature(role, deadline, signature);
    }
}
