// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title Moving ERC-20 tokens and the chain's native asset through one door
library AssetTransfer {
    using SafeERC20 for IERC20;

    /// @notice How the chain's native asset is written where an asset's address is expected.
    address internal constant NATIVE = address(0);

    /// @notice Moves `amount` of `token` from an owner who approved this contract and reports what arrived.
    /// @dev A token that takes a fee delivers less than `amount`: only the recipient's balance tells.
    /// @return received Base units by which the balance of `to` grew.
    function pull(address token, address from, address to, uint256 amount)
        internal
        returns (uint256 received)
    {
        uint256 balanceBefore = IERC20(token).balanceOf(to);
        IERC20(token).safeTransferFrom(from, to, amount);
        received = IERC20(token).balanceOf(to) - balanceBefore;
    }

    /// @notice Sends `amount` base units of `asset` out of this contract. Reverts when the recipient refuses.
    function send(address asset, address to, uint256 amount) internal {
        if (asset == NATIVE) {
            Address.sendValue(payable(to), amount);
        } else {
            IERC20(asset).safeTransfer(to, amount);
        }
    }
}
