// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Many calls in one, for development chains
/// @notice Function and structs are Multicall3's (https://www.multicall3.com), which most public chains have.
contract Multicall {
    struct Call3 {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    error CallFailed(uint256 index);

    /// @notice Makes every call; one that fails without being allowed to reverts all.
    function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory returnData) {
        returnData = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            // forge-lint: disable-next-line(unchecked-call)
            (bool success, bytes memory data) = calls[i].target.call(calls[i].callData);
            if (!success && !calls[i].allowFailure) revert CallFailed(i);
            returnData[i] = Result(success, data);
        }
    }
}
