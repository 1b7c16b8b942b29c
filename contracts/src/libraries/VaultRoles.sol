// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {PriceOracle} from "../PriceOracle.sol";
import {Vault} from "../Vault.sol";

/// @title Who may call what: the roles that a deployment sets up in its AccessManager
/// @notice The guardian can only stop, and at once. Whatever can worsen an account's terms is the risk officer's and has
/// a delay, so that accounts can leave first.
library VaultRoles {
    uint64 internal constant GUARDIAN = 1;
    uint64 internal constant RISK_OFFICER = 2;
    uint64 internal constant TREASURER = 3;

    function guardianFunctions() internal pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](3);
        selectors[0] = Vault.pause.selector;
        selectors[1] = Vault.freezeAsset.selector;
        selectors[2] = Vault.lowerCaps.selector;
    }

    function riskFunctions() internal pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](4);
        selectors[0] = Vault.configureAsset.selector;
        selectors[1] = Vault.setOracle.selector;
        selectors[2] = Vault.unpause.selector;
        selectors[3] = Vault.unfreezeAsset.selector;
    }

    function oracleFunctions() internal pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](1);
        selectors[0] = PriceOracle.configureFeed.selector;
    }

    function treasuryFunctions() internal pure returns (bytes4[] memory selectors) {
        selectors = new bytes4[](1);
        selectors[0] = Vault.withdrawReserves.selector;
    }
}
