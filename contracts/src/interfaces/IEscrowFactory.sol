// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @dev The roles of an escrow as bits; the numbers are part of the events' format.
uint8 constant ROLE_PAYER = 1;
uint8 constant ROLE_PAYEE = 2;
uint8 constant ROLE_ARBITER = 4;

/// @dev The roles of a delivery-versus-payment escrow as bits; the numbers are part of the events' format.
uint8 constant ROLE_SELLER = 1;
uint8 constant ROLE_BUYER = 2;

/// @notice Whose approval releases an escrow. The numbers are part of the events' format.
enum ApprovalPolicy {
    Payer,
    PayerAndArbiter,
    TwoOfThree
}

/// @notice What payer, payee and arbiter agree on. Durations are seconds, the amount is base units of `asset`.
struct EscrowTerms {
    address payer;
    address payee;
    /// @dev The first arbiter; payer and payee together may replace it.
    address arbiter;
    /// @dev address(0) is the native asset.
    address asset;
    uint256 amount;
    /// @dev From the creation to the first moment at which an approved escrow may be released.
    uint64 releaseDelayS;
    /// @dev From the release time to the first moment at which the payer may take back what nobody approved.
    uint64 refundWindowS;
    /// @dev From the dispute to the moment by which the arbiter must have split.
    uint64 disputeWindowS;
    ApprovalPolicy policy;
}

/// @notice What seller and buyer agree on: the delivery against the payment, both by the deadline.
struct DvpTerms {
    address seller;
    address buyer;
    /// @dev What the seller delivers; address(0) is the native asset.
    address deliveryAsset;
    uint256 deliveryAmount;
    /// @dev What the buyer pays; address(0) is the native asset.
    address paymentAsset;
    uint256 paymentAmount;
    /// @dev Unix seconds: the first moment at which no leg can be deposited any more.
    uint64 deadline;
}

/// @title What an escrow tells the factory that made it
/// @notice The factory emits every escrow's events, so that one topic filter on one address sees them all.
/// Each function accepts calls from the factory's own escrows only. `step` counts an escrow's events: creation is 1.
interface IEscrowFactory {
    function notifyApproved(uint64 step, uint8 role, address approver, uint8 approvedRoles) external;

    function notifyArbiterProposed(uint64 step, uint8 role, address proposedArbiter) external;

    function notifyArbiterChanged(uint64 step, address previousArbiter, address arbiter) external;

    function notifyDisputed(uint64 step, uint8 role, uint64 disputeDeadline) external;

    function notifyResolved(uint64 step, uint16 payeeShareBps, uint256 payeeAmount, uint256 payerAmount)
        external;

    function notifyReleased(uint64 step, address payee, uint256 amount) external;

    function notifyRefunded(uint64 step, address payer, uint256 amount) external;

    function notifyWithdrawn(uint64 step, uint8 role, address beneficiary, address recipient, uint256 amount)
        external;

    function notifyDvpDeposited(uint64 step, uint8 role, address depositor, address asset, uint256 amount)
        external;

    function notifyDvpSettled(uint64 step) external;

    function notifyDvpRefunded(uint64 step, uint8 depositedRoles) external;

    function notifyDvpWithdrawn(
        uint64 step,
        uint8 role,
        address beneficiary,
        address recipient,
        address asset,
        uint256 amount
    ) external;
}
