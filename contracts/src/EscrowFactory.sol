// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Escrow} from "./Escrow.sol";
import {
    ApprovalPolicy,
    EscrowTerms,
    IEscrowFactory,
    ROLE_ARBITER,
    ROLE_PAYEE
} from "./interfaces/IEscrowFactory.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";

/// @title Creates funded escrows and emits every event of theirs
/// @notice An escrow's address follows from its payer and parameters, so it is known before it exists. One topic filter
/// on this address sees the whole life of all escrows: every event carries the escrow and its step, without gaps.
contract EscrowFactory is IEscrowFactory {
    /// @notice What the payer asks for. Durations are seconds, the amount is base units of `asset`.
    /// @dev The salt lets one payer create several escrows with otherwise equal parameters.
    struct EscrowParameters {
        address payee;
        address arbiter;
        address asset;
        uint256 amount;
        uint64 releaseDelayS;
        uint64 refundWindowS;
        ApprovalPolicy policy;
        bytes32 salt;
    }

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
        ApprovalPolicy policy
    );
    /// @param role 1 payer, 2 payee, 4 arbiter.
    /// @param approvedRoles Bit mask of all roles that have approved so far.
    event EscrowApproved(
        address indexed escrow, uint64 step, uint8 role, address approver, uint8 approvedRoles
    );
    event EscrowReleased(address indexed escrow, uint64 step, address payee, uint256 amount);
    event EscrowRefunded(address indexed escrow, uint64 step, address payer, uint256 amount);
    event EscrowWithdrawn(
        address indexed escrow, uint64 step, address beneficiary, address recipient, uint256 amount
    );

    error NotEscrow(address caller);
    error PartyZero(uint8 role);
    error PartiesNotDistinct(address payer, address payee, address arbiter);
    error AmountZero();
    error ReleaseDelayOutOfRange(uint256 delayS, uint256 maximumS);
    error RefundWindowOutOfRange(uint256 windowS, uint256 minimumS, uint256 maximumS);
    error NativeValueMismatch(uint256 sent, uint256 expected);
    /// @notice The token delivered another amount than agreed: tokens that take a fee cannot be escrowed.
    error ReceivedAmountMismatch(uint256 received, uint256 expected);

    uint64 public constant MAX_RELEASE_DELAY_S = 365 days;
    /// @notice Leaves the parties time to approve and release before the payer can take the funds back.
    uint64 public constant MIN_REFUND_WINDOW_S = 1 hours;
    uint64 public constant MAX_REFUND_WINDOW_S = 365 days;

    /// @notice The contract that every escrow is a minimal clone of.
    address public immutable implementation;

    /// @notice Whether this factory created the address.
    mapping(address escrow => bool created) public isEscrow;

    modifier onlyEscrow() {
        _requireEscrow();
        _;
    }

    constructor() {
        implementation = address(new Escrow());
    }

    /// @notice Creates an escrow that the caller pays: with the native value sent, or from the caller's allowance.
    /// @return escrow The address that `predictEscrow` gives.
    function createEscrow(EscrowParameters calldata parameters) external payable returns (address escrow) {
        _checkParameters(parameters);
        uint256 expectedValue = parameters.asset == AssetTransfer.NATIVE ? parameters.amount : 0;
        if (msg.value != expectedValue) revert NativeValueMismatch(msg.value, expectedValue);

        escrow = Clones.cloneDeterministic(implementation, _escrowSalt(msg.sender, parameters));
        // Until it is initialized below, the clone refuses everyone: a token that calls back finds nothing to use.
        if (parameters.asset != AssetTransfer.NATIVE) {
            uint256 received = AssetTransfer.pull(parameters.asset, msg.sender, escrow, parameters.amount);
            if (received != parameters.amount) revert ReceivedAmountMismatch(received, parameters.amount);
        }
        isEscrow[escrow] = true;
        EscrowTerms memory terms = _termsFrom(msg.sender, parameters);
        Escrow(escrow).initialize{value: msg.value}(terms);
        _emitCreated(escrow, terms);
    }

    /// @notice The address of the escrow that `payer` would create with these parameters.
    function predictEscrow(address payer, EscrowParameters calldata parameters)
        external
        view
        returns (address)
    {
        return Clones.predictDeterministicAddress(implementation, _escrowSalt(payer, parameters));
    }

    /// @inheritdoc IEscrowFactory
    function notifyApproved(uint64 step, uint8 role, address approver, uint8 approvedRoles)
        external
        onlyEscrow
    {
        emit EscrowApproved(msg.sender, step, role, approver, approvedRoles);
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
    function notifyWithdrawn(uint64 step, address beneficiary, address recipient, uint256 amount)
        external
        onlyEscrow
    {
        emit EscrowWithdrawn(msg.sender, step, beneficiary, recipient, amount);
    }

    function _checkParameters(EscrowParameters calldata parameters) private view {
        if (parameters.payee == address(0)) revert PartyZero(ROLE_PAYEE);
        if (parameters.arbiter == address(0)) revert PartyZero(ROLE_ARBITER);
        if (
            parameters.payee == msg.sender || parameters.arbiter == msg.sender
                || parameters.payee == parameters.arbiter
        ) revert PartiesNotDistinct(msg.sender, parameters.payee, parameters.arbiter);
        if (parameters.amount == 0) revert AmountZero();
        if (parameters.releaseDelayS > MAX_RELEASE_DELAY_S) {
            revert ReleaseDelayOutOfRange(parameters.releaseDelayS, MAX_RELEASE_DELAY_S);
        }
        if (parameters.refundWindowS < MIN_REFUND_WINDOW_S || parameters.refundWindowS > MAX_REFUND_WINDOW_S)
        {
            revert RefundWindowOutOfRange(parameters.refundWindowS, MIN_REFUND_WINDOW_S, MAX_REFUND_WINDOW_S);
        }
    }

    function _termsFrom(address payer, EscrowParameters calldata parameters)
        private
        view
        returns (EscrowTerms memory)
    {
        // forge-lint: disable-next-line(unsafe-typecast) Unix seconds fit
        uint64 releaseTime = uint64(block.timestamp) + parameters.releaseDelayS;
        return EscrowTerms({
            payer: payer,
            payee: parameters.payee,
            arbiter: parameters.arbiter,
            asset: parameters.asset,
            amount: parameters.amount,
            releaseTime: releaseTime,
            refundTime: releaseTime + parameters.refundWindowS,
            policy: parameters.policy
        });
    }

    function _emitCreated(address escrow, EscrowTerms memory terms) private {
        emit EscrowCreated(
            escrow,
            1,
            terms.payer,
            terms.payee,
            terms.arbiter,
            terms.asset,
            terms.amount,
            terms.releaseTime,
            terms.refundTime,
            terms.policy
        );
    }

    function _escrowSalt(address payer, EscrowParameters calldata parameters) private pure returns (bytes32) {
        return keccak256(abi.encode(payer, parameters));
    }

    function _requireEscrow() private view {
        if (!isEscrow[msg.sender]) revert NotEscrow(msg.sender);
    }
}
