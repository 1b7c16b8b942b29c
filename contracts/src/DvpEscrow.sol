// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DvpTerms, IEscrowFactory, ROLE_BUYER, ROLE_SELLER} from "./interfaces/IEscrowFactory.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";
import {TermsCodec} from "./libraries/TermsCodec.sol";

/// @title Delivery versus payment: two legs that change hands together or not at all
/// @notice Open → Settled with the second leg's deposit, or Refunded: by whoever has not deposited at any time, by anyone
/// from the deadline on. Each party then withdraws what it is owed: the other's leg, or its own again.
/// @dev Used through minimal clones that carry their terms behind their code, each initialized by the factory in the
/// transaction that creates it and deposits its creator's leg.
contract DvpEscrow is ReentrancyGuardTransient {
    enum Status {
        None,
        Open,
        Settled,
        Refunded
    }

    error NotFactory(address caller);
    error NotParty(address caller);
    error AlreadyInitialized();
    error WrongStatus(Status actual, Status expected);
    error AlreadyDeposited(uint8 role);
    error DepositTooLate(uint256 deadline, uint256 timestamp);
    error RefundTooEarly(uint256 deadline, uint256 timestamp);
    error NativeValueMismatch(uint256 sent, uint256 expected);
    /// @notice The token delivered another amount than agreed: tokens that take a fee cannot be a leg.
    error ReceivedAmountMismatch(uint256 received, uint256 expected);
    error NothingToWithdraw(address caller, Status status);
    error AlreadyWithdrawn(uint8 role);
    error RecipientZero();

    uint8 private constant BOTH_ROLES = ROLE_SELLER | ROLE_BUYER;

    /// @notice The factory that deployed the implementation; the same for every clone.
    IEscrowFactory public immutable factory;

    Status public status;
    /// @notice Bit mask of the roles whose leg is here.
    uint8 public depositedRoles;
    /// @notice Bit mask of the roles that have withdrawn what they were owed.
    uint8 public withdrawnRoles;
    /// @notice Number of events that the escrow has had: the newest one's step.
    uint64 public step;

    constructor() {
        factory = IEscrowFactory(msg.sender);
    }

    /// @notice Opens a clone for whose creator's leg is already here or comes with the call.
    /// @param depositedRole The creator's role. The factory has emitted the creation and this deposit: two steps.
    function initialize(uint8 depositedRole) external payable {
        if (msg.sender != address(factory)) revert NotFactory(msg.sender);
        if (status != Status.None) revert AlreadyInitialized();
        status = Status.Open;
        depositedRoles = depositedRole;
        step = 2;
    }

    /// @notice Deposits the caller's leg, which settles the trade: with the native value sent, or from the caller's
    /// allowance to this escrow.
    function deposit() external payable nonReentrant {
        _requireOpen();
        DvpTerms memory agreed = _terms();
        uint8 role = _partyRole(agreed, msg.sender);
        if (depositedRoles & role != 0) revert AlreadyDeposited(role);
        if (block.timestamp >= agreed.deadline) revert DepositTooLate(agreed.deadline, block.timestamp);
        (address asset, uint256 amount) = _leg(agreed, role);
        uint256 expectedValue = asset == AssetTransfer.NATIVE ? amount : 0;
        if (msg.value != expectedValue) revert NativeValueMismatch(msg.value, expectedValue);

        // One leg has been here since the creation.
        depositedRoles = BOTH_ROLES;
        status = Status.Settled;
        factory.notifyDvpDeposited(++step, role, msg.sender, asset, amount);
        factory.notifyDvpSettled(++step);
        if (asset != AssetTransfer.NATIVE) {
            uint256 received = AssetTransfer.pull(asset, msg.sender, address(this), amount);
            if (received != amount) revert ReceivedAmountMismatch(received, amount);
        }
    }

    /// @notice Gives the deposited leg back to its depositor: by the other party at any time, by anyone from the deadline on.
    function refund() external nonReentrant {
        _requireOpen();
        DvpTerms memory agreed = _terms();
        if (block.timestamp < agreed.deadline) {
            uint8 role = _partyRole(agreed, msg.sender);
            if (depositedRoles & role != 0) revert RefundTooEarly(agreed.deadline, block.timestamp);
        }
        status = Status.Refunded;
        factory.notifyDvpRefunded(++step, depositedRoles);
    }

    /// @notice Sends what the caller is owed to where the caller says.
    function withdraw(address recipient) external nonReentrant {
        DvpTerms memory agreed = _terms();
        uint8 role = _partyRole(agreed, msg.sender);
        (address asset, uint256 amount) = _owedTo(agreed, role);
        if (amount == 0) revert NothingToWithdraw(msg.sender, status);
        if (withdrawnRoles & role != 0) revert AlreadyWithdrawn(role);
        if (recipient == address(0)) revert RecipientZero();
        withdrawnRoles |= role;
        factory.notifyDvpWithdrawn(++step, role, msg.sender, recipient, asset, amount);
        AssetTransfer.send(asset, recipient, amount);
    }

    /// @notice The agreed terms.
    function terms() external view returns (DvpTerms memory) {
        return _terms();
    }

    /// @notice What a role (1 seller, 2 buyer) is owed and has not taken out; amount 0 while the trade is open.
    function withdrawable(uint8 role) external view returns (address asset, uint256 amount) {
        if (withdrawnRoles & role == 0) (asset, amount) = _owedTo(_terms(), role);
    }

    function _terms() private view returns (DvpTerms memory) {
        return TermsCodec.decodeDvp(Clones.fetchCloneArgs(address(this)));
    }

    function _requireOpen() private view {
        if (status != Status.Open) revert WrongStatus(status, Status.Open);
    }

    function _partyRole(DvpTerms memory agreed, address caller) private pure returns (uint8) {
        if (caller == agreed.seller) return ROLE_SELLER;
        if (caller == agreed.buyer) return ROLE_BUYER;
        revert NotParty(caller);
    }

    /// @dev The leg that a role deposits.
    function _leg(DvpTerms memory agreed, uint8 role) private pure returns (address asset, uint256 amount) {
        return role == ROLE_SELLER
            ? (agreed.deliveryAsset, agreed.deliveryAmount)
            : (agreed.paymentAsset, agreed.paymentAmount);
    }

    function _owedTo(DvpTerms memory agreed, uint8 role)
        private
        view
        returns (address asset, uint256 amount)
    {
        if (status == Status.Settled) {
            return _leg(agreed, role ^ BOTH_ROLES);
        }
        if (status == Status.Refunded && depositedRoles & role != 0) return _leg(agreed, role);
    }
}
