// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {DvpEscrow} from "./DvpEscrow.sol";
import {Escrow} from "./Escrow.sol";
import {EscrowJournal} from "./EscrowJournal.sol";
import {
    DvpTerms,
    EscrowTerms,
    ROLE_ARBITER,
    ROLE_BUYER,
    ROLE_PAYEE,
    ROLE_SELLER
} from "./interfaces/IEscrowFactory.sol";
import {AssetTransfer} from "./libraries/AssetTransfer.sol";
import {TermsCodec} from "./libraries/TermsCodec.sol";

/// @title Creates funded escrows and delivery-versus-payment escrows
/// @notice An escrow's address follows from its terms and a salt, so it is known before it exists and commits to what was
/// agreed. The salt lets the same parties agree twice on the same.
contract EscrowFactory is EscrowJournal {
    error PayerNotCaller(address payer, address caller);
    error PartyZero(uint8 role);
    error PartiesNotDistinct(address payer, address payee, address arbiter);
    error AmountZero();
    error ReleaseDelayOutOfRange(uint256 delayS, uint256 maximumS);
    error RefundWindowOutOfRange(uint256 windowS, uint256 minimumS, uint256 maximumS);
    error DisputeWindowOutOfRange(uint256 windowS, uint256 minimumS, uint256 maximumS);
    error CreatorNotParty(address creator);
    error DvpPartiesNotDistinct(address party);
    error AssetsNotDistinct(address asset);
    error DeadlineOutOfRange(uint256 deadline, uint256 earliest, uint256 latest);
    error NativeValueMismatch(uint256 sent, uint256 expected);
    /// @notice The token delivered another amount than agreed: tokens that take a fee cannot be escrowed.
    error ReceivedAmountMismatch(uint256 received, uint256 expected);

    uint64 public constant MAX_RELEASE_DELAY_S = 365 days;
    /// @notice Leaves the parties time to approve and release before the payer can take the funds back.
    uint64 public constant MIN_REFUND_WINDOW_S = 1 hours;
    uint64 public constant MAX_REFUND_WINDOW_S = 365 days;
    /// @notice Leaves the arbiter time to split.
    uint64 public constant MIN_DISPUTE_WINDOW_S = 1 hours;
    uint64 public constant MAX_DISPUTE_WINDOW_S = 90 days;
    uint64 public constant MAX_DVP_DURATION_S = 365 days;

    /// @notice The contract that every escrow is a minimal clone of.
    address public immutable implementation;
    /// @notice The contract that every delivery-versus-payment escrow is a minimal clone of.
    address public immutable dvpImplementation;

    constructor() {
        implementation = address(new Escrow());
        dvpImplementation = address(new DvpEscrow());
    }

    /// @notice Creates an escrow that the caller, its payer, funds: with the native value sent, or from the caller's
    /// allowance to this factory.
    /// @return escrow The address that `predictEscrow` gives.
    function createEscrow(EscrowTerms calldata terms, bytes32 salt)
        external
        payable
        returns (address escrow)
    {
        _checkTerms(terms);
        escrow = Clones.cloneDeterministicWithImmutableArgs(implementation, TermsCodec.encode(terms), salt);
        // Until it is initialized below, the clone refuses everyone: a token that calls back finds nothing to use.
        _fund(escrow, terms.asset, terms.amount);
        isEscrow[escrow] = true;
        Escrow(escrow).initialize{value: msg.value}();
        _emitCreated(escrow, terms);
    }

    /// @notice Creates a delivery-versus-payment escrow and deposits the leg of the caller, who is seller or buyer: with
    /// the native value sent, or from the caller's allowance to this factory.
    /// @return escrow The address that `predictDvp` gives; the other leg is deposited there.
    function createDvp(DvpTerms calldata terms, bytes32 salt) external payable returns (address escrow) {
        uint8 role = _checkDvpTerms(terms);
        (address asset, uint256 amount) = role == ROLE_SELLER
            ? (terms.deliveryAsset, terms.deliveryAmount)
            : (terms.paymentAsset, terms.paymentAmount);
        escrow = Clones.cloneDeterministicWithImmutableArgs(dvpImplementation, TermsCodec.encode(terms), salt);
        _fund(escrow, asset, amount);
        isEscrow[escrow] = true;
        DvpEscrow(escrow).initialize{value: msg.value}(role);
        emit DvpCreated(
            escrow,
            1,
            terms.seller,
            terms.buyer,
            terms.deliveryAsset,
            terms.deliveryAmount,
            terms.paymentAsset,
            terms.paymentAmount,
            terms.deadline
        );
        emit DvpDeposited(escrow, 2, role, msg.sender, asset, amount);
    }

    /// @notice The address of the escrow of these terms.
    function predictEscrow(EscrowTerms calldata terms, bytes32 salt) external view returns (address) {
        return
            Clones.predictDeterministicAddressWithImmutableArgs(
                implementation, TermsCodec.encode(terms), salt
            );
    }

    /// @notice The address of the delivery-versus-payment escrow of these terms.
    function predictDvp(DvpTerms calldata terms, bytes32 salt) external view returns (address) {
        return Clones.predictDeterministicAddressWithImmutableArgs(
            dvpImplementation, TermsCodec.encode(terms), salt
        );
    }

    /// @dev Brings the caller's tokens to the clone; native value goes with its initialization.
    function _fund(address escrow, address asset, uint256 amount) private {
        uint256 expectedValue = asset == AssetTransfer.NATIVE ? amount : 0;
        if (msg.value != expectedValue) revert NativeValueMismatch(msg.value, expectedValue);
        if (asset == AssetTransfer.NATIVE) return;
        uint256 received = AssetTransfer.pull(asset, msg.sender, escrow, amount);
        if (received != amount) revert ReceivedAmountMismatch(received, amount);
    }

    function _checkTerms(EscrowTerms calldata terms) private view {
        if (terms.payer != msg.sender) revert PayerNotCaller(terms.payer, msg.sender);
        if (terms.payee == address(0)) revert PartyZero(ROLE_PAYEE);
        if (terms.arbiter == address(0)) revert PartyZero(ROLE_ARBITER);
        if (terms.payee == terms.payer || terms.arbiter == terms.payer || terms.payee == terms.arbiter) {
            revert PartiesNotDistinct(terms.payer, terms.payee, terms.arbiter);
        }
        if (terms.amount == 0) revert AmountZero();
        if (terms.releaseDelayS > MAX_RELEASE_DELAY_S) {
            revert ReleaseDelayOutOfRange(terms.releaseDelayS, MAX_RELEASE_DELAY_S);
        }
        if (terms.refundWindowS < MIN_REFUND_WINDOW_S || terms.refundWindowS > MAX_REFUND_WINDOW_S) {
            revert RefundWindowOutOfRange(terms.refundWindowS, MIN_REFUND_WINDOW_S, MAX_REFUND_WINDOW_S);
        }
        if (terms.disputeWindowS < MIN_DISPUTE_WINDOW_S || terms.disputeWindowS > MAX_DISPUTE_WINDOW_S) {
            revert DisputeWindowOutOfRange(terms.disputeWindowS, MIN_DISPUTE_WINDOW_S, MAX_DISPUTE_WINDOW_S);
        }
    }

    /// @return role The caller's.
    function _checkDvpTerms(DvpTerms calldata terms) private view returns (uint8 role) {
        if (terms.seller == address(0)) revert PartyZero(ROLE_SELLER);
        if (terms.buyer == address(0)) revert PartyZero(ROLE_BUYER);
        if (terms.seller == terms.buyer) revert DvpPartiesNotDistinct(terms.seller);
        if (msg.sender == terms.seller) role = ROLE_SELLER;
        else if (msg.sender == terms.buyer) role = ROLE_BUYER;
        else revert CreatorNotParty(msg.sender);
        if (terms.deliveryAmount == 0 || terms.paymentAmount == 0) revert AmountZero();
        if (terms.deliveryAsset == terms.paymentAsset) revert AssetsNotDistinct(terms.deliveryAsset);
        uint256 latest = block.timestamp + MAX_DVP_DURATION_S;
        if (terms.deadline <= block.timestamp || terms.deadline > latest) {
            revert DeadlineOutOfRange(terms.deadline, block.timestamp + 1, latest);
        }
    }

    function _emitCreated(address escrow, EscrowTerms calldata terms) private {
        // forge-lint: disable-next-line(unsafe-typecast) Unix seconds fit
        uint64 releaseTime = uint64(block.timestamp) + terms.releaseDelayS;
        emit EscrowCreated(
            escrow,
            1,
            terms.payer,
            terms.payee,
            terms.arbiter,
            terms.asset,
            terms.amount,
            releaseTime,
            releaseTime + terms.refundWindowS,
            terms.disputeWindowS,
            terms.policy
        );
    }
}
