// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Escrow} from "../../src/Escrow.sol";
import {EscrowFactory} from "../../src/EscrowFactory.sol";
import {ApprovalPolicy} from "../../src/interfaces/IEscrowFactory.sol";
import {Test, Vm} from "../Test.sol";

/// @notice Anyone tries anything on several native escrows while time passes.
/// @dev Follows the factory's events: they must count steps without gaps and never contradict themselves.
contract EscrowHandler is Test {
    uint256 private constant MAX_ESCROWS = 3;

    EscrowFactory public immutable factory;
    Escrow[] public escrows;
    address[4] private _callers;

    mapping(Escrow escrow => uint64 step) public steps;
    mapping(Escrow escrow => uint8 roles) public approvedRoles;
    mapping(Escrow escrow => uint256 count) public decisions;
    mapping(Escrow escrow => uint256 amount) public paid;

    constructor(EscrowFactory factory_) {
        factory = factory_;
        _callers = [actor("payer"), actor("payee"), actor("arbiter"), actor("stranger")];
    }

    function escrowCount() external view returns (uint256) {
        return escrows.length;
    }

    function create(uint8 policy, uint256 amount) external {
        if (escrows.length == MAX_ESCROWS) return;
        amount = bound(amount, 1, 1e24);
        EscrowFactory.EscrowParameters memory parameters = EscrowFactory.EscrowParameters({
            payee: _callers[1],
            arbiter: _callers[2],
            asset: address(0),
            amount: amount,
            releaseDelayS: 1 days,
            refundWindowS: 2 days,
            policy: ApprovalPolicy(policy % 3),
            salt: bytes32(escrows.length)
        });
        vm.deal(_callers[0], amount);
        vm.recordLogs();
        vm.prank(_callers[0]);
        escrows.push(Escrow(factory.createEscrow{value: amount}(parameters)));
        _applyLogs(vm.getRecordedLogs());
    }

    function approve(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.approve, ()));
    }

    function release(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.release, ()));
    }

    function refund(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.refund, ()));
    }

    function withdraw(uint256 escrowSeed, uint256 callerSeed) external {
        _attempt(escrowSeed, callerSeed, abi.encodeCall(Escrow.withdraw, (_callers[callerSeed % 4])));
    }

    function passTime(uint256 durationS) external {
        vm.warp(block.timestamp + bound(durationS, 1 hours, 1 days));
    }

    /// @dev A refusal is a valid outcome: what counts is that whatever succeeds keeps the invariants.
    function _attempt(uint256 escrowSeed, uint256 callerSeed, bytes memory action) private {
        if (escrows.length == 0) return;
        address escrow = address(escrows[escrowSeed % escrows.length]);
        vm.recordLogs();
        vm.prank(_callers[callerSeed % 4]);
        (bool done,) = escrow.call(action);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (done) _applyLogs(logs);
    }

    function _applyLogs(Vm.Log[] memory logs) private {
        for (uint256 i = 0; i < logs.length; ++i) {
            vm.assertEq(logs[i].emitter, address(factory));
            bytes32 topic = logs[i].topics[0];
            Escrow escrow = Escrow(address(uint160(uint256(logs[i].topics[1]))));
            uint64 step = abi.decode(logs[i].data, (uint64));
            vm.assertEq(step, ++steps[escrow], "step has a gap or a repeat");
            vm.assertEq(topic == EscrowFactory.EscrowCreated.selector, step == 1);

            if (topic == EscrowFactory.EscrowApproved.selector) {
                (, uint8 role, address approver, uint8 roles) =
                    abi.decode(logs[i].data, (uint64, uint8, address, uint8));
                vm.assertEq(role & approvedRoles[escrow], 0, "a role approved twice");
                vm.assertEq(escrow.roleOf(approver), role, "approved in another's role");
                approvedRoles[escrow] |= role;
                vm.assertEq(approvedRoles[escrow], roles);
            } else if (
                topic == EscrowFactory.EscrowReleased.selector
                    || topic == EscrowFactory.EscrowRefunded.selector
            ) {
                ++decisions[escrow];
            } else if (topic == EscrowFactory.EscrowWithdrawn.selector) {
                (,,, uint256 amount) = abi.decode(logs[i].data, (uint64, address, address, uint256));
                paid[escrow] += amount;
            }
        }
    }
}
