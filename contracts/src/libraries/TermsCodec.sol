// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ApprovalPolicy, DvpTerms, EscrowTerms} from "../interfaces/IEscrowFactory.sol";

/// @title Agreed terms as the bytes that stand behind a clone's code
/// @notice Code costs 200 gas a byte where storage costs 22,100 a word, it can never change, and the clone's address
/// commits to it. The fields are packed in the order of their declaration.
library TermsCodec {
    function encode(EscrowTerms calldata terms) internal pure returns (bytes memory) {
        return abi.encodePacked(
            terms.payer,
            terms.payee,
            terms.arbiter,
            terms.asset,
            terms.amount,
            terms.releaseDelayS,
            terms.refundWindowS,
            terms.disputeWindowS,
            terms.policy
        );
    }

    function decodeEscrow(bytes memory packed) internal pure returns (EscrowTerms memory) {
        return EscrowTerms({
            payer: _addressEndingAt(packed, 20),
            payee: _addressEndingAt(packed, 40),
            arbiter: _addressEndingAt(packed, 60),
            asset: _addressEndingAt(packed, 80),
            amount: _wordEndingAt(packed, 112),
            releaseDelayS: _uint64EndingAt(packed, 120),
            refundWindowS: _uint64EndingAt(packed, 128),
            disputeWindowS: _uint64EndingAt(packed, 136),
            policy: ApprovalPolicy(_wordEndingAt(packed, 137) & 0xff)
        });
    }

    function encode(DvpTerms calldata terms) internal pure returns (bytes memory) {
        return abi.encodePacked(
            terms.seller,
            terms.buyer,
            terms.deliveryAsset,
            terms.deliveryAmount,
            terms.paymentAsset,
            terms.paymentAmount,
            terms.deadline
        );
    }

    function decodeDvp(bytes memory packed) internal pure returns (DvpTerms memory) {
        return DvpTerms({
            seller: _addressEndingAt(packed, 20),
            buyer: _addressEndingAt(packed, 40),
            deliveryAsset: _addressEndingAt(packed, 60),
            deliveryAmount: _wordEndingAt(packed, 92),
            paymentAsset: _addressEndingAt(packed, 112),
            paymentAmount: _wordEndingAt(packed, 144),
            deadline: _uint64EndingAt(packed, 152)
        });
    }

    function _addressEndingAt(bytes memory packed, uint256 end) private pure returns (address) {
        // forge-lint: disable-next-line(unsafe-typecast) the higher bytes belong to the field before
        return address(uint160(_wordEndingAt(packed, end)));
    }

    function _uint64EndingAt(bytes memory packed, uint256 end) private pure returns (uint64) {
        // forge-lint: disable-next-line(unsafe-typecast) the higher bytes belong to the field before
        return uint64(_wordEndingAt(packed, end));
    }

    /// @dev The 32 bytes before byte `end`. The content starts 32 bytes behind the pointer, so no addition is left; a
    /// field that ends before byte 32 has bytes of the length above it, which its type cuts off.
    function _wordEndingAt(bytes memory packed, uint256 end) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := mload(add(packed, end))
        }
    }
}
