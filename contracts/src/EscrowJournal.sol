// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ApprovalPolicy, IEscrowFactory} from "./interfaces/IEscrowFactory.sol";

/// @title The one place that emits every escrow's events
/// @notice One topic filter on this address sees the whole life of all escrows: every event carries the escrow and its
/// step, without gaps, and all that a reader needs to follow it without asking the chain.
abstract contract EscrowJournal is IEscrowFactory {
    event EscrowCreated(
        address indexed escrow,
        uint64 step,
        address indexed payer,
        address indexed payee,
        address arbiter,
        address asset,
        uint256 amount,
        uint64 releaseTime,
        uint64 refundTime,
        uint64 disputeWindowS,
        ApprovalPolicy policy
    );
    /// @param role 1 payer, 2 payee, 4 arbiter.
    /// @param approvedRoles Bit mask of all roles that have approved so far.
    event EscrowApproved(
        address indexed escrow, uint64 step, uint8 role, address approver, uint8 approvedRoles
    );
    event EscrowArbiterProposed(address indexed escrow, uint64 step, uint8 role, address proposedArbiter);
    /// @notice Every approval and proposal so far is void.
    event EscrowArbiterChanged(address indexed escrow, uint64 step, address previousArbiter, address arbiter);
    event EscrowDisputed(address indexed escrow, uint64 step, uint8 role, uint64 disputeDeadline);
    event EscrowResolved(
        address indexed escrow, uint64 step, uint16 payeeShareBps, uint256 payeeAmount, uint256 payerAmount
    );
    event EscrowReleased(address indexed escrow, uint64 step, address payee, uint256 amount);
    event EscrowRefunded(address indexed escrow, uint64 step, address payer, uint256 amount);
    event EscrowWithdrawn(
        address indexed escrow,
        uint64 step,
        uint8 role,
        address beneficiary,
        address recipient,
        uint256 amount
    );

    event DvpCreated(
        address indexed escrow,
        uint64 step,
        address indexed seller,
        address indexed buyer,
        address deliveryAsset,
        uint256 deliveryAmount,
        address paymentAsset,
        uint256 paymentAmount,
        uint64 deadline
    );
    /// @param role 1 seller, 2 buyer.
    event DvpDeposited(
        address indexed escrow, uint64 step, uint8 role, address depositor, address asset, uint256 amount
    );
    event DvpSettled(address indexed escrow, uint64 step);
    /// @param depositedRoles Bit mask of the roles that get their own leg back.
    event DvpRefunded(address indexed escrow, uint64 step, uint8 depositedRoles);
    event DvpWithdrawn(
        address indexed escrow,
        uint64 step,
        uint8 role,
        address beneficiary,
        address recipient,
        address asset,
        uint256 amount
    );

    error NotEscrow(address caller);

    /// @notice Whether this factory created the address, as an escrow of either kind.
    mapping(address escrow => bool created) public isEscrow;

    modifier onlyEscrow() {
        _requireEscrow();
        _;
    }

    /// @inheritdoc IEscrowFactory
    function notifyApproved(uint64 step, uint8 role, address approver, uint8 approvedRoles)
        external
        onlyEscrow
    {
        emit EscrowApproved(msg.sender, step, role, approver, approvedRoles);
    }

    /// @inheritdoc IEscrowFactory
    function notifyArbiterProposed(uint64 step, uint8 role, address proposedArbiter) external onlyEscrow {
        emit EscrowArbiterProposed(msg.sender, step, role, proposedArbiter);
    }

    /// @inheritdoc IEscrowFactory
    function notifyArbiterChanged(uint64 step, address previousArbiter, address arbiter) external onlyEscrow {
        emit EscrowArbiterChanged(msg.sender, step, previousArbiter, arbiter);
    }

    /// @inheritdoc IEscrowFactory
    function notifyDisputed(uint64 step, uint8 role, uint64 disputeDeadline) external onlyEscrow {
        emit EscrowDisputed(msg.sender, step, role, disputeDeadline);
    }

    /// @inheritdoc IEscrowFactory
    function notifyResolved(uint64 step, uint16 payeeShareBps, uint256 payeeAmount, uint256 payerAmount)
        external
        onlyEscrow
    {
        emit EscrowResolved(msg.sender, step, payeeShareBps, payeeAmount, payerAmount);
    }

    /// @inheritdoc IEscrowFactory
    function notifyReleased(uint64 step, address payee, uint256 amount) external onlyEscrow {
        emit EscrowReleased(msg.sender, step, payee, amount);
    }

    /// @inheritdoc IEscrowFactory
    function notifyRefunded(uint64 step, address payer, uint256 amount) external onlyEscrow {
        emit EscrowRefunded(msg.sender, step, payer, amount);
    }

    /// @inheritdoc IEscrowFactory
    function notifyWithdrawn(uint64 step, uint8 role, address beneficiary, address recipient, uint256 amount)
        external
        onlyEscrow
    {
        emit EscrowWithdrawn(msg.sender, step, role, beneficiary, recipient, amount);
    }

    /// @inheritdoc IEscrowFactory
    function notifyDvpDeposited(uint64 step, uint8 role, address depositor, address asset, uint256 amount)
        external
        onlyEscrow
    {
        emit DvpDeposited(msg.sender, step, role, depositor, asset, amount);
    }

    /// @inheritdoc IEscrowFactory
    function notifyDvpSettled(uint64 step) external onlyEscrow {
        emit DvpSettled(msg.sender, step);
    }

    /// @inheritdoc IEscrowFactory
    function notifyDvpRefunded(uint64 step, uint8 depositedRoles) external onlyEscrow {
        emit DvpRefunded(msg.sender, step, depositedRoles);
    }

    /// @inheritdoc IEscrowFactory
    function notifyDvpWithdrawn(
        uint64 step,
        uint8 role,
        address beneficiary,
        address recipient,
        address asset,
        uint256 amount
    ) external onlyEscrow {
        emit DvpWithdrawn(msg.sender, step, role, beneficiary, recipient, asset, amount);
    }

    function _requireEscrow() private view {
        if (!isEscrow[msg.sender]) revert NotEscrow(msg.sender);
    }
}
