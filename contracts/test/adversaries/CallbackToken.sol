// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MockERC20} from "../../src/mocks/MockERC20.sol";

interface TokenListener {
    function onTokenMoved() external;
}

/// @notice Calls its sender and recipient after every transfer, as ERC-777 tokens do.
contract CallbackToken is MockERC20 {
    constructor() MockERC20("Callback", "CALL", 18) {}

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        _notify(from);
        _notify(to);
    }

    function _notify(address party) private {
        if (party.code.length == 0) return;
        // The vault and the escrow do not listen; only the adversary does.
        try TokenListener(party).onTokenMoved() {} catch {}
    }
}
