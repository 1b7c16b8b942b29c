// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @dev The roles of an escrow as bits; the numbers are part of the events' format.
uint8 constant ROLE_PAYER = 1;
uint8 constant ROLE_PAYEE = 2;
uint8 constant ROLE_ARBITER = 4;

/// @notice Whose approval releases an escrow. The numbers are part of the events' format.
enum ApprovalPolicy {
    Payer,
    PayerAndArbiter,
    TwoOfThree
}

/// @notice What payer, payee and arbiter agreed on. Times are Unix seconds, the amount is base units.
struct EscrowTerms {
    address payer;
    address payee;
    address arbiter;
    /// @dev address(0) is the native asset.
    address asset;
    uint256 amount;
    uint64 releaseTime;
    uint64 refundTime;
    ApprovalPolicy policy;
}

/// @title What an escrow tells the factory that made it
/// @notice The factory emits every escrow's events, so that one topic filter on one address sees them all.
/// Each function accepts calls from the factory's own escrows only. `step` counts an escrow's events: creation is 1.
interface IEscrowFactory {
    function notifyApproved(uint64 step, uint8 role, address approver, uint8 approvedRoles) external;

    function notifyReleased(uint64 step, address payee, uint256 amount) external;

    function notifyRefunded(uint64 step, address payer, uint256 amount) external;

    function notifyWithdrawn(uint64 step, address beneficiary, address recipient, uint256 amount) external;
}
