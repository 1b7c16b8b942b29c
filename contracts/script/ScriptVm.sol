// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice The cheatcodes of forge that our scripts use (https://getfoundry.sh/reference/cheatcodes).
interface ScriptVm {
    function envOr(string calldata name, string calldata otherwise) external view returns (string memory);
    function exists(string calldata path) external view returns (bool);
    function getCode(string calldata artifact) external view returns (bytes memory creationCode);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function parseJsonBool(string calldata json, string calldata key) external pure returns (bool);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function readFile(string calldata path) external view returns (string memory);
    function serializeAddress(string calldata object, string calldata key, address value)
        external
        returns (string memory);
    function serializeString(string calldata object, string calldata key, string calldata value)
        external
        returns (string memory);
    function serializeUint(string calldata object, string calldata key, uint256 value)
        external
        returns (string memory);
    function startBroadcast() external;
    function stopBroadcast() external;
    function toString(uint256 value) external pure returns (string memory);
    function writeJson(string calldata json, string calldata path) external;
}
