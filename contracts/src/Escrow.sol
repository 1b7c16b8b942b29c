// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {
    ApprovalPolicy,
    EscrowTerms,
    IEscrowFactory,
    ROLE_ARBITER,
    ROLE_PAYEE,
    ROLE_PAYER
} from "./interfaces/IEscrowFactory.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";

/// @title Funds held between a payer and a payee until the agreed roles approve
/// @notice Funded → Released (to the payee) or Refunded (to the payer); the beneficiary then withdraws.
/// Approvals belong to roles, not to addresses: a role approves once and counts once.
/// @dev Used through minimal clones, each initialized by the factory in the transaction that creates and funds it.
/// State is written before any call out, and the only call to a stranger is the withdrawal's transfer.
contract Escrow {
    enum Status {
        None,
        Funded,
        Released,
        Refunded
    }

    error NotFactory(address caller);
    error NotParty(address caller);
    error NotBeneficiary(address caller, Status status);
    error WrongStatus(Status actual, Status expected);
    error RoleNotInPolicy(uint8 role, ApprovalPolicy policy);
    error AlreadyApproved(uint8 role);
    error NotApproved(uint8 approvedRoles, ApprovalPolicy policy);
    error ReleaseTooEarly(uint256 releaseTime, uint256 timestamp);
    error RefundTooEarly(uint256 refundTime, uint256 timestamp);
    error RefundAfterApproval(uint8 approvedRoles);
    error AlreadyWithdrawn();
    error RecipientZero();

    /// @notice The factory that deployed the implementation; the same for every clone.
    IEscrowFactory public immutable factory;

    Status public status;
    /// @notice Whether the beneficiary has taken the funds.
    bool public withdrawn;
    /// @notice Bit mask of the roles that have approved.
    uint8 public approvedRoles;
    /// @notice Number of events that the escrow has had: the newest one's step.
    uint64 public step;

    EscrowTerms private _terms;

    constructor() {
        factory = IEscrowFactory(msg.sender);
    }

    /// @notice Sets the terms of a clone whose funds are already here or come with the call.
    function initialize(EscrowTerms calldata agreed) external payable {
        if (msg.sender != address(factory)) revert NotFactory(msg.sender);
        if (status != Status.None) revert WrongStatus(status, Status.None);
        _terms = agreed;
        status = Status.Funded;
        step = 1;
    }

    /// @notice Records the approval of the caller's role.
    function approve() external {
        _requireFunded();
        uint8 role = roleOf(msg.sender);
        if (role == 0) revert NotParty(msg.sender);
        if (role & _rolesInPolicy() == 0) revert RoleNotInPolicy(role, _terms.policy);
        if (role & approvedRoles != 0) revert AlreadyApproved(role);
        approvedRoles |= role;
        factory.notifyApproved(++step, role, msg.sender, approvedRoles);
    }

    /// @notice Makes the funds the payee's, once approved and from the release time on. Anyone may call it.
    function release() external {
        _requireFunded();
        if (!isApproved()) revert NotApproved(approvedRoles, _terms.policy);
        if (block.timestamp < _terms.releaseTime) {
            revert ReleaseTooEarly(_terms.releaseTime, block.timestamp);
        }
        status = Status.Released;
        factory.notifyReleased(++step, _terms.payee, _terms.amount);
    }

    /// @notice Makes the funds the payer's again: by the payee at any time before the release, or by the payer from
    /// the refund time on unless the release has been approved.
    function refund() external {
        _requireFunded();
        uint8 role = roleOf(msg.sender);
        if (role == ROLE_PAYER) {
            if (isApproved()) revert RefundAfterApproval(approvedRoles);
            if (block.timestamp < _terms.refundTime) {
                revert RefundTooEarly(_terms.refundTime, block.timestamp);
            }
        } else if (role != ROLE_PAYEE) {
            revert NotParty(msg.sender);
        }
        status = Status.Refunded;
        factory.notifyRefunded(++step, _terms.payer, _terms.amount);
    }

    /// @notice Sends the funds to where the beneficiary says: the payee after a release, the payer after a refund.
    function withdraw(address recipient) external {
        if (msg.sender != beneficiary()) revert NotBeneficiary(msg.sender, status);
        if (withdrawn) revert AlreadyWithdrawn();
        if (recipient == address(0)) revert RecipientZero();
        withdrawn = true;
        factory.notifyWithdrawn(++step, msg.sender, recipient, _terms.amount);
        AssetTransfer.send(_terms.asset, recipient, _terms.amount);
    }

    /// @notice The agreed terms; all zero before initialization.
    function terms() external view returns (EscrowTerms memory) {
        return _terms;
    }

    /// @notice Who may withdraw now; address(0) while the funds are undecided.
    function beneficiary() public view returns (address) {
        if (status == Status.Released) return _terms.payee;
        if (status == Status.Refunded) return _terms.payer;
        return address(0);
    }

    /// @notice An address's role: 1 payer, 2 payee, 4 arbiter, 0 for strangers.
    function roleOf(address account) public view returns (uint8) {
        if (account == _terms.payer) return ROLE_PAYER;
        if (account == _terms.payee) return ROLE_PAYEE;
        if (account == _terms.arbiter) return ROLE_ARBITER;
        return 0;
    }

    /// @notice Whether the approvals so far satisfy the policy.
    function isApproved() public view returns (bool) {
        uint8 approved = approvedRoles;
        if (_terms.policy != ApprovalPolicy.TwoOfThree) return approved == _rolesInPolicy();
        // Clearing the lowest of the bits leaves another exactly when two or more are set.
        return approved != 0 && approved & (approved - 1) != 0;
    }

    function _rolesInPolicy() private view returns (uint8) {
        if (_terms.policy == ApprovalPolicy.Payer) return ROLE_PAYER;
        if (_terms.policy == ApprovalPolicy.PayerAndArbiter) return ROLE_PAYER | ROLE_ARBITER;
        return ROLE_PAYER | ROLE_PAYEE | ROLE_ARBITER;
    }

    function _requireFunded() private view {
        if (status != Status.Funded) revert WrongStatus(status, Status.Funded);
    }
}
