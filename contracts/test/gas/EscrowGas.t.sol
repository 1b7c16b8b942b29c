// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {DvpEscrow} from "../../src/DvpEscrow.sol";
import {Escrow} from "../../src/Escrow.sol";
import {ApprovalPolicy, DvpTerms, EscrowTerms, ROLE_PAYER} from "../../src/interfaces/IEscrowFactory.sol";
import {EscrowFixture} from "../EscrowFixture.sol";

/// @notice What each operation costs, kept in snapshots/Escrow.json: whole transactions, each with cold storage.
/// forge-config: default.isolate = true
contract EscrowGasTest is EscrowFixture {
    function test_GasOfALifeThatIsReleased() external {
        EscrowTerms memory terms = _terms(NATIVE, AMOUNT, ApprovalPolicy.TwoOfThree);
        vm.startPrank(payer);
        Escrow escrow = Escrow(factory.createEscrow{value: AMOUNT}(terms, bytes32(0)));
        vm.snapshotGasLastCall("Escrow", "create native");
        escrow.approve();
        vm.snapshotGasLastCall("Escrow", "approve");
        vm.stopPrank();
        _approveAs(payee, escrow);
        vm.warp(createdAt + RELEASE_DELAY_S);
        escrow.release();
        vm.snapshotGasLastCall("Escrow", "release");
        _withdrawAs(payee, escrow);
        vm.snapshotGasLastCall("Escrow", "withdraw native");
    }

    function test_GasOfALifeThatIsSplit() external {
        EscrowTerms memory terms = _terms(address(usdc), 250e6, ApprovalPolicy.Payer);
        usdc.mint(payer, 250e6);
        vm.startPrank(payer);
        usdc.approve(address(factory), 250e6);
        Escrow escrow = Escrow(factory.createEscrow(terms, bytes32(0)));
        vm.snapshotGasLastCall("Escrow", "create token");
        escrow.dispute();
        vm.snapshotGasLastCall("Escrow", "dispute");
        vm.stopPrank();
        _proposeAs(payer, escrow, successor);
        vm.snapshotGasLastCall("Escrow", "propose arbiter");
        _proposeAs(payee, escrow, successor);
        vm.snapshotGasLastCall("Escrow", "change arbiter");
        vm.prank(successor);
        escrow.resolve(5_000);
        vm.snapshotGasLastCall("Escrow", "resolve");
        _withdrawAs(payee, escrow);
        vm.snapshotGasLastCall("Escrow", "withdraw token");
    }

    function test_GasOfASignedApprovalAndARefund() external {
        Escrow escrow = _createNative(ApprovalPolicy.Payer);
        bytes memory signature = _sign("payer", escrow.approvalDigest(ROLE_PAYER, createdAt));
        escrow.approveBySignature(ROLE_PAYER, createdAt, signature);
        vm.snapshotGasLastCall("Escrow", "approve by signature");
        _refundAs(payee, escrow);
        vm.snapshotGasLastCall("Escrow", "refund");
    }

    function test_GasOfADeliveryVersusPayment() external {
        DvpTerms memory terms = DvpTerms({
            seller: payer,
            buyer: payee,
            deliveryAsset: NATIVE,
            deliveryAmount: AMOUNT,
            paymentAsset: address(usdc),
            paymentAmount: 250e6,
            deadline: createdAt + 1
        });
        usdc.mint(payee, 250e6);
        vm.prank(payer);
        DvpEscrow dvp = DvpEscrow(factory.createDvp{value: AMOUNT}(terms, bytes32(0)));
        vm.snapshotGasLastCall("Escrow", "create delivery versus payment");
        vm.startPrank(payee);
        usdc.approve(address(dvp), 250e6);
        dvp.deposit();
        vm.snapshotGasLastCall("Escrow", "deposit and settle");
        dvp.withdraw(payee);
        vm.snapshotGasLastCall("Escrow", "withdraw delivery");
    }
}
