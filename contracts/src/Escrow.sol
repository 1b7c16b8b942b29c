// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {
    ApprovalPolicy,
    EscrowTerms,
    IEscrowFactory,
    ROLE_ARBITER,
    ROLE_PAYEE,
    ROLE_PAYER
} from "./interfaces/IEscrowFactory.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";
import {TermsCodec} from "./libraries/TermsCodec.sol";

/// @title Funds held between a payer and a payee until the agreed roles approve
/// @notice Funded → Released (to the payee), Refunded (to the payer), or Disputed. A disputed escrow can still be released
/// or refunded by agreement; until the dispute's deadline the arbiter alone can also split it (Resolved), and from then
/// on the payer can take it back. No state is ever gone back to. Who is owed something withdraws it.
/// Approvals belong to roles, not to addresses: a role approves once and counts once, whoever holds it.
/// @dev Used through minimal clones that carry their terms behind their code, each initialized by the factory in the
/// transaction that creates and funds it. State is written before any call out, and the only call to a stranger is the
/// withdrawal's transfer.
contract Escrow is EIP712 {
    enum Status {
        None,
        Funded,
        Disputed,
        Released,
        Refunded,
        Resolved
    }

    error NotFactory(address caller);
    error NotParty(address caller);
    error NotArbiter(address caller);
    error AlreadyInitialized();
    error NotUndecided(Status actual);
    error WrongStatus(Status actual, Status expected);
    error RoleNotInPolicy(uint8 role, ApprovalPolicy policy);
    error AlreadyApproved(uint8 role);
    error SignatureExpired(uint256 deadline, uint256 timestamp);
    error InvalidSignature(uint8 role, address party);
    error NotApproved(uint8 approvedRoles, ApprovalPolicy policy);
    /// @notice What the agreed roles have approved is decided: nothing but the release is left.
    error AlreadyDecided(uint8 approvedRoles, ApprovalPolicy policy);
    error ReleaseTooEarly(uint256 releaseTime, uint256 timestamp);
    error RefundTooEarly(uint256 refundTime, uint256 timestamp);
    error DisputeTooLate(uint256 refundTime, uint256 timestamp);
    error ResolutionTooLate(uint256 disputeDeadline, uint256 timestamp);
    error ShareOutOfRange(uint256 payeeShareBps, uint256 maximumBps);
    error CandidateIsParty(address candidate);
    error TooManyProposals(uint8 role, uint256 maximum);
    error NothingToWithdraw(address caller, Status status);
    error AlreadyWithdrawn(uint8 role);
    error RecipientZero();

    struct Proposal {
        address candidate;
        uint8 count;
    }

    uint16 public constant BPS = 10_000;
    /// @notice How often each side may name an arbiter: whoever follows an escrow keeps all of its steps.
    uint8 public constant MAX_PROPOSALS = 16;
    /// @notice What a wallet signs to approve without a transaction; the domain's contract is the escrow.
    /// @dev Payee, asset and amount are there for the person who signs. The round voids the signatures that were given
    /// before a change of the arbiter.
    bytes32 public constant APPROVAL_TYPEHASH = keccak256(
        "Approval(uint8 role,address payee,address asset,uint256 amount,uint32 round,uint256 deadline)"
    );

    /// @notice The factory that deployed the implementation; the same for every clone.
    IEscrowFactory public immutable factory;

    Status public status;
    /// @notice Bit mask of the roles that have withdrawn what they were owed.
    uint8 public withdrawnRoles;
    /// @notice Bit mask of the roles that have approved in this round.
    uint8 public approvedRoles;
    /// @notice How often approvals have been cleared.
    uint32 public round;
    /// @notice Number of events that the escrow has had: the newest one's step.
    uint64 public step;
    /// @notice Unix seconds of the creation, from which the terms' durations count.
    uint64 public createdAt;
    /// @notice Unix seconds by which the arbiter must have split; 0 without a dispute.
    uint64 public disputeDeadline;

    address private _replacementArbiter;
    /// @notice The payee's part of a resolved escrow.
    uint16 public payeeShareBps;
    mapping(uint8 role => Proposal) private _proposals;

    constructor() EIP712("Fusion Prime Escrow", "1") {
        factory = IEscrowFactory(msg.sender);
    }

    /// @notice Opens a clone whose funds are already here or come with the call.
    function initialize() external payable {
        if (msg.sender != address(factory)) revert NotFactory(msg.sender);
        if (status != Status.None) revert AlreadyInitialized();
        status = Status.Funded;
        step = 1;
        // forge-lint: disable-next-line(unsafe-typecast) Unix seconds fit
        createdAt = uint64(block.timestamp);
    }

    /// @notice Records the approval of the caller's role.
    function approve() external {
        EscrowTerms memory agreed = _undecidedTerms();
        uint8 role = _roleOf(agreed, msg.sender);
        if (role == 0) revert NotParty(msg.sender);
        _approve(agreed, role, msg.sender);
    }

    /// @notice Records the approval that a role's holder, a key or an ERC-1271 contract, has signed.
    /// @param role 1 payer, 2 payee, 4 arbiter.
    /// @param deadline Unix seconds after which the signature is worth nothing.
    /// @param signature Over `approvalDigest(role, deadline)`.
    function approveBySignature(uint8 role, uint256 deadline, bytes calldata signature) external {
        EscrowTerms memory agreed = _undecidedTerms();
        if (block.timestamp > deadline) revert SignatureExpired(deadline, block.timestamp);
        address party = _holderOf(agreed, role);
        if (
            party == address(0)
                || !SignatureChecker.isValidSignatureNow(
                    party, _approvalDigest(agreed, role, deadline), signature
                )
        ) revert InvalidSignature(role, party);
        _approve(agreed, role, party);
    }

    /// @notice Names who should be arbiter instead, or address(0) to take a proposal back. Once payer and payee have
    /// named the same, that is the arbiter and every approval has to be given again.
    function proposeArbiter(address candidate) external {
        EscrowTerms memory agreed = _undecidedTerms();
        uint8 role = _principalRole(agreed, msg.sender);
        if (_roleOf(agreed, candidate) != 0) revert CandidateIsParty(candidate);
        Proposal storage own = _proposals[role];
        Proposal storage others = _proposals[role ^ (ROLE_PAYER | ROLE_PAYEE)];
        if (own.count == MAX_PROPOSALS) revert TooManyProposals(role, MAX_PROPOSALS);
        ++own.count;
        own.candidate = candidate;
        factory.notifyArbiterProposed(++step, role, candidate);
        if (candidate == address(0) || others.candidate != candidate) return;

        address previous = _arbiter(agreed);
        _replacementArbiter = candidate;
        own.candidate = address(0);
        others.candidate = address(0);
        approvedRoles = 0;
        ++round;
        factory.notifyArbiterChanged(++step, previous, candidate);
    }

    /// @notice Lets the arbiter split the funds until the dispute's deadline, and stops the payer's refund until then.
    /// Payer and payee can, once and before the refund time, as long as the release is not approved.
    function dispute() external {
        if (status != Status.Funded) revert WrongStatus(status, Status.Funded);
        EscrowTerms memory agreed = _terms();
        uint8 role = _principalRole(agreed, msg.sender);
        _requireNotApproved(agreed.policy);
        uint256 agreedRefundTime = _agreedRefundTime(agreed);
        if (block.timestamp >= agreedRefundTime) revert DisputeTooLate(agreedRefundTime, block.timestamp);
        status = Status.Disputed;
        // forge-lint: disable-next-line(unsafe-typecast) Unix seconds fit
        disputeDeadline = uint64(block.timestamp) + agreed.disputeWindowS;
        factory.notifyDisputed(++step, role, disputeDeadline);
    }

    /// @notice The arbiter's split of a disputed escrow. The payee's part is rounded down, the payer gets the rest.
    /// @param shareBps The payee's share in basis points, 0 to 10,000.
    function resolve(uint16 shareBps) external {
        if (status != Status.Disputed) revert WrongStatus(status, Status.Disputed);
        EscrowTerms memory agreed = _terms();
        if (msg.sender != _arbiter(agreed)) revert NotArbiter(msg.sender);
        _requireNotApproved(agreed.policy);
        if (block.timestamp >= disputeDeadline) revert ResolutionTooLate(disputeDeadline, block.timestamp);
        if (shareBps > BPS) revert ShareOutOfRange(shareBps, BPS);
        status = Status.Resolved;
        payeeShareBps = shareBps;
        uint256 payeeAmount = _payeePart(agreed.amount, shareBps);
        factory.notifyResolved(++step, shareBps, payeeAmount, agreed.amount - payeeAmount);
    }

    /// @notice Makes the funds the payee's, once approved and from the release time on. Anyone may call it.
    function release() external {
        EscrowTerms memory agreed = _undecidedTerms();
        if (!_isApproved(agreed.policy)) revert NotApproved(approvedRoles, agreed.policy);
        uint256 agreedReleaseTime = _releaseTime(agreed);
        if (block.timestamp < agreedReleaseTime) revert ReleaseTooEarly(agreedReleaseTime, block.timestamp);
        status = Status.Released;
        factory.notifyReleased(++step, agreed.payee, agreed.amount);
    }

    /// @notice Makes the funds the payer's again: by the payee at any time before the release, or by the payer from the
    /// refund time on unless the release has been approved.
    function refund() external {
        EscrowTerms memory agreed = _undecidedTerms();
        uint8 role = _principalRole(agreed, msg.sender);
        if (role == ROLE_PAYER) {
            _requireNotApproved(agreed.policy);
            uint256 earliest = _refundTime(agreed);
            if (block.timestamp < earliest) revert RefundTooEarly(earliest, block.timestamp);
        }
        status = Status.Refunded;
        factory.notifyRefunded(++step, agreed.payer, agreed.amount);
    }

    /// @notice Sends what the caller is owed to where the caller says.
    function withdraw(address recipient) external {
        EscrowTerms memory agreed = _terms();
        uint8 role = _roleOf(agreed, msg.sender);
        uint256 amount = _owedTo(agreed, role);
        if (amount == 0) revert NothingToWithdraw(msg.sender, status);
        if (withdrawnRoles & role != 0) revert AlreadyWithdrawn(role);
        if (recipient == address(0)) revert RecipientZero();
        withdrawnRoles |= role;
        factory.notifyWithdrawn(++step, role, msg.sender, recipient, amount);
        AssetTransfer.send(agreed.asset, recipient, amount);
    }

    /// @notice The agreed terms. The arbiter in them is the first one.
    function terms() external view returns (EscrowTerms memory) {
        return _terms();
    }

    /// @notice Who is arbiter now.
    function arbiter() external view returns (address) {
        return _arbiter(_terms());
    }

    /// @notice Whom payer (1) or payee (2) wants as arbiter; address(0) for no change.
    function proposedArbiter(uint8 role) external view returns (address) {
        return _proposals[role].candidate;
    }

    /// @notice Unix seconds from which on an approved escrow can be released.
    function releaseTime() external view returns (uint256) {
        return _releaseTime(_terms());
    }

    /// @notice Unix seconds from which on the payer can take back what is not approved: as agreed, or at the deadline of
    /// a dispute that is later.
    function refundTime() external view returns (uint256) {
        return _refundTime(_terms());
    }

    /// @notice An address's role: 1 payer, 2 payee, 4 arbiter, 0 for strangers.
    function roleOf(address account) external view returns (uint8) {
        return _roleOf(_terms(), account);
    }

    /// @notice Whether the approvals so far satisfy the policy.
    function isApproved() external view returns (bool) {
        return _isApproved(_terms().policy);
    }

    /// @notice Base units that a role is owed and has not taken out; 0 while the escrow is undecided.
    function withdrawable(uint8 role) external view returns (uint256) {
        return withdrawnRoles & role == 0 ? _owedTo(_terms(), role) : 0;
    }

    /// @notice What the holder of a role signs to approve in the present round.
    function approvalDigest(uint8 role, uint256 deadline) external view returns (bytes32) {
        return _approvalDigest(_terms(), role, deadline);
    }

    function _approve(EscrowTerms memory agreed, uint8 role, address approver) private {
        if (role & _rolesInPolicy(agreed.policy) == 0) revert RoleNotInPolicy(role, agreed.policy);
        if (role & approvedRoles != 0) revert AlreadyApproved(role);
        approvedRoles |= role;
        factory.notifyApproved(++step, role, approver, approvedRoles);
    }

    function _approvalDigest(EscrowTerms memory agreed, uint8 role, uint256 deadline)
        private
        view
        returns (bytes32)
    {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(
                    APPROVAL_TYPEHASH, role, agreed.payee, agreed.asset, agreed.amount, round, deadline
                )
            )
        );
    }

    function _terms() private view returns (EscrowTerms memory) {
        return TermsCodec.decodeEscrow(Clones.fetchCloneArgs(address(this)));
    }

    function _undecidedTerms() private view returns (EscrowTerms memory) {
        if (status != Status.Funded && status != Status.Disputed) revert NotUndecided(status);
        return _terms();
    }

    function _arbiter(EscrowTerms memory agreed) private view returns (address) {
        return _replacementArbiter == address(0) ? agreed.arbiter : _replacementArbiter;
    }

    function _roleOf(EscrowTerms memory agreed, address account) private view returns (uint8) {
        if (account == agreed.payer) return ROLE_PAYER;
        if (account == agreed.payee) return ROLE_PAYEE;
        if (account == _arbiter(agreed)) return ROLE_ARBITER;
        return 0;
    }

    function _holderOf(EscrowTerms memory agreed, uint8 role) private view returns (address) {
        if (role == ROLE_PAYER) return agreed.payer;
        if (role == ROLE_PAYEE) return agreed.payee;
        if (role == ROLE_ARBITER) return _arbiter(agreed);
        return address(0);
    }

    /// @dev The role of a caller who must be payer or payee.
    function _principalRole(EscrowTerms memory agreed, address caller) private pure returns (uint8) {
        if (caller == agreed.payer) return ROLE_PAYER;
        if (caller == agreed.payee) return ROLE_PAYEE;
        revert NotParty(caller);
    }

    function _isApproved(ApprovalPolicy policy) private view returns (bool) {
        uint8 approved = approvedRoles;
        if (policy != ApprovalPolicy.TwoOfThree) return approved == _rolesInPolicy(policy);
        // Clearing the lowest of the bits leaves another exactly when two or more are set.
        return approved != 0 && approved & (approved - 1) != 0;
    }

    function _requireNotApproved(ApprovalPolicy policy) private view {
        if (_isApproved(policy)) revert AlreadyDecided(approvedRoles, policy);
    }

    function _rolesInPolicy(ApprovalPolicy policy) private pure returns (uint8) {
        if (policy == ApprovalPolicy.Payer) return ROLE_PAYER;
        if (policy == ApprovalPolicy.PayerAndArbiter) return ROLE_PAYER | ROLE_ARBITER;
        return ROLE_PAYER | ROLE_PAYEE | ROLE_ARBITER;
    }

    function _releaseTime(EscrowTerms memory agreed) private view returns (uint256) {
        return createdAt + agreed.releaseDelayS;
    }

    function _agreedRefundTime(EscrowTerms memory agreed) private view returns (uint256) {
        return createdAt + agreed.releaseDelayS + agreed.refundWindowS;
    }

    function _refundTime(EscrowTerms memory agreed) private view returns (uint256) {
        return Math.max(_agreedRefundTime(agreed), disputeDeadline);
    }

    function _owedTo(EscrowTerms memory agreed, uint8 role) private view returns (uint256) {
        if (role == ROLE_PAYEE) {
            if (status == Status.Released) return agreed.amount;
            if (status == Status.Resolved) return _payeePart(agreed.amount, payeeShareBps);
        } else if (role == ROLE_PAYER) {
            if (status == Status.Refunded) return agreed.amount;
            if (status == Status.Resolved) return agreed.amount - _payeePart(agreed.amount, payeeShareBps);
        }
        return 0;
    }

    function _payeePart(uint256 amount, uint16 shareBps) private pure returns (uint256) {
        return Math.mulDiv(amount, shareBps, BPS);
    }
}
