// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @title A token that anyone can mint, for development chains and tests
contract MockERC20 is ERC20 {
    uint8 private immutable _decimals;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) ERC20(name_, symbol_) {
        _decimals = decimals_;
    }

    /// @notice Creates `amount` base units for `recipient`.
    function mint(address recipient, uint256 amount) external {
        _mint(recipient, amount);
    }

    /// @notice Number of decimals of a whole token.
    function decimals() public view override returns (uint8) {
        return _decimals;
    }
}
