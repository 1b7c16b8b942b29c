// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {MockPyth} from "@pythnetwork/pyth-sdk-solidity/MockPyth.sol";

/// @title Pyth's own mock of its contract, for development chains
/// @notice Anyone may set prices, for nothing; interface and errors are those of Pyth's contract.
contract PythDevelopment is MockPyth {
    constructor() MockPyth(60, 0) {}
}
