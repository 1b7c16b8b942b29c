// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {EscrowJournal} from "../../src/EscrowJournal.sol";
import {
    ApprovalPolicy,
    EscrowTerms,
    ROLE_ARBITER,
    ROLE_PAYEE,
    ROLE_PAYER
} from "../../src/interfaces/IEscrowFactory.sol";
import {MockERC20} from "../../src/mocks/MockERC20.sol";
import {Test, Vm} from "../Test.sol";

/// @notice Anyone tries anything on several escrows, native and in tokens of 6, 8 and 18 decimals, while time passes.
/// @dev Keeps what a reader of the factory's events alone would know of each escrow.
contract EscrowHandler is Test {
    struct Projection {
        uint64 step;
        uint8 approvedRoles;
        uint8 withdrawnRoles;
        address arbiter;
        uint256 decisions;
        bool disputed;
        uint256 paid;
    }

    uint256 private constant MAX_ESCROWS = 4;

    EscrowFactory public immutable factory;
    Escrow[] public escrows;
    /// @notice Everyone who tries: payer, payee, arbiter, two who may become arbiter, a stranger.
    address[6] private _callers;
    address[4] private _assets;
    mapping(Escrow escrow => Projection) private _projections;

    constructor(EscrowFactory factory_) {
        factory = factory_;
        _callers = [
            actor("payer"),
            actor("payee"),
            actor("arbiter"),
            actor("second arbiter"),
            actor("third arbiter"),
            actor("stranger")
        ];
        _assets = [
            address(0),
            address(new MockERC20("Six", "SIX", 6)),
            address(new MockERC20("Eight", "EIGHT", 8)),
            address(new MockERC20("Eighteen", "EIGHTEEN", 18))
        ];
    }

    function escrowCount() external view returns (uint256) {
        return escrows.length;
    }

    function projection(Escrow escrow) external view returns (Projection memory) {
        return _projections[escrow];
    }

    function create(uint8 policy, uint256 amount) external {
        if (escrows.length == MAX_ESCROWS) return;
        address asset = _assets[escrows.length];
        EscrowTerms memory terms = EscrowTerms({
            payer: _callers[0],
            payee: _callers[1],
            arbiter: _callers[2],
            asset: asset,
            amount: bound(amount, 1, asset == address(0) ? 1e24 : type(uint256).max),
            releaseDelayS: 1 days,
            refundWindowS: 2 days,
            disputeWindowS: 2 days,
            policy: ApprovalPolicy(policy % 3)
        });
        uint256 value;
        vm.startPrank(terms.payer);
        if (asset == address(0)) {
            value = terms.amount;
            vm.deal(terms.payer, value);
        } else {
            MockERC20(asset).mint(terms.payer, terms.amount);
            MockERC20(asset).approve(address(factory), terms.amount);
        }
        vm.recordLogs();
        escrows.push(Escrow(factory.createEscrow{value: value}(terms, bytes32(escrows.length))));
        vm.stopPrank();
        _applyLogs(vm.getRecordedLogs());
    }

    function approve(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.approve, ()));
    }

    function dispute(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.dispute, ()));
    }

    function resolve(uint256 escrowSeed, uint256 callerSeed, uint16 shareBps) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.resolve, (uint16(bound(shareBps, 0, 10_001)))));
    }

    function proposeArbiter(uint256 escrowSeed, uint256 callerSeed, uint256 candidateSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.proposeArbiter, (_callers[candidateSeed % 6])));
    }

    function release(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.release, ()));
    }

    function refund(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.refund, ()));
    }

    function withdraw(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.withdraw, (_callers[callerSeed % 6])));
    }

    function passTime(uint256 durationS) external {
        vm.warp(block.timestamp + bound(durationS, 1 hours, 12 hours));
    }

    /// @dev A refusal is a valid outcome: what counts is that whatever succeeds keeps the invariants.
    function _attempt(uint256 escrowSeed, uint256 callerSeed, bytes memory action) private {
        if (escrows.length == 0) return;
        address escrow = address(escrows[escrowSeed % escrows.length]);
        vm.recordLogs();
        vm.prank(_callers[callerSeed % 6]);
        (bool done,) = escrow.call(action);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (done) _applyLogs(logs);
    }

    function _applyLogs(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].emitter == address(factory)) _apply(logs[i]);
        }
    }

    function _apply(Vm.Log memory log) private {
        bytes32 topic = log.topics[0];
        Escrow escrow = Escrow(address(uint160(uint256(log.topics[1]))));
        Projection storage known = _projections[escrow];
        vm.assertEq(abi.decode(log.data, (uint64)), ++known.step, "step has a gap or a repeat");
        vm.assertEq(topic == EscrowJournal.EscrowCreated.selector, known.step == 1);
        if (topic == EscrowJournal.EscrowCreated.selector) {
            (, known.arbiter) = abi.decode(log.data, (uint64, address));
        } else if (topic == EscrowJournal.EscrowApproved.selector) {
            _applyApproval(escrow, known, log.data);
        } else if (topic == EscrowJournal.EscrowArbiterChanged.selector) {
            (, address previous, address next) = abi.decode(log.data, (uint64, address, address));
            vm.assertEq(previous, known.arbiter);
            known.arbiter = next;
            known.approvedRoles = 0;
        } else if (topic == EscrowJournal.EscrowDisputed.selector) {
            vm.assertFalse(known.disputed);
            known.disputed = true;
        } else if (topic == EscrowJournal.EscrowWithdrawn.selector) {
            (, uint8 role,,, uint256 amount) =
                abi.decode(log.data, (uint64, uint8, address, address, uint256));
            vm.assertEq(known.withdrawnRoles & role, 0, "a role withdrew twice");
            known.withdrawnRoles |= role;
            known.paid += amount;
        } else if (topic == EscrowJournal.EscrowResolved.selector) {
            vm.assertTrue(known.disputed);
            ++known.decisions;
        } else if (
            topic == EscrowJournal.EscrowReleased.selector || topic == EscrowJournal.EscrowRefunded.selector
        ) {
            ++known.decisions;
        }
    }

    function _applyApproval(Escrow escrow, Projection storage known, bytes memory data) private {
        (, uint8 role, address approver, uint8 roles) = abi.decode(data, (uint64, uint8, address, uint8));
        vm.assertEq(role & known.approvedRoles, 0, "a role approved twice");
        vm.assertEq(escrow.roleOf(approver), role, "approved in another's role");
        vm.assertTrue(role == ROLE_PAYER || role == ROLE_PAYEE || role == ROLE_ARBITER);
        known.approvedRoles |= role;
        vm.assertEq(known.approvedRoles, roles);
    }
}
