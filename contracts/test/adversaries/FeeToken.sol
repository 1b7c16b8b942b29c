// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MockERC20} from "../../src/mocks/MockERC20.sol";

/// @notice Burns one percent of every transfer.
contract FeeToken is MockERC20 {
    constructor() MockERC20("Fee", "FEE", 18) {}

    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, amount);
        uint256 fee = amount / 100;
        super._update(from, address(0), fee);
        super._update(from, to, amount - fee);
    }
}
